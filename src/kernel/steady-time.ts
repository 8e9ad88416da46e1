import type { Clock, Timer } from './clock.ts';

/** How often sleep is looked for. */
const LOOK_MS = 10_000;
/** `sinceBootMs` is coarse: less than this is no sleep. */
const SLEEP_MS = 2500;

/**
 * Time for what must not live for ever nor die early: the wall clock's where it begins, and from there on it goes on
 * evenly, in the machine's sleep too, wherever the wall clock is set to.
 */
export class SteadyTime {
  readonly #clock: Clock;
  readonly #looks: Timer;
  #base: number;
  /** By how much the boot time is ahead of the monotonic one. */
  #ahead: number;

  /** `least`: an instant that has been already, ms since 1970: it begins no earlier. */
  constructor(clock: Clock, least: number) {
    this.#clock = clock;
    this.#base = Math.max(clock.now(), least) - clock.monotonicMs();
    this.#ahead = this.#aheadNow();
    this.#looks = clock.every(LOOK_MS, () => this.#look());
  }

  /** Whole ms; never less than before. */
  now(): number {
    return Math.floor(this.#base + this.#clock.monotonicMs());
  }

  stop(): void {
    this.#looks.cancel();
  }

  /** The monotonic clock stands still while the machine sleeps, on some systems. */
  #look(): void {
    const slept = this.#aheadNow() - this.#ahead;
    if (slept < SLEEP_MS) return;
    this.#base += slept;
    this.#ahead += slept;
  }

  #aheadNow(): number {
    return this.#clock.sinceBootMs() - this.#clock.monotonicMs();
  }
}
