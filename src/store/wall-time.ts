import type { Clock } from '../kernel/clock.ts';
import type { Store } from './store.ts';

/** Makes wall time, ms since 1970, of a time of the store's. */
export type ToWall = (storedMs: number) => number;

/** Two clocks that are read one after the other differ from one moment to the next: less than this is no news, ms. */
const STEP_MS = 100;

/**
 * The store's time goes on evenly; what is shown is by the wall clock, wherever that is. One time of the store's is
 * shown as the same one each time, until the wall clock is set.
 */
export const wallTimeOf = (store: Pick<Store, 'now'>, clock: Pick<Clock, 'now'>): ToWall => {
  let shift: number | undefined;
  return (storedMs) => {
    const now = clock.now() - store.now();
    if (shift === undefined || Math.abs(now - shift) >= STEP_MS) shift = now;
    return Math.round(storedMs + shift);
  };
};
