import { LoopsyError } from '../../protocol/errors.ts';
import { StoreBusy, StoreFull } from '../../store/store.ts';

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
