import { posix, win32 } from 'node:path';

import { foreignPath } from '../kernel/foreign-path.ts';
import { fromGitBash } from '../kernel/git-bash-path.ts';
import type { Place } from '../config/paths.ts';
import { usageError } from './parse.ts';

/** What local paths are read by. */
type Here = Pick<Place, 'cwd' | 'platform'>;

/** Separators, as a part of a pattern. */
const separatorOf = (platform: NodeJS.Platform): string => (platform === 'win32' ? String.raw`[\\/]` : '/');

/** An empty word, as `"$unset"` leaves it, must never mean the current folder. */
const refuseEmpty = (path: string): void => {
  if (path === '')
    throw usageError('one of the paths is empty', 'look at the variable or the quotes that it came from');
};

/** True for a `~` that the shell has left: the node reads it as its own home. */
const isHome = (path: string, platform: NodeJS.Platform): boolean =>
  new RegExp(`^~(?:${separatorOf(platform)}|$)`).test(path);

const absolute = (path: string, { cwd, platform }: Here): string =>
  platform === 'win32' ? win32.resolve(cwd, fromGitBash(path)) : posix.resolve(cwd, path);

const withEnd = (path: string, end: string): string => (/[\\/]$/.test(path) ? path : `${path}${end}`);

/**
 * A path of this machine as a source. Absolute; what `cp` reads from its end stays: `x/` names a folder, and `x/.` what
 * is in it.
 */
export const localSource = (path: string, here: Here): string => {
  refuseEmpty(path);
  if (isHome(path, here.platform)) return path;
  const separator = separatorOf(here.platform);
  const full = absolute(path, here);
  if (new RegExp(`(?:^|${separator})\\.{1,2}${separator}*$`).test(path)) return `${withEnd(full, '/')}.`;
  return new RegExp(`${separator}$`).test(path) ? withEnd(full, '/') : full;
};

/** A path of this machine as a destination. Absolute; one that says "into it" still does: `x/`, `.`, `..`. */
export const localDest = (path: string, here: Here): string => {
  refuseEmpty(path);
  const foreign = foreignPath(path, here.platform);
  if (foreign !== undefined) throw usageError(`${JSON.stringify(path)} ${foreign.why}`, foreign.hint);
  if (isHome(path, here.platform)) return path;
  const isFolder = new RegExp(`(?:^|${separatorOf(here.platform)})(?:\\.{1,2})?$`).test(path);
  return isFolder ? withEnd(absolute(path, here), '/') : absolute(path, here);
};

/** A path of another machine goes there as it is typed. */
export const remotePath = (path: string): string => {
  refuseEmpty(path);
  return path;
};

/** A place as `cp` takes it. */
export interface TypedPlace {
  /** How the machine is named; undefined: none is, so that the path is one of this machine. */
  readonly machine: string | undefined;
  readonly path: string;
}

const NAMED = /^(?<machine>\[[^\]]+\](?::\d+)?|[^:/\\]+):(?<path>.*)$/s;
const DRIVE = /^[A-Za-z]:[\\/]/;

/** Reads `peer:path`. A drive of Windows is no peer, and a colon behind a separator belongs to the path. */
export const typedPlace = (text: string): TypedPlace => {
  const { machine, path = text } = (DRIVE.test(text) ? null : NAMED.exec(text))?.groups ?? {};
  return { machine, path };
};
