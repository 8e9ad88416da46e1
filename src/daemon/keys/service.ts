import { equalInConstantTime, hashToken, keyIdOf } from '../../kernel/token-proof.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { Grant, GrantInput } from '../../protocol/grants.ts';
import type { KeyRow } from '../../protocol/keys.ts';
import type { Caller } from '../../trust/caller.ts';
import { shownGrant } from '../../trust/grants.ts';
import { type AgentTokens, newToken } from '../../trust/tokens.ts';
import type { TrustBook } from '../../trust/pins.ts';
import type { NamedKey } from '../../trust/trust-records.ts';
import type { Call } from '../edge/call.ts';
import type { Refusal } from '../edge/caller.ts';

/** What the keys' service needs. */
export interface KeysParts {
  readonly trust: TrustBook;
  readonly agents: AgentTokens;
  /** The owner's key in force. */
  readonly ownerKey: () => string;
  /** Replaces it in the config file, comments kept. */
  readonly replaceOwnerKey: (key: string) => Promise<void>;
  /** The token of this start, which the registration holds. */
  readonly startToken: string;
  /** The secret that this machine's agents present to get a token. */
  readonly agentSecret: string;
  /** Wall time, ms since 1970. */
  readonly now: () => number;
}

/** The name under which the agents of this machine are granted something. */
const AGENTS = 'agent';

/** Who holds which token, and the keys that the owner gives to programs. */
export class Keys {
  readonly #parts: KeysParts;
  readonly #startHash: string;
  readonly #agentHash: string;
  #owner = { key: '', hash: '' };
  #generating: Promise<unknown> = Promise.resolve();
  #generatingFor: string | undefined;

  constructor(parts: KeysParts) {
    this.#parts = parts;
    this.#startHash = hashToken(parts.startToken);
    this.#agentHash = hashToken(parts.agentSecret);
  }

  /** Who holds a token; off loopback only the holders of named keys. */
  caller(token: string, loopback: boolean): Caller | Refusal {
    const local = loopback ? this.#localCaller(token) : undefined;
    if (local !== undefined) return local;
    const key = this.#parts.trust.findKey(token);
    if (key === undefined) return 'invalid_key';
    return key === 'revoked' ? key : { kind: 'key', name: key.name, grant: key.grant };
  }

  /** The hash of the live token with this public id: for the proof that the node holds it. */
  hashByKeyId(keyId: string): string | undefined {
    const own = [this.#startHash, this.#ownerHash(), this.#agentHash].find((hash) => keyIdOf(hash) === keyId);
    return own ?? this.#parts.agents.hashByKeyId(keyId) ?? this.#parts.trust.keyHashById(keyId);
  }

  show(): { key: string } {
    return { key: this.#parts.ownerKey() };
  }

  /** Replaces the owner's key. One after another: who asked with a key that was just replaced gets no new one. */
  generate({ requestId, signal }: Pick<Call, 'requestId' | 'signal'>): Promise<{ key: string }> {
    const generated = this.#generating.then(async () => {
      if (signal.aborted) throw new LoopsyError('revoked');
      this.#generatingFor = requestId;
      const key = newToken();
      await this.#parts.replaceOwnerKey(key).finally(() => (this.#generatingFor = undefined));
      return { key };
    });
    this.#generating = generated.catch(() => undefined);
    return generated;
  }

  /** True for the request that is replacing the owner's key: it outlives the old one, to tell the new one. */
  isGeneratingFor(requestId: string): boolean {
    return this.#generatingFor === requestId;
  }

  list(): KeyRow[] {
    const agents: KeyRow = { name: AGENTS, kind: 'agent', grant: this.#parts.trust.agentGrant };
    const now = this.#parts.now();
    return [agents, ...this.#parts.trust.keys().map(rowOf)].map((row) => ({
      ...row,
      grant: shownGrant(row.grant, now),
    }));
  }

  async add(name: string, input: GrantInput | undefined): Promise<{ name: string; key: string; grant: Grant }> {
    const { key, record } = await this.#parts.trust.addKey(name, input);
    return { name, key, grant: record.grant };
  }

  async grant(name: string, input: GrantInput): Promise<KeyRow> {
    await this.#parts.trust.setKeyGrant(name, input);
    const row = this.list().find((key) => key.name === name);
    if (row === undefined) throw new LoopsyError('invalid_key', { message: `there is no key "${name}"` });
    return row;
  }

  async revoke(name: string): Promise<{ success: true; name: string }> {
    if (name === AGENTS) {
      throw new LoopsyError('conflict', {
        message: 'the agents of this machine have no key to revoke',
        hint: 'narrow them: `loopsy key grant agent observe`',
      });
    }
    await this.#parts.trust.revokeKey(name);
    return { success: true, name };
  }

  connectAgent(label: string): { label: string; token: string; expiresAt: number } {
    return this.#parts.agents.mint(label);
  }

  #localCaller(token: string): Caller | undefined {
    const hash = hashToken(token);
    const isIts = (other: string): boolean => equalInConstantTime(hash, other);
    if (isIts(this.#startHash) || isIts(this.#ownerHash())) return { kind: 'owner' };
    if (isIts(this.#agentHash)) return { kind: 'agent-secret' };
    const label = this.#parts.agents.labelOf(token);
    return label === undefined ? undefined : { kind: 'agent', label, grant: this.#parts.trust.agentGrant };
  }

  #ownerHash(): string {
    const key = this.#parts.ownerKey();
    if (this.#owner.key !== key) this.#owner = { key, hash: hashToken(key) };
    return this.#owner.hash;
  }
}

const rowOf = ({ name, kind, grant, createdAt }: NamedKey): KeyRow => ({
  name,
  kind,
  grant,
  ...(createdAt === undefined ? {} : { createdAt }),
});
