import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { onTestFinished } from 'vitest';

const run = promisify(execFile);

/** A disk of the running test's own. */
export interface SmallDisk {
  readonly folder: string;
  /** Takes all room that is left. */
  fill(): Promise<void>;
  /** Gives the room back. */
  free(): Promise<void>;
  /** The folder below it is there again. */
  takeAway(): Promise<void>;
}

/**
 * Mounts a disk of this size, at a folder of the test's own where none is named; `undefined` where this user may not (then
 * the test is skipped).
 */
export const mountSmallDisk = async (kibibytes: number, at?: string): Promise<SmallDisk | undefined> => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined;
  const folder = at ?? (await mkdtemp(join(tmpdir(), 'loopsy-disk-')));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${kibibytes}k,mode=700`, 'tmpfs', folder]);
  } catch {
    await rm(folder, { recursive: true });
    return undefined;
  }
  let isThere = true;
  const takeAway = async (): Promise<void> => {
    if (isThere) await run('umount', ['-l', folder]);
    isThere = false;
  };
  onTestFinished(async () => {
    await takeAway();
    await rm(folder, { recursive: true, force: true });
  });
  const filler = join(folder, 'filler');
  return {
    folder,
    fill: () =>
      writeFile(filler, Buffer.alloc(kibibytes * 1024)).then(
        () => Promise.reject(new Error('the disk is not full')),
        (error: NodeJS.ErrnoException) => (error.code === 'ENOSPC' ? undefined : Promise.reject(error)),
      ),
    free: () => rm(filler),
    takeAway,
  };
};
