import type { Log } from '../kernel/log.ts';
import type { Change, Store } from './store.ts';

/**
 * Writes what is also held in memory and may be lost with it: soon, and without anyone who waits. Where it can't be
 * written (a full disk), that is said in the log, and nothing else happens.
 */
export const writeBehind = (store: Store, changes: readonly Change[], log: Log): void => {
  store.commit(changes, { durability: 'later' }).catch((error: unknown) => {
    log.warn('not written', { error: error instanceof Error ? error.message : String(error) });
  });
};
