import { randomBytes } from 'node:crypto';

import type { Clock } from '../kernel/clock.ts';
import { hashToken, keyIdOf } from '../kernel/token-proof.ts';

/** A new secret: 256 random bits, 64 hex digits. */
export const newToken = (): string => randomBytes(32).toString('hex');

/** A token that lets one agent process in. */
export interface AgentToken {
  readonly label: string;
  readonly token: string;
  /** Wall time, ms since 1970; each use moves it. */
  readonly expiresAt: number;
}

interface Live {
  readonly label: string;
  readonly tokenHash: string;
  usedAtMs: number;
}

const MAX_TOKENS = 256;
const MAX_LABEL_LENGTH = 32;
const IDLE_MS = 24 * 3_600_000;

/** How many tokens, and for how long. */
export interface AgentTokenLimits {
  /** Default 256; beyond it the one that was not used for the longest time ends. */
  readonly maxTokens?: number;
  /** Default 24 h; a token that was not used for so long is over. */
  readonly idleMs?: number;
}

/**
 * The tokens of the agent processes that are connected now: in memory only, bounded, each under a label of its own.
 * Only hashes are kept.
 */
export class AgentTokens {
  readonly #clock: Clock;
  readonly #maxTokens: number;
  readonly #idleMs: number;
  /** By hash of the token; the order is that of their last use. */
  readonly #live = new Map<string, Live>();

  constructor(clock: Clock, { maxTokens = MAX_TOKENS, idleMs = IDLE_MS }: AgentTokenLimits = {}) {
    this.#clock = clock;
    this.#maxTokens = maxTokens;
    this.#idleMs = idleMs;
  }

  /** Mints a token for one process; where its label is taken it gets `label-2`, `label-3`, … */
  mint(label: string): AgentToken {
    this.#dropIdle();
    while (this.#live.size >= this.#maxTokens) this.#dropOldest();
    const token = newToken();
    const free = this.#freeLabel(label);
    this.#live.set(hashToken(token), { label: free, tokenHash: hashToken(token), usedAtMs: this.#clock.monotonicMs() });
    return { label: free, token, expiresAt: this.#clock.now() + this.#idleMs };
  }

  /** The label of the process that holds `token`, which counts as a use; `undefined` where it is none or is over. */
  labelOf(token: string): string | undefined {
    const tokenHash = hashToken(token);
    const live = this.#live.get(tokenHash);
    if (live === undefined) return undefined;
    this.#live.delete(tokenHash);
    if (this.#isIdle(live)) return undefined;
    live.usedAtMs = this.#clock.monotonicMs();
    this.#live.set(tokenHash, live);
    return live.label;
  }

  /** The hash of the live token with this key id: for the proof that the node holds it. */
  hashByKeyId(keyId: string): string | undefined {
    this.#dropIdle();
    return [...this.#live.keys()].find((tokenHash) => keyIdOf(tokenHash) === keyId);
  }

  /** Ends the token under a label, e.g. when its process said goodbye. @returns whether there was one. */
  end(label: string): boolean {
    const live = [...this.#live.values()].find((one) => one.label === label);
    return live !== undefined && this.#live.delete(live.tokenHash);
  }

  /** Ends all tokens: the grant of the agents was taken away. */
  endAll(): void {
    this.#live.clear();
  }

  /** The labels in use. */
  labels(): string[] {
    this.#dropIdle();
    return [...this.#live.values()].map(({ label }) => label);
  }

  #freeLabel(wanted: string): string {
    const taken = new Set([...this.#live.values()].map(({ label }) => label));
    let label = wanted;
    for (let count = 2; taken.has(label); count += 1) {
      const suffix = `-${count}`;
      label = wanted.slice(0, MAX_LABEL_LENGTH - suffix.length) + suffix;
    }
    return label;
  }

  #isIdle(live: Live): boolean {
    return this.#clock.monotonicMs() - live.usedAtMs >= this.#idleMs;
  }

  #dropIdle(): void {
    for (const [tokenHash, live] of this.#live) {
      if (this.#isIdle(live)) this.#live.delete(tokenHash);
    }
  }

  #dropOldest(): void {
    const [oldest] = this.#live.keys();
    if (oldest !== undefined) this.#live.delete(oldest);
  }
}
