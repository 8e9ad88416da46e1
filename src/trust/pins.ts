import type { Clock } from '../kernel/clock.ts';
import { hashToken, keyIdOf } from '../kernel/token-proof.ts';
import type { Grant, GrantInput } from '../protocol/grants.ts';
import { THIS_MACHINE } from '../protocol/names.ts';
import { readMachineCertificate } from './certificates.ts';
import { grantOfLevel } from './grants.ts';
import { planKey, planKeyGrant, planKeyRevocation } from './key-edits.ts';
import { identifyPeer, type Identified, type Leaf, type PinLookup, type PinnedMachine } from './leaf.ts';
import { planPairing, type PairingOutcome } from './pairing-edits.ts';
import type { PairingEffect } from './pairing-party.ts';
import type { PairingRecord } from './pairing-record.ts';
import { newToken } from './tokens.ts';
import type { TrustChange } from './trust-changes.ts';
import {
  freeName,
  planMachineGrant,
  planRemoval,
  planRename,
  planTrust,
  resolveMachine,
  type NewTrust,
} from './trust-edits.ts';
import { TrustLedger, type LiveTrustConfig, type TrustStore } from './trust-ledger.ts';
import { KEYS, machineOf, WRITE, type Machine, type NamedKey } from './trust-records.ts';
import type { TrustProblem, TrustState, UnmetPin } from './trust-state.ts';

/** What the book is made of. */
export interface TrustBookParts {
  /** `trust.db` of the machine. */
  readonly store: TrustStore;
  /** DER of this machine's own certificate: its sessions are peers of each other. */
  readonly ownCertificate: Buffer;
  readonly config: LiveTrustConfig;
  /** What means this node itself now: no peer is called so. Default: what every machine calls itself. */
  readonly ownNames?: () => readonly string[];
  readonly clock: Clock;
  /** Called once for each new problem. */
  readonly report: (problem: TrustProblem) => void;
}

const byName = (one: { readonly name: string }, other: { readonly name: string }): number =>
  one.name < other.name ? -1 : 1;

/**
 * Who is trusted, and with what: pinned machines, named keys, the agents' grant. Held in memory; true at once after
 * its own changes, within a second of those of another process. Says what changed, so that it can be acted on.
 */
export class TrustBook implements PinLookup {
  readonly #own: Machine;
  readonly #clock: Clock;
  readonly #ownNames: () => readonly string[];
  readonly #ledger: TrustLedger;

  /** Loads what is stored. @throws the store's error where that can't be read. */
  constructor({ ownCertificate, ownNames = () => [THIS_MACHINE], ...parts }: TrustBookParts) {
    const facts = { name: 'this-machine', grant: grantOfLevel('full'), source: 'own' } as const;
    const own = machineOf(ownCertificate, facts);
    if (own === undefined) throw new TypeError('ownCertificate is not the certificate of a machine');
    this.#own = own;
    this.#clock = parts.clock;
    this.#ownNames = ownNames;
    this.#ledger = new TrustLedger({ ...parts, own, ownNames });
  }

