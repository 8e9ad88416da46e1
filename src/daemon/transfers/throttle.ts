import type { Clock } from '../../kernel/clock.ts';
import { pause } from '../../kernel/sleep.ts';

/** So long a rate is looked at: no more leaves at once than what it allows in this time, however late a timer is. */
const SLICE_MS = 100;

/** Holds bytes back to a rate. */
export class Throttle {
  readonly #bytesPerMs: number;
  readonly #clock: Clock;
  #freeAtMs: number;

  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#clock = clock;
    this.#freeAtMs = clock.monotonicMs();
  }

  /** The same bytes in slices, each when it may leave, or when nobody wants it any more. */
  async *slices(bytes: Uint8Array, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const most = Math.max(1, Math.floor(this.#bytesPerMs * SLICE_MS));
    for (let from = 0; from < bytes.length; from += most) {
      const slice = bytes.subarray(from, from + most);
      await this.#take(slice.length, signal);
      yield slice;
    }
  }

  /** Paid for before: who waits has what he waited for. */
  async #take(bytes: number, signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonicMs();
    this.#freeAtMs = Math.max(this.#freeAtMs, now - SLICE_MS) + bytes / this.#bytesPerMs;
    const waitMs = this.#freeAtMs - now;
    if (waitMs > 0) await pause(waitMs, { clock: this.#clock, signal });
  }
}
