import { linkSync, lstatSync, renameSync, type Stats } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { SAME_TIME_MS } from './attributes.ts';

/** What of what is there stays as it is: what is newer, or everything. */
export interface Leaves {
  readonly update: boolean;
  readonly noClobber: boolean;
}

/** Windows holds files for a moment after they were written. */
const RENAME_WAITS_MS = process.platform === 'win32' ? [10, 20, 40, 80, 160, 320] : [];
const BUSY = new Set(['EPERM', 'EBUSY', 'EACCES']);

/** True for what is left alone, whatever it is. */
export const isLeft = ({ update, noClobber }: Leaves, stats: Stats, mtimeMs: number): boolean =>
  noClobber || (update && stats.mtimeMs > mtimeMs + SAME_TIME_MS);

/**
 * Gives what was written under another name, `from`, its own. What had that is gone then. Where nothing is to be replaced,
 * `from` may stay as a second name.
 * @returns false where what has come there since it was planned is left alone.
 */
export const giveName = async (
  [from, to]: readonly [from: string, to: string],
  leaves: Leaves,
  mtimeMs: number,
): Promise<boolean> => {
  if (leaves.noClobber && linkNew(from, to)) return true;
  if ((leaves.noClobber || leaves.update) && isLeftAt(to, leaves, mtimeMs)) return false;
  await renameOver(from, to);
  return true;
};

/** Unlike a rename, replaces nothing. @returns false where something is there, or the file system has no hard links. */
const linkNew = (from: string, to: string): boolean => {
  try {
    linkSync(from, to);
    return true;
  } catch (thrown) {
    if (errorCode(thrown) === undefined) throw thrown;
    return false;
  }
};

/** A folder is no file that could be left alone: it is in the way. */
const isLeftAt = (path: string, leaves: Leaves, mtimeMs: number): boolean => {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats !== undefined && !stats.isDirectory() && isLeft(leaves, stats, mtimeMs);
};

const renameOver = async (from: string, to: string): Promise<void> => {
  for (const waitMs of RENAME_WAITS_MS) {
    try {
      return renameSync(from, to);
    } catch (thrown) {
      if (!BUSY.has(errorCode(thrown) ?? '')) throw thrown;
    }
    await setTimeout(waitMs);
  }
  return renameSync(from, to);
};
