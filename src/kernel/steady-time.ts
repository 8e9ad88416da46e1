import type { Clock } from './clock.ts';

/** How long what is known of the machine's sleep is believed. */
const LOOK_MS = 10_000;
/** `sinceBootMs` is coarse: less than this is no sleep. */
const SLEEP_MS = 2500;

/**
 * Time for what must not live for ever nor die early: the wall clock's where it begins, and from there on it goes on
 * evenly, in the machine's sleep too, wherever the wall clock is set to.
 */
export class SteadyTime {
  readonly #clock: Clock;
  #base: number;
  /** By how much the boot time is ahead of the monotonic one. */
  #ahead: number;
  #lookedAtMs: number;

  /** `least`: an instant that has been already, ms since 1970: it begins no earlier. */
  constructor(clock: Clock, least: number) {
    this.#clock = clock;
    this.#lookedAtMs = clock.monotonicMs();
    this.#base = Math.max(clock.now(), least) - this.#lookedAtMs;
    this.#ahead = this.#aheadNow();
  }

  /** Whole ms; never less than before. */
  now(): number {
    const ms = this.#clock.monotonicMs();
    if (ms - this.#lookedAtMs >= LOOK_MS) this.#look(ms);
    return Math.floor(this.#base + ms);
  }

  /** The monotonic clock stands still while the machine sleeps, on some systems. */
  #look(ms: number): void {
    this.#lookedAtMs = ms;
    const slept = this.#aheadNow() - this.#ahead;
    if (slept < SLEEP_MS) return;
    this.#base += slept;
    this.#ahead += slept;
  }

  #aheadNow(): number {
    return this.#clock.sinceBootMs() - this.#clock.monotonicMs();
  }
}
