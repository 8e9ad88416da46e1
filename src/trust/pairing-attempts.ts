import type { Clock } from '../kernel/clock.ts';
import { LoopsyError } from '../protocol/errors.ts';
import type { Share } from './spake2.ts';

/** What the host keeps between M2 and M3. */
export interface Attempt {
  /** 16 bytes. */
  readonly id: Buffer;
  readonly source: string;
  readonly shareJoiner: Buffer;
  readonly share: Share;
  /** Monotonic. */
  readonly atMs: number;
}

const LIFE_MS = 10_000;
const MAX_ATTEMPTS = 8;
const MAX_PER_SOURCE = 2;
/** An attempt this young is not pushed out: its M3 is on its way. */
const SAFE_MS = 1000;

/** The open attempts of one code: few, and none for long, so that a flood takes no memory. */
export class Attempts {
  readonly #clock: Clock;
  #open: readonly Attempt[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** When there is room for one more (monotonic ms): the oldest may be pushed out once it is a second old. */
  get roomAtMs(): number {
    return leavesAt(this.#open, MAX_ATTEMPTS);
  }

  /** @throws {LoopsyError} `rate_limited` where there is no room for one more of this source. */
  checkRoom(source: string): void {
    const own = leavesAt(this.#of(source), MAX_PER_SOURCE);
    const waitMs = Math.max(own, this.roomAtMs) - this.#clock.monotonicMs();
    if (waitMs <= 0) return;
    throw new LoopsyError('rate_limited', {
      message: 'others try to pair there just now',
      details: { retryAfterMs: Math.ceil(waitMs) },
    });
  }

  /** Adds one; where all places are taken, the oldest goes, this source's own first. */
  add(attempt: Attempt): void {
    const own = this.#of(attempt.source);
    const full = own.length >= MAX_PER_SOURCE ? own : this.#open.length >= MAX_ATTEMPTS ? this.#open : [];
    const kept = this.#open.filter((one) => one !== full[0]);
    this.#open = [...kept, attempt].sort((one, other) => one.atMs - other.atMs);
  }

  /** Puts back one that was taken, where no other has its place by now. */
  giveBack(attempt: Attempt): void {
    const hasRoom = this.#open.length < MAX_ATTEMPTS && this.#of(attempt.source).length < MAX_PER_SOURCE;
    if (hasRoom) this.add(attempt);
  }

  /** Takes an attempt out, for good. @returns undefined where there is none of that id, or it is older than 10 s. */
  take(id: Buffer): Attempt | undefined {
    const attempt = this.#open.find((one) => one.id.equals(id));
    if (attempt === undefined) return undefined;
    this.#open = this.#open.filter((one) => one !== attempt);
    return this.#clock.monotonicMs() - attempt.atMs < LIFE_MS ? attempt : undefined;
  }

  #of(source: string): readonly Attempt[] {
    return this.#open.filter((attempt) => attempt.source === source);
  }
}

/** When the oldest of a full list may go; at once where it is not full. */
const leavesAt = (oldestFirst: readonly Attempt[], limit: number): number => {
  const [oldest] = oldestFirst;
  return oldest === undefined || oldestFirst.length < limit ? Number.NEGATIVE_INFINITY : oldest.atMs + SAFE_MS;
};
