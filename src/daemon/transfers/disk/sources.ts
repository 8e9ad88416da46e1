import { lstatSync } from 'node:fs';

import type { LoopsyError } from '../../../protocol/errors.ts';
import { MAX_SOURCES } from '../../../protocol/transfer-limits.ts';
import { toNativePath, toNativePattern } from '../../../trust/native-path.ts';
import type { PathGuard, PathLimits, SafePath } from '../../../trust/path-guard.ts';
import { CONTENTS, isContents } from '../format.ts';
import { fileError, fileFault } from './faults.ts';
import { OpenFolder } from './folders.ts';
import { expandBraces, isPattern, nameTest, unescaped, type NameTest } from './glob.ts';
import type { Ignored } from './ignored.ts';
import { listNames } from './listing.ts';
import type { RulesAbove } from './rules-above.ts';
import { pathsOf } from './surroundings.ts';

/** One thing that was asked for. */
export interface SourceRoot {
  /** Its last name, as it was given; with `CONTENTS` behind it where what is in it was asked for. */
  readonly name: string;
  readonly real: SafePath;
  /** Where the link lies by which it was named. */
  readonly link?: string | undefined;
  readonly type: 'file' | 'directory';
  /** Which folder that was: under the same path there may be another one by now, as where a disk was taken away. */
  readonly identity: FolderIdentity;
  /** What of it stays behind; not there where nothing does. */
  readonly ignored?: Ignored | undefined;
  /** By which files above it. */
  readonly above?: RulesAbove | undefined;
}

/** Tells a folder from another one under its path. */
interface FolderIdentity {
  readonly dev: number;
  readonly ino: number;
}

/** What was found of what was asked for. */
export interface FoundRoots {
  readonly roots: readonly SourceRoot[];
  readonly failed: readonly { readonly path: string; readonly error: LoopsyError }[];
}

/** Who looks, and as what. */
export interface Looking {
  readonly guard: PathGuard;
  readonly limits: PathLimits;
  readonly platform: NodeJS.Platform;
  readonly home: string;
}

const tooMany = (path: string): LoopsyError =>
  fileError('invalid_request', path, `makes more than ${MAX_SOURCES} sources: name the folder that they are in`);

/** Finds what paths name; one that is not there is a pattern, as a shell would have read it. Links to roots are followed. */
export const findRoots = async (paths: readonly string[], looking: Looking): Promise<FoundRoots> => {
  const roots: SourceRoot[] = [];
  const failed: { path: string; error: LoopsyError }[] = [];
  const find = async (path: string, look: () => Promise<void>): Promise<void> => {
    try {
      await look();
    } catch (thrown) {
      failed.push({ path, error: fileFault(thrown, path) });
    }
  };
  for (const path of paths) {
    await find(path, async () => {
      const matches = await matchesOf(path, roots, looking);
      // One that can't be read is no reason to leave the others behind.
      for (const match of matches) await find(match, async () => void roots.push(await rootAt(match, looking)));
    });
    if (roots.length > MAX_SOURCES) throw tooMany(path);
  }
  return { roots, failed };
};

/** What a pattern matches; a path that is there is none, whatever characters it has: it joins the roots at once. */
const matchesOf = async (path: string, roots: SourceRoot[], looking: Looking): Promise<readonly string[]> => {
  try {
    roots.push(await rootAt(path, looking));
    return [];
  } catch (thrown) {
    if (!isPattern(looking.platform === 'win32' ? path.replaceAll('\\', '/') : path)) throw thrown;
  }
  refuseTwoStars(path, looking.platform);
  const found = await expand(path, looking);
  const isFolder = saysFolder(path, looking.platform);
  const matches = isFolder ? found.filter(mayBeFolder) : found;
  if (matches.length === 0) throw fileError('file_not_found', path, `matches ${isFolder ? 'no folder' : 'nothing'}`);
  // Written as a path of the system, a pattern has lost it.
  const end = namesContents(path, looking.platform) ? CONTENTS : isFolder ? '/' : '';
  return matches.map((match) => match + end);
};

/** Where a shell was told to, they stand for any folders in between. At the end they are as good as one. */
const refuseTwoStars = (path: string, platform: NodeJS.Platform): void => {
  const names = path.split(platform === 'win32' ? /[\\/]/ : '/').filter((name) => name !== '');
  if (!names.slice(0, -1).includes('**')) return;
  throw fileError('invalid_request', path, [
    'has "**", which stands for nothing here',
    { hint: 'a * stands for one name: */x and */*/x are in folders; or name the folder, and all that is in it goes' },
  ]);
};

/** What a link leads to is judged later. */
const mayBeFolder = (path: string): boolean => {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats?.isDirectory() === true || stats?.isSymbolicLink() === true;
};

const rootAt = async (path: string, looking: Looking): Promise<SourceRoot> => {
  const { guard, limits, platform } = looking;
  const real = await guard.check(path, limits);
  const stats = lstatSync(real);
  if (!stats.isDirectory() && !stats.isFile()) throw fileError('wrong_type', path, 'is neither a file nor a folder');
  const name = rootName(path, real, platform);
  if (!stats.isDirectory() && (isContents(name) || saysFolder(path, platform)))
    throw fileError('wrong_type', path, 'is no folder');
  const { dev, ino } = stats;
  const link = await linkAt(path, looking);
  return { name, real, link, type: stats.isDirectory() ? 'directory' : 'file', identity: { dev, ino } };
};

