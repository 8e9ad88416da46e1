import { lstatSync, mkdirSync, realpathSync, type Stats } from 'node:fs';
import { sep } from 'node:path';

import { LoopsyError } from '../../../protocol/errors.ts';
import { nameFault } from '../../../trust/native-path.ts';
import { isContents } from '../format.ts';
import { fileError, fileFault, quoted } from './faults.ts';
import type { Places } from './places.ts';
import type { Surroundings } from './surroundings.ts';
import type { TargetOptions } from './target.ts';

const NEW_FOLDER_MODE = 0o755;
/** A path that can't be the name of what is made: `x/`, `x/.`, `..`, `~`. */
const INTO = { windows: /(?:^|[\\/])\.{0,2}$|^~$/, others: /(?:^|\/)\.{0,2}$|^~$/ };

/**
 * Decides where roots go, as `cp -r` does: into the destination where it is a folder or ends in a separator, else as it.
 * What is in a folder goes into the destination itself.
 */
export const findDestinations = async (
  around: Surroundings,
  places: Places,
  options: Pick<TargetOptions, 'dest' | 'roots' | 'isExact' | 'dryRun'> & {
    readonly isOurs: (real: string) => boolean;
  },
): Promise<readonly string[]> => {
  const { dest, roots, isExact, dryRun } = options;
  const real = await places.check(dest);
  const stats = statsOf(real, dest);
  const isFolder = stats?.isDirectory() === true;
  const saysFolder = (around.platform === 'win32' ? INTO.windows : INTO.others).test(dest);
  if (isExact === true) {
    if (isFolder || saysFolder)
      throw fileError('wrong_type', dest, [
        'is a folder',
        { hint: 'say which file in it: a stream has no name of its own' },
      ]);
    needFolder(around.dirname(real), dest);
    return [real];
  }
  // What an earlier run began as the root itself is gone on with, as if it were still to be made.
  const isInto = (isFolder && !options.isOurs(real)) || saysFolder;
  const isOneFile = roots.length === 1 && roots[0]?.type !== 'directory';
  if (stats !== undefined && !isFolder && (isInto || !isOneFile)) throw fileError('wrong_type', dest, 'is no folder');
  if (roots.length > 1) checkSeveral(roots, dest, isInto);
  if (stats === undefined) needFolder(around.dirname(real), dest);
  if (!isInto || roots.some(({ name }) => isContents(name))) return [real];
  checkNames(roots, around.platform);
  if (stats === undefined && !dryRun) makeFolder(real, dest);
  return roots.map(({ name }) => around.join(real, name));
};

/**
 * Which folder lies there; undefined where none does. Numbers are given again to what is made later: only with the time
 * at which it was made they are its own. A Mac never gives one again, and changes that time with the others.
 */
export const markOf = (path: string, platform: NodeJS.Platform): string | undefined => {
  const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (stats?.isDirectory() !== true) return undefined;
  return platform === 'darwin' ? `${stats.ino}` : `${stats.ino} ${stats.birthtimeNs}`;
};

/** One dot too many, and everything that somebody has would be what the source does not have. */
export const refuseHome = ({ home }: Surroundings, real: string, dest: string): void => {
  const folder = real.endsWith(sep) ? real : real + sep;
  if (!`${realpathSync(home)}${sep}`.startsWith(folder)) return;
  throw new LoopsyError('invalid_request', {
    message: `${quoted(dest)} is the home, or what it lies in: --delete makes no mirror of it`,
    hint: 'name a folder in it',
  });
};

const checkSeveral = (roots: TargetOptions['roots'], dest: string, isInto: boolean): void => {
  if (!isInto)
    throw fileError(
      'file_not_found',
      dest,
      'is no folder, and several things go into one: make it, or write `/` behind it',
    );
  if (roots.some(({ name }) => isContents(name)))
    throw new LoopsyError('invalid_request', {
      message: 'what is in a folder (x/.) goes by itself, and other things were named beside it',
      hint: 'send them one after the other',
    });
};

const checkNames = (roots: TargetOptions['roots'], platform: NodeJS.Platform): void => {
  const names = new Set<string>();
  for (const { name } of roots) {
    const fault = nameFault(name, platform);
    if (fault !== undefined) throw fileError('name_unusable', name, fault);
    if (names.has(name)) throw fileError('name_unusable', name, 'is the name of two of the sources');
    names.add(name);
  }
};

/** `dest/` is made where only it is missing. */
const makeFolder = (real: string, dest: string): void => {
  try {
    mkdirSync(real, { mode: NEW_FOLDER_MODE });
  } catch (thrown) {
    throw fileFault(thrown, dest);
  }
};

const statsOf = (real: string, dest: string): Stats | undefined => {
  try {
    return lstatSync(real, { throwIfNoEntry: false });
  } catch (thrown) {
    throw fileFault(thrown, dest);
  }
};

const needFolder = (folder: string, dest: string): void => {
  const stats = statsOf(folder, dest);
  if (stats === undefined) throw fileError('file_not_found', dest, 'can not be made: the folder above it is not there');
  if (!stats.isDirectory()) throw fileError('wrong_type', dest, 'lies below something that is no folder');
};
