import { uptime } from 'node:os';

/** A timer that can be taken back. */
export interface Timer {
  cancel(): void;
}

/** Time, injected everywhere, so that tests need no sleeps. */
export interface Clock {
  /** Wall time, ms since 1970. It can jump: never subtract two of them for a duration. */
  now(): number;
  /** Monotonic ms from an arbitrary start, with fractions. */
  monotonicMs(): number;
  /** Monotonic ms since the machine started, its sleep included; as coarse as a second. */
  sinceBootMs(): number;
  /** Calls `run` once after `ms`. The timer does not keep the process alive. */
  after(ms: number, run: () => void): Timer;
  /** Calls `run` every `ms`. The timer does not keep the process alive. */
  every(ms: number, run: () => void): Timer;
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sinceBootMs: () => uptime() * 1000,
  after(ms, run) {
    const timer = setTimeout(run, ms);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
  every(ms, run) {
    const timer = setInterval(run, ms);
    timer.unref();
    return { cancel: () => clearInterval(timer) };
  },
};
