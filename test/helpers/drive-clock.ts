import type { FakeClock } from './clock.ts';

/** Advances the clock whenever somebody waits for it, 25 ms at a time, until `work` has settled. */
export const driveClock = async <T>(clock: FakeClock, work: Promise<T>): Promise<T> => {
  const settled = work.then(
    () => true,
    () => true,
  );
  const tick = (): Promise<boolean> => new Promise((resolve) => setImmediate(resolve, false));
  while (!(await Promise.race([settled, tick()]))) if (clock.waiting > 0) clock.advance(25);
  return work;
};
