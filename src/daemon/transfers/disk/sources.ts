import { lstatSync, readdirSync } from 'node:fs';

import picomatch from 'picomatch';

import { errorCode } from '../../../kernel/atomic-file.ts';
import type { LoopsyError } from '../../../protocol/errors.ts';
import { toNativePath } from '../../../trust/native-path.ts';
import type { PathGuard, PathLimits, SafePath } from '../../../trust/path-guard.ts';
import { fileError, fileFault } from './faults.ts';

/** One thing that was asked for. */
export interface SourceRoot {
  /** Its last name, as it was given. */
  readonly name: string;
  readonly real: SafePath;
  readonly type: 'file' | 'directory';
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

const MAX_MATCHES = 10_000;

/** Finds what paths name; one that is not there is a pattern, as a shell would have read it. Links to roots are followed. */
export const findRoots = async (paths: readonly string[], looking: Looking): Promise<FoundRoots> => {
  const roots: SourceRoot[] = [];
  const failed: { path: string; error: LoopsyError }[] = [];
  for (const path of paths) {
    try {
      roots.push(...(await findOne(path, looking)));
    } catch (thrown) {
      failed.push({ path, error: fileFault(thrown, path) });
    }
  }
  return { roots, failed };
};

const findOne = async (path: string, looking: Looking): Promise<SourceRoot[]> => {
  try {
    return [await rootAt(path, looking)];
  } catch (thrown) {
    if (!picomatch.scan(path).isGlob) throw thrown;
  }
  const matches = expand(path, looking);
  if (matches.length === 0) throw fileError('file_not_found', path, 'matches nothing');
  return Promise.all(matches.map((match) => rootAt(match, looking)));
};

const rootAt = async (path: string, { guard, limits, platform, home }: Looking): Promise<SourceRoot> => {
  const real = await guard.check(path, limits);
  const stats = lstatSync(real);
  if (!stats.isDirectory() && !stats.isFile()) throw fileError('wrong_type', path, 'is neither a file nor a folder');
  return { name: lastName(path, real, { platform, home }), real, type: stats.isDirectory() ? 'directory' : 'file' };
};

/** `.` and `..` and a bare `~` are called what they lead to. */
const lastName = (given: string, real: string, place: Pick<Looking, 'platform' | 'home'>): string => {
  const last = (path: string): string =>
    path.split(place.platform === 'win32' ? /[\\/]/ : '/').findLast((name) => name !== '') ?? '';
  const name = last(given);
  const isPlain = name !== '.' && name !== '..' && name !== '~' && !/^[A-Za-z]:$/.test(name);
  return isPlain ? name : last(real);
};

/** A pattern's matches: `*`, `?`, `[a-z]`, `{a,b}` in any of its names; those that begin with a dot are named by one. */
const expand = (path: string, { platform, home }: Looking): string[] => {
  const native = toNativePath(path, { platform, home });
  const separator = platform === 'win32' ? '\\' : '/';
  const [first = '', ...names] = native.split(separator);
  let found = [`${first}${separator}`];
  for (const name of names.filter((text) => text !== '')) {
    const matches = picomatch.scan(name).isGlob ? picomatch(name, { nocase: platform === 'win32' }) : undefined;
    found = found.flatMap((folder) => below(folder, separator, { name, matches }));
    if (found.length > MAX_MATCHES) throw fileError('transfer_failed', path, `matches more than ${MAX_MATCHES} names`);
  }
  return found.toSorted();
};

const below = (
  folder: string,
  separator: string,
  { name, matches }: { name: string; matches: ((name: string) => boolean) | undefined },
): string[] => {
  const start = folder.endsWith(separator) ? folder : folder + separator;
  if (matches === undefined) return [start + name];
  try {
    return readdirSync(folder)
      .filter((found) => matches(found))
      .map((found) => start + found);
  } catch (thrown) {
    if (errorCode(thrown) === undefined) throw thrown;
    return [];
  }
};
