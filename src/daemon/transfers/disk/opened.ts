import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, realpathSync, type Stats } from 'node:fs';

import { fileError } from './faults.ts';

/** Missing on Windows. */
const { O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;

/** Where an open file really lies. */
const placeOf = (fd: number, path: string, stats: Stats): string => {
  if (process.platform === 'linux') return readlinkSync(`/proc/self/fd/${fd}`);
  const named = lstatSync(path);
  return named.dev === stats.dev && named.ino === stats.ino ? realpathSync.native(path) : '';
};

/** True where the open file is the one that has this real path: nothing on the way was exchanged for a link. */
export const isAt = (fd: number, real: string): boolean => placeOf(fd, real, fstatSync(fd)) === real;

/** An open file, and what the system says of it. */
export interface Opened {
  readonly fd: number;
  readonly stats: Stats;
}

/**
 * Opens a file by its real path without following a link anywhere on the way. `shown` is what errors call it.
 * @throws {LoopsyError} `path_denied` where it lies elsewhere, `wrong_type` where it is no file; the system's error.
 */
export const openReal = (real: string, shown: string, flags = constants.O_RDONLY, mode?: number): Opened => {
  // A pipe would block whoever opens it.
  const fd = openSync(real, flags | O_NOFOLLOW | O_NONBLOCK, mode);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw fileError('wrong_type', shown, 'is no file');
    if (placeOf(fd, real, stats) !== real)
      throw fileError('path_denied', shown, 'lies behind a link, which is not followed');
    return { fd, stats };
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
};