/** Undefined also for a link in a folder that is closed, of which nobody is told anything. */
const linkAt = async (path: string, { guard, limits, platform, home }: Looking): Promise<string | undefined> => {
  const native = toNativePath(path, { platform, home }).replace(platform === 'win32' ? /[\\/]+$/ : /\/+$/, '');
  if (lstatSync(native, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return undefined;
  const { dirname, join, basename } = pathsOf(platform);
  return guard.check(dirname(native), limits).then(
    (folder) => join(folder, basename(native)),
    () => undefined,
  );
};

/** True for `x/`, which is no name of a file. */
export const saysFolder = (path: string, platform: NodeJS.Platform): boolean =>
  (platform === 'win32' ? /[\\/]$/ : /\/$/).test(path);

const lastName = (path: string, platform: NodeJS.Platform): string =>
  path.split(platform === 'win32' ? /[\\/]/ : '/').findLast((name) => name !== '') ?? '';

/** As `cp` reads it: `x/.`, and `..` too, is what is in a folder. A bare `~` is called what it leads to. */
const namesContents = (path: string, platform: NodeJS.Platform): boolean =>
  ['.', '..'].includes(lastName(path, platform));

const rootName = (given: string, real: string, platform: NodeJS.Platform): string => {
  if (namesContents(given, platform)) return lastName(real, platform) + CONTENTS;
  const name = lastName(given, platform);
  return name === '' || name === '~' || /^[A-Za-z]:$/.test(name) ? lastName(real, platform) : name;
};

/** A pattern's matches: `*`, `?`, `[a-z]`, `{a,b}` in any of its names; those that begin with a dot are named by one. */
const expand = async (path: string, looking: Looking): Promise<string[]> => {
  const { platform, home } = looking;
  const texts = expandBraces(platform === 'win32' ? path.replaceAll('\\', '/') : path);
  if (texts === undefined) throw fileError('invalid_request', path, 'has too many braces');
  const found = new Set<string>();
  for (const text of texts) {
    for (const match of await expandOne(toNativePattern(text, { platform, home }), path, looking)) found.add(match);
    if (found.size > MAX_SOURCES) throw tooMany(path);
  }
  return [...found].toSorted();
};

/** One name of a pattern. */
interface Part {
  readonly name: string;
  readonly test: NameTest | undefined;
  readonly isLast: boolean;
}

const expandOne = async (native: string, path: string, looking: Looking): Promise<string[]> => {
  const isWindows = looking.platform === 'win32';
  const separator = isWindows ? '\\' : '/';
  const [first = '', ...names] = native.split(separator);
  const parts = names.filter((name) => name !== '');
  let found = [`${first}${separator}`];
  let refused: unknown;
  for (const [index, name] of parts.entries()) {
    const test = isPattern(name) ? nameTest(name, isWindows) : undefined;
    const part = { name, test, isLast: index === parts.length - 1 };
    const next: string[] = [];
    for (const folder of found) {
      try {
        next.push(...(await below(folder, part, looking)));
      } catch (thrown) {
        // Other folders may be open.
        refused ??= thrown;
      }
      if (next.length > MAX_SOURCES) throw tooMany(path);
    }
    found = next;
  }
  if (found.length === 0 && refused !== undefined) throw fileFault(refused, path);
  return found;
};

/** What of a folder a part of a pattern means. */
const below = async (folder: string, { name, test, isLast }: Part, looking: Looking): Promise<string[]> => {
  const separator = looking.platform === 'win32' ? '\\' : '/';
  const start = folder.endsWith(separator) ? folder : folder + separator;
  if (test === undefined) {
    const plain = start + (looking.platform === 'win32' ? name : unescaped(name));
    // Behind a star most folders don't have it.
    return !isLast || isThere(plain) ? [plain] : [];
  }
  const names = await namesIn(folder, looking);
  return names
    .filter((match) => test(match) && (!match.startsWith('.') || name.startsWith('.')))
    .map((match) => start + match);
};

const isThere = (path: string): boolean => {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    // Below what is no folder, or can't be looked into.
    return false;
  }
};

/** Nobody learns names of folders that are closed to him. What is no folder has none. */
const namesIn = async (path: string, looking: Looking): Promise<readonly string[]> => {
  const { guard, limits, platform } = looking;
  const real = await guard.check(path, limits);
  if (!isThere(real) || !lstatSync(real).isDirectory()) return [];
  const folder = OpenFolder.open(real, path);
  try {
    const { names, hasMore } = await listNames(folder, platform, { most: MAX_NAMES });
    if (hasMore) throw fileError('invalid_request', path, `looks through more than ${MAX_NAMES} names`);
    return names;
  } finally {
    folder.drop();
  }
};

/** Of one folder. */
const MAX_NAMES = 200_000;
