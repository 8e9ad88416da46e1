import type { Clock } from '../../kernel/clock.ts';
import { pause } from '../../kernel/sleep.ts';

/** Holds bytes back to a rate. */
export class Throttle {
  readonly #bytesPerMs: number;
  readonly #clock: Clock;
  #freeAtMs = 0;

  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#clock = clock;
  }

  /** Resolves when so many bytes may leave, or nobody wants them any more. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonicMs();
    const waitMs = this.#freeAtMs - now;
    this.#freeAtMs = Math.max(this.#freeAtMs, now) + bytes / this.#bytesPerMs;
    if (waitMs > 0) await pause(waitMs, { clock: this.#clock, signal });
  }
}
