import type { Clock } from './clock.ts';

/** The longest interval a timer takes, in ms. */
const LONGEST_MS = 2 ** 31 - 1;

/** Keeps the process alive until the returned function is called: timers of a `Clock` alone don't. */
const holdProcess = (): (() => void) => {
  const hold = setInterval(() => undefined, LONGEST_MS);
  return () => clearInterval(hold);
};

/** How a wait may end before its time. */
export interface PauseOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Is given the way to end the wait; returns the way to forget it. */
  readonly wake?: (end: () => void) => () => void;
}

/** Resolves after `ms`, or when `signal` is aborted, or when it is woken. Does not keep the process alive. */
export const pause = (ms: number, { clock, signal, wake }: PauseOptions): Promise<void> =>
  new Promise((resolve) => {
    let forget = (): void => undefined;
    const end = (): void => {
      timer.cancel();
      forget();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = clock.after(ms, end);
    signal.addEventListener('abort', end, { once: true });
    if (wake !== undefined) forget = wake(end);
    if (signal.aborted) end();
  });

/** Resolves after `ms`. Keeps the process alive meanwhile, so that a command that waits doesn't just end. */
export const sleep = (ms: number, clock: Clock): Promise<void> =>
  new Promise((resolve) => {
    const release = holdProcess();
    clock.after(ms, () => {
      release();
      resolve();
    });
  });

/** What `withTimeLimit` resolves with where the time was up first. */
export const TIMED_OUT: unique symbol = Symbol('timed out');

/**
 * Waits for `work` for at most `limitMs`, keeping the process alive meanwhile. `work` itself is not ended; a rejection
 * that comes after the limit is swallowed, one that comes before is passed on.
 */
export const withTimeLimit = <T>(work: Promise<T>, limitMs: number, clock: Clock): Promise<T | typeof TIMED_OUT> => {
  const release = holdProcess();
  return new Promise<T | typeof TIMED_OUT>((resolve, reject) => {
    const timer = clock.after(limitMs, () => resolve(TIMED_OUT));
    work.then(resolve, reject).finally(() => timer.cancel());
  }).finally(release);
};
