import { lstatSync } from 'node:fs';
import { dirname } from 'node:path';

import { nameFault } from '../../../trust/native-path.ts';
import type { SafePath } from '../../../trust/path-guard.ts';
import { fileFault } from './faults.ts';
import { OpenFolder } from './folders.ts';
import { Ignored } from './ignored.ts';
import type { SourceOptions } from './source.ts';
import type { Surroundings } from './surroundings.ts';

type Name = readonly [name: string, isFolder: boolean];

/** Names that a target has in a folder. */
export interface NamesAsked {
  /** The real path of the folder's root. */
  readonly real: SafePath;
  /** The folder, below the root. */
  readonly folder: string;
  readonly shown: string;
  readonly names: readonly Name[];
}

/**
 * Which of these names in a folder are not there, and are not left out either: what stays behind is nobody's to remove.
 * @throws {LoopsyError} where the folder may not be read, or lies behind a link.
 */
export const findMissing = async (
  around: Surroundings,
  options: SourceOptions,
  { real, folder: path, shown, names }: NamesAsked,
): Promise<{ readonly missing: readonly number[] }> => {
  const { guard, platform } = around;
  const refuse = await guard.closedBelow(await guard.recheck(real, options.limits));
  const at = around.join(real, path);
  const ignored = ignoredIn(around, options, { real, path });
  if (ignored === 'all' || refuse?.(at) !== undefined) return { missing: [] };
  const folder = openIfThere(at, shown);
  const isMissing = ([name, isFolder]: Name): boolean => {
    if (ignored?.has(path === '' ? name : `${path}/${name}`, isFolder) === true) return false;
    // What can't have that name here is not here.
    if (folder === undefined || nameFault(name, platform) !== undefined) return true;
    return lstatSync(folder.path(name), { throwIfNoEntry: false }) === undefined;
  };
  try {
    return { missing: names.flatMap((name, index) => (isMissing(name) ? [index] : [])) };
  } catch (thrown) {
    throw fileFault(thrown, shown);
  } finally {
    folder?.drop();
  }
};

/** What is left out in a folder; `all` where it is left out itself. */
const ignoredIn = (
  { platform, join }: Surroundings,
  { exclude, gitignore }: SourceOptions,
  { real, path }: { readonly real: string; readonly path: string },
): Ignored | 'all' | undefined => {
  const rules = Ignored.of(exclude, { gitignore, platform });
  if (rules === undefined) return undefined;
  let ignored = rules.inFolder('', join(real, '.gitignore'));
  const names = path === '' ? [] : path.split('/');
  for (const index of names.keys()) {
    const folder = names.slice(0, index + 1).join('/');
    if (ignored.has(folder, true)) return 'all';
    ignored = ignored.inFolder(folder, join(real, `${folder}/.gitignore`));
  }
  return ignored;
};

/** @throws {LoopsyError} where a link is on the way: what lies behind it is nobody's business. */
const openIfThere = (real: string, shown: string): OpenFolder | undefined => {
  try {
    if (isLinkItself(real, shown)) return undefined;
    return OpenFolder.open(real, shown);
  } catch (thrown) {
    const fault = fileFault(thrown, shown);
    if (fault.error === 'file_not_found' || fault.error === 'wrong_type') return undefined;
    throw fault;
  }
};

/** A link in a folder that is there is no folder. */
const isLinkItself = (real: string, shown: string): boolean => {
  if (!lstatSync(real).isSymbolicLink()) return false;
  OpenFolder.open(dirname(real), shown).drop();
  return true;
};
