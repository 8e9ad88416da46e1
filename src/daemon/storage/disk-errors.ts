import { LoopsyError } from '../../protocol/errors.ts';
import { type Store, StoreBusy, StoreFull } from '../../store/store.ts';
import type { TrustStore } from '../../trust/trust-ledger.ts';

/** Runs a commit; what the disk says is said in words. */
export const diskErrors = async <Result>(what: string, run: () => Promise<Result>): Promise<Result> => {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof StoreFull)
      throw new LoopsyError('disk_full', {
        message: `the disk of that node is full: nothing was changed in its ${what}`,
        hint: 'make room there; what is there can be read all the same',
        cause,
      });
    if (cause instanceof StoreBusy)
      throw new LoopsyError('rate_limited', {
        message: `too much waits to be written to the ${what} of that node: nothing was changed`,
        hint: 'try again in a moment',
        cause,
      });
    throw cause;
  }
};

/** The store of trust: what the disk says is said in words. */
export const trustStoreOf = (store: Store): TrustStore => ({
  get: (key) => store.get(key),
  list: (query) => store.list(query),
  commit: (changes) => diskErrors('keys and grants', () => store.commit(changes)),
  onForeignChange: (listener) => store.onForeignChange(listener),
});