  /** Trusted machines by name, without this one. */
  machines(): Machine[] {
    return [...this.#state.machines.values()].sort(byName);
  }

  /** A trusted machine by its id; this machine too. */
  machine(machineId: string): Machine | undefined {
    return machineId === this.#own.machineId ? this.#own : this.#state.machines.get(machineId);
  }

  /** Paired machines that a pin of the same name contradicts, by name: not trusted while it does. */
  suspended(): Machine[] {
    return [...this.#state.suspended].sort(byName);
  }

  /** Pins of the config whose machines were not met yet. */
  unmetPins(): UnmetPin[] {
    return [...this.#state.unmetPins.values()].sort(byName);
  }

  /**
   * The machine that a person means by a name or by ≥ 4 characters of an id.
   * @throws {LoopsyError} `peer_not_found` with the known ones; `invalid_request` with the matches.
   */
  resolve(reference: string): Machine {
    return resolveMachine(reference, this.#state);
  }

  /** A name that is free here, for `machineId` where that is given: the proposal, or with a number. */
  freeName(proposal: string, machineId?: string): string {
    return freeName(proposal, { state: this.#state, ownNames: this.#ownNames() }, machineId);
  }

  /** For `identifyPeer`. */
  bySpkiHash(spkiHash: string): PinnedMachine | undefined {
    return this.#state.pinned.get(spkiHash);
  }

  /** For `identifyPeer`. */
  byMachineId(machineId: string): PinnedMachine | undefined {
    return this.#state.pinned.get(machineId);
  }

  /** Whose a presented certificate is, now. A machine that the config pins by fingerprint is met here. */
  identify(leaf: Leaf): Identified {
    if (this.#state.unmetPins.has(leaf.fingerprint)) this.#meet(leaf);
    return identifyPeer(leaf, this, this.#clock.now());
  }

  /** All named keys, by name. */
  keys(): NamedKey[] {
    return [...this.#state.keys.values()].sort(byName);
  }

  /** The key that a bearer token is; `revoked` where it was one; `undefined` where it never was. */
  findKey(token: string): NamedKey | 'revoked' | undefined {
    const keyHash = hashToken(token);
    return this.#state.keysByHash.get(keyHash) ?? (this.#state.goneKeys.has(keyHash) ? 'revoked' : undefined);
  }

  /** The hash of the named key with this key id: for the proof that the node holds it. */
  keyHashById(keyId: string): string | undefined {
    return [...this.#state.keysByHash.keys()].find((keyHash) => keyIdOf(keyHash) === keyId);
  }

  /** What the agents of this machine may do. */
  get agentGrant(): Grant {
    return this.#state.agentGrant;
  }

  /** Records and entries of the config that are not used, and what the disk refuses; with what to do about it. */
  get problems(): readonly TrustProblem[] {
    return this.#ledger.problems;
  }

  /** Trusts a machine; on disk, and in force, when it resolves. @throws as `planTrust`. */
  trustMachine(trust: NewTrust): Promise<Machine> {
    return this.#ledger.edit((base) => planTrust(trust, base));
  }

  /** Ends the trust in a machine, or in a pin that was not met. @returns what was removed. */
  removeMachine(reference: string): Promise<Machine | UnmetPin> {
    return this.#ledger.edit((base) => planRemoval(reference, base));
  }

  /** Changes a machine's local name. @throws {LoopsyError} `conflict` where it is another's. */
  renameMachine(reference: string, name: string): Promise<Machine> {
    return this.#ledger.edit((base) => planRename(reference, name, base));
  }

  /** Sets what a machine may do here. `{ level: 'observe', scopes: [] }` takes everything away and keeps the trust. */
  setGrant(reference: string, input: GrantInput): Promise<Machine | UnmetPin> {
    return this.#ledger.edit((base) => planMachineGrant(reference, input, base));
  }

  /** Pairings to which the person here said yes, and that are not settled. */
  pairings(): readonly PairingRecord[] {
    return this.#state.pairings;
  }

  /** Carries out what a pairing asks for: one transaction, on disk and in force when it resolves. @throws as `planTrust`. */
  carryOutPairing(effect: PairingEffect): Promise<PairingOutcome> {
    return this.#ledger.edit((base) => planPairing(effect, base));
  }

  /** Makes a named key, of level collaborate unless granted otherwise. @returns the secret, this once. */
  async addKey(name: string, grant?: GrantInput): Promise<{ readonly key: string; readonly record: NamedKey }> {
    const key = newToken();
    const wanted = { name, key, ...(grant === undefined ? {} : { grant }) };
    return { key, record: await this.#ledger.edit((base) => planKey(wanted, base)) };
  }

  /** Ends a named key, one of the config too. @throws {LoopsyError} `invalid_key` with the known ones. */
  revokeKey(name: string): Promise<NamedKey> {
    return this.#ledger.edit((base) => planKeyRevocation(name, base));
  }

  /** Sets what a named key, or `agent`, may do. @returns the grant in force. */
  setKeyGrant(name: string, input: GrantInput): Promise<Grant> {
    return this.#ledger.edit((base) => planKeyGrant(name, input, base));
  }

  /** Calls `listener` after each change, with all that it touches. Returns the way to stop it. */
  onChange(listener: (changes: readonly TrustChange[]) => void): () => void {
    return this.#ledger.onChange(listener);
  }

  /** Waits for changes under way, then ends timers and subscriptions. The store stays open: it is not ours. */
  close(): Promise<void> {
    return this.#ledger.close();
  }

  get #state(): TrustState {
    return this.#ledger.state;
  }

  #meet(leaf: Leaf): void {
    const read = readMachineCertificate(leaf.x509.raw);
    if (read !== undefined) this.#ledger.putAhead(KEYS.metPin + leaf.fingerprint, WRITE.metPin(read.x509.raw));
  }
}
