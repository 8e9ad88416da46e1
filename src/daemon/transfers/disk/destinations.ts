import { lstatSync, mkdirSync, realpathSync, type Stats } from 'node:fs';
import { sep } from 'node:path';

import { foreignPath } from '../../../kernel/foreign-path.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import { nameFault } from '../../../trust/native-path.ts';
import { isContents } from '../format.ts';
import { isDraftName } from './draft-names.ts';
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
  options: Pick<TargetOptions, 'dest' | 'roots' | 'several' | 'isExact' | 'dryRun'> & {
    /** Goes on in the folder that an earlier run has made; false where it has made none, or another one. */
    readonly takeUp: (real: string) => boolean;
  },
): Promise<readonly string[]> => {
  const { dest, roots } = options;
  const isSeveral = roots.length > 1 || options.several === true;
  const isContent = isOneContents(roots);
  const foreign = foreignPath(dest, around.platform);
  if (foreign !== undefined) throw fileError('name_unusable', dest, [foreign.why, { hint: foreign.hint }]);
  const real = await places.check(dest);
  if (isDraftName(around.basename(real)))
    throw fileError('name_unusable', dest, ['is a name that loopsy keeps for itself', { hint: 'choose another name' }]);
  const stats = statsOf(real, dest);
  const isFolder = stats?.isDirectory() === true;
  const saysFolder = (around.platform === 'win32' ? INTO.windows : INTO.others).test(dest);
  if (options.isExact === true) {
    needExact(around, real, { dest, isFolder: isFolder || saysFolder });
    return [real];
  }
  // What an earlier run began as the root itself is gone on with, as if it were still to be made.
  const isInto = saysFolder || (isFolder && (isSeveral || !options.takeUp(real)));
  if (stats === undefined) needFolder(around.dirname(real), dest);
  else if (!isFolder && (isInto || isSeveral || hasFolder(roots))) throw fileError('wrong_type', dest, 'is no folder');
  if (isContent) return [real];
  if (!isInto && isSeveral) throw missing(dest);
  if (!isInto) return [real];
  return intoFolder(around, real, { ...options, isThere: stats !== undefined });
};

const intoFolder = (
  { platform, join }: Surroundings,
  real: string,
  { dest, roots, dryRun, isThere }: Pick<TargetOptions, 'dest' | 'roots' | 'dryRun'> & { readonly isThere: boolean },
): readonly string[] => {
  checkNames(roots, dest, platform);
  if (!isThere && !dryRun) makeFolder(real, dest);
  return roots.map(({ name }) => join(real, name));
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

const hasFolder = (roots: TargetOptions['roots']): boolean => roots.some(({ type }) => type === 'directory');

const needExact = (
  { dirname }: Surroundings,
  real: string,
  { dest, isFolder }: { readonly dest: string; readonly isFolder: boolean },
): void => {
  if (!isFolder) return needFolder(dirname(real), dest);
  throw fileError('wrong_type', dest, [
    'is a folder',
    { hint: 'say which file in it: a stream has no name of its own' },
  ]);
};

const missing = (dest: string): LoopsyError =>
  fileError('file_not_found', dest, [
    'is not there, and several things go into a folder',
    { hint: `with \`/\` behind it, ${quoted(`${dest}/`)}, it is made` },
  ]);

/** @throws {LoopsyError} where it is one of several: whatever is at the destination, these go nowhere. */
const isOneContents = (roots: TargetOptions['roots']): boolean => {
  const contents = roots.find(({ name }) => isContents(name));
  if (contents === undefined || roots.length === 1) return contents !== undefined;
  throw new LoopsyError('invalid_request', {
    message: `what is in a folder goes by itself, and ${quoted(contents.name)} is one of several sources`,
    hint: 'send each by itself, or name the folders without `/.`: then they go there with their names',
  });
};

const checkNames = (roots: TargetOptions['roots'], dest: string, platform: NodeJS.Platform): void => {
  const names = new Set<string>();
  for (const { name } of roots) {
    const fault = nameFault(name, platform);
    if (fault !== undefined) throw fileError('name_unusable', name, fault);
    if (names.has(name))
      throw new LoopsyError('name_unusable', {
        message: `two of the sources are called ${quoted(name)}: both would become ${quoted(below(dest, name))}`,
        hint: 'send one of them by itself, to another place or under another name',
      });
    names.add(name);
  }
};

const below = (dest: string, name: string): string => (/[\\/]$/.test(dest) ? dest : `${dest}/`) + name;

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
  if (stats === undefined)
    throw fileError('file_not_found', dest, [
      'can not be made: the folder above it is not there',
      { hint: 'make that folder first; only the last name of a path is made' },
    ]);
  if (!stats.isDirectory()) throw fileError('wrong_type', dest, 'lies below something that is no folder');
};
