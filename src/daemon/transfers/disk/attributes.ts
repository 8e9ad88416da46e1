import {
  chmodSync,
  closeSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  futimesSync,
  lutimesSync,
  openSync,
  type Stats,
} from 'node:fs';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { fileError } from './faults.ts';
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY } from './open-flags.ts';
import { folderOf, type Place } from './places.ts';

/** Times of two systems are the same file's where they differ by less than what either can keep. */
export const SAME_TIME_MS = 0.002;

/** True for times that are the same to any system. */
export const isSameTime = (one: number, two: number): boolean => Math.abs(one - two) <= SAME_TIME_MS;

/** True where permission bits are to be changed: never where a system has none. */
export const needsMode = (stats: Stats, mode: number, platform: NodeJS.Platform): boolean =>
  mode >= 0 && platform !== 'win32' && (stats.mode & 0o777) !== mode;

/** Changes the permission bits of what lies at a place, and never those of what a link there leads to. */
export const setMode = (place: Place, mode: number): void => {
  const path = folderOf(place).path(place.name);
  if (process.platform !== 'linux') return chmodSync(path, mode);
  const fd = openSync(path, O_PATH | O_NOFOLLOW);
  try {
    if (fstatSync(fd).isSymbolicLink()) throw fileError('path_denied', place.shown, 'is a link now');
    chmodSync(`/proc/self/fd/${fd}`, mode);
  } finally {
    closeSync(fd);
  }
};

/**
 * A time as a system call is given it, to the microsecond, which is what arrives. Node takes a number below 0 for a
 * mistake, and the same one as a text for a time before 1970.
 */
export const timeText = (ms: number): string => {
  const microseconds = Math.round(ms * 1000);
  const seconds = microseconds / 1_000_000;
  // Node 20 and 22 cut off what is behind the microsecond: a number that lies below its own must be the next one instead.
  const cut = Math.trunc((seconds - Math.trunc(seconds)) * 1_000_000);
  return String(cut === microseconds % 1_000_000 ? seconds : seconds + (seconds * Number.EPSILON) / 2);
};

/** The time of a link itself. */
export const setLinkTime = (path: string, mtimeMs: number): void =>
  lutimesSync(path, timeText(mtimeMs), timeText(mtimeMs));

/** Gives a folder its time and its permission bits, when everything in it is done, and makes its names durable. */
export const finishFolder = (
  place: Place,
  { mtimeMs, mode, platform }: { mtimeMs: number; mode: number; platform: NodeJS.Platform },
): void => {
  // Windows opens no folders.
  if (process.platform === 'win32') return;
  const fd = openSync(folderOf(place).path(place.name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    syncFolder(fd);
    futimesSync(fd, timeText(mtimeMs), timeText(mtimeMs));
    if (needsMode(fstatSync(fd), mode, platform)) fchmodSync(fd, mode);
  } finally {
    closeSync(fd);
  }
};

const syncFolder = (fd: number): void => {
  try {
    fsyncSync(fd);
  } catch (thrown) {
    // Some file systems of networks have no such thing for folders.
    if (errorCode(thrown) !== 'EINVAL') throw thrown;
  }
};
