import type { Clock } from './clock.ts';

/** The longest interval a timer takes, in ms. */
const LONGEST_MS = 2 ** 31 - 1;

/** Keeps the process alive until the returned function is called: timers of a `Clock` alone don't. */
const holdProcess = (): (() => void) => {
  const hold = setInterval(() => undefined, LONGEST_MS);
  return () => clearInterval(hold);
};

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
