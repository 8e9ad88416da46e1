import type { Clock } from './clock.ts';

/** What taking a token answers. `retryAfterMs`: when the next token will be there, whole ms, at least 1. */
export type Taken = { readonly ok: true } | { readonly ok: false; readonly retryAfterMs: number };

const MINUTE_MS = 60_000;
/** A whole token: sums of fractions fall short of 1 by a hair. */
const ONE = 1 - 1e-9;

/** A bucket of `size` tokens, full at first, refilled evenly: `size` tokens a minute. */
export class TokenBucket {
  readonly #clock: Clock;
  #size: number;
  #tokens: number;
  #filledAt: number;

  constructor(size: number, clock: Clock) {
    this.#clock = clock;
    this.#size = size;
    this.#tokens = size;
    this.#filledAt = clock.monotonicMs();
  }

  /** Takes one token, where there is one. */
  take(): Taken {
    this.#refill();
    if (this.#tokens >= ONE) {
      this.#tokens = Math.max(0, this.#tokens - 1);
      return { ok: true };
    }
    const waitMs = ((ONE - this.#tokens) * MINUTE_MS) / this.#size;
    return { ok: false, retryAfterMs: Math.max(1, Math.ceil(waitMs)) };
  }

  /** True where nothing has been taken for so long that it is as good as new. */
  get full(): boolean {
    this.#refill();
    return this.#tokens === this.#size;
  }

  /** Changes the size, 1 or more; what was taken stays taken. */
  resize(size: number): void {
    this.#refill();
    this.#tokens = Math.max(0, this.#tokens + size - this.#size);
    this.#size = size;
  }

  #refill(): void {
    const now = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#size, this.#tokens + ((now - this.#filledAt) * this.#size) / MINUTE_MS);
    this.#filledAt = now;
  }
}

/** How a table of buckets is made. */
export interface BucketTableOptions {
  /** Tokens of each bucket, and tokens a minute. */
  readonly size: number;
  readonly clock: Clock;
  /** The most buckets kept; beyond it full ones go, then the one that was used least recently. Default 4,096. */
  readonly maxKeys?: number;
}

/** One bucket for each key, made when it is first used. */
export class BucketTable {
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #clock: Clock;
  readonly #maxKeys: number;
  #size: number;

  constructor({ size, clock, maxKeys = 4096 }: BucketTableOptions) {
    this.#size = size;
    this.#clock = clock;
    this.#maxKeys = maxKeys;
  }

  /** How many buckets are kept. */
  get keys(): number {
    return this.#buckets.size;
  }

  /** Takes one token from the bucket of `key`. */
  take(key: string): Taken {
    let bucket = this.#buckets.get(key);
    // Set anew at each use, so that the map is in the order of use.
    if (bucket !== undefined) this.#buckets.delete(key);
    bucket ??= this.#makeBucket();
    this.#buckets.set(key, bucket);
    return bucket.take();
  }

  /** Changes the size of all buckets, those to come included. */
  resize(size: number): void {
    this.#size = size;
    for (const bucket of this.#buckets.values()) bucket.resize(size);
  }

  #makeBucket(): TokenBucket {
    if (this.#buckets.size >= this.#maxKeys) this.#makeRoom();
    return new TokenBucket(this.#size, this.#clock);
  }

  #makeRoom(): void {
    for (const [key, bucket] of this.#buckets) if (bucket.full) this.#buckets.delete(key);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size >= this.#maxKeys && oldest !== undefined) this.#buckets.delete(oldest);
  }
}
