import { closeSync, fstatSync, lstatSync, openSync, readlinkSync, realpathSync, unlinkSync, type Stats } from 'node:fs';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { fileError } from './faults.ts';
import type { OpenFolder } from './folders.ts';
import { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } from './open-flags.ts';

/** Where an open file really lies; empty where it has no name any more, or another file has it. */
const placeOf = (fd: number, path: string): string => {
  if (process.platform === 'linux') return readlinkSync(`/proc/self/fd/${fd}`);
  try {
    const stats = fstatSync(fd);
    const named = lstatSync(path);
    return named.dev === stats.dev && named.ino === stats.ino ? realpathSync.native(path) : '';
  } catch (thrown) {
    if (errorCode(thrown) === undefined) throw thrown;
    return '';
  }
};

/** True where the open file is the one that has this real path: nothing on the way was exchanged for a link. */
export const isAt = (fd: number, real: string): boolean => placeOf(fd, real) === real;

/** An open file, and what the system says of it. */
export interface Opened {
  readonly fd: number;
  readonly stats: Stats;
}

/**
 * Opens a file by its real path without following a link anywhere on the way. `shown` is what errors call it.
 * @throws {LoopsyError} `path_denied` where it lies elsewhere, `wrong_type` where it is no file; the system's error.
 */
export const openReal = (real: string, shown: string): Opened => {
  // A pipe would block whoever opens it.
  const fd = openSync(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw fileError('wrong_type', shown, 'is no file');
    if (placeOf(fd, real) !== real) throw fileError('path_denied', shown, 'lies behind a link, which is not followed');
    return { fd, stats };
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
};

/** How a name in a folder is opened. */
export interface Opening {
  readonly name: string;
  /** What errors call it. */
  readonly shown: string;
  readonly flags: number;
  readonly mode?: number;
}

/**
 * Opens a file in a folder that is open. What was just made, and lies elsewhere, is removed again.
 * @throws as `openReal`.
 */
export const openIn = (folder: OpenFolder, { name, shown, flags, mode }: Opening): Opened => {
  const path = folder.path(name);
  const fd = openSync(path, flags | O_NOFOLLOW | O_NONBLOCK, mode);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw fileError('wrong_type', shown, 'is no file');
    if (process.platform !== 'linux' && !isAt(fd, folder.realOf(name))) {
      if ((flags & O_CREAT) !== 0) removeSame(path, stats);
      throw fileError('path_denied', shown, 'lies behind a link, which is not followed');
    }
    return { fd, stats };
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
};

const removeSame = (path: string, stats: Stats): void => {
  const named = lstatSync(path, { throwIfNoEntry: false });
  if (named?.ino === stats.ino && named.dev === stats.dev && named.size === 0) unlinkSync(path);
};

/** Removes a file or a link, if there is one. @throws the system's error, for a folder too. */
export const removeFile = (path: string): void => {
  try {
    unlinkSync(path);
  } catch (thrown) {
    if (errorCode(thrown) !== 'ENOENT') throw thrown;
  }
};
