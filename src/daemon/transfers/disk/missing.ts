import { lstatSync } from 'node:fs';
import { dirname } from 'node:path';

import { nameFault } from '../../../trust/native-path.ts';
import { fileFault } from './faults.ts';
import { OpenFolder } from './folders.ts';
import type { Ignored } from './ignored.ts';
import { sourceChanged, type MirroredFolder } from './mirrored.ts';
import type { SourceOptions } from './source.ts';
import type { SourceRoot } from './sources.ts';
import type { Surroundings } from './surroundings.ts';

type Name = readonly [name: string, isFolder: boolean];

/** Names that a target has in a folder. */
export interface NamesAsked {
  /** The folder's root. */
  readonly at: SourceRoot;
  /** The folder, below the root. */
  readonly folder: string;
  readonly shown: string;
  readonly names: readonly Name[];
  /** What the folder was when it was read. */
  readonly mirrored: MirroredFolder;
  /** True where it is known that there is no such folder. */
  readonly gone?: true | undefined;
}

/** What is missing of names, which folders among them are something else here, and what is left out. */
export interface Missing {
  readonly missing: readonly number[];
  readonly others: readonly number[];
  readonly left?: readonly number[];
}

/**
 * Which of these names in a folder are not there, and are not left out either: what stays behind is nobody's to remove.
 * @throws {LoopsyError} where the folder may not be read, lies behind a link, or is not what it was when it was read.
 */
export const findMissing = async (
  around: Surroundings,
  options: SourceOptions,
  asked: NamesAsked,
): Promise<Missing> => {
  const { at, folder: path, shown, names, mirrored, gone } = asked;
  const { guard } = around;
  const refuse = await guard.closedBelow(await guard.recheck(at.real, options.limits));
  const real = around.join(at.real, path);
  const ignored = ignoredIn(around, at, path);
  if (ignored === 'all' || refuse?.(real) !== undefined) return { missing: [], others: [] };
  mirrored.needRoot();
  const folder = openIfThere(real, shown);
  try {
    const stats = folder === undefined ? undefined : lstatSync(folder.path('.'));
    if (stats === undefined && gone !== true) throw sourceChanged(shown);
    if (stats !== undefined) mirrored.needDisk(stats, shown);
    const found = compareNames(names, { folder, ignored, path, platform: around.platform });
    const hasChanged = stats !== undefined && mirrored.hasChanged(stats);
    if (found.missing.length > 0 && (hasChanged || (options.gitignore && rulesChanged(around, asked))))
      throw sourceChanged(shown);
    // It may have gone meanwhile.
    mirrored.needRoot();
    return found;
  } catch (thrown) {
    throw fileFault(thrown, shown);
  } finally {
    folder?.drop();
  }
};

interface Compared {
  readonly folder: OpenFolder | undefined;
  readonly ignored: Ignored | undefined;
  readonly path: string;
  readonly platform: NodeJS.Platform;
}

const compareNames = (names: readonly Name[], { folder, ignored, path, platform }: Compared): Missing => {
  const missing: number[] = [];
  const others: number[] = [];
  const left: number[] = [];
  for (const [index, [name, isFolder]] of names.entries()) {
    if (ignored?.has(path === '' ? name : `${path}/${name}`, isFolder) === true) {
      left.push(index);
      continue;
    }
    // What can't have that name here is not here.
    const canBe = folder !== undefined && nameFault(name, platform) === undefined;
    const stats = canBe ? lstatSync(folder.path(name), { throwIfNoEntry: false }) : undefined;
    if (stats === undefined) missing.push(index);
    else if (isFolder && !stats.isDirectory()) others.push(index);
  }
  return { missing, others, ...(left.length > 0 ? { left } : {}) };
};

/** True where what is left out may not be what was left out when the folder was read. */
const rulesChanged = (
  { join }: Surroundings,
  { at: { real, above: rulesAbove }, folder: path, mirrored }: NamesAsked,
): boolean => {
  if (rulesAbove?.haveChanged((stats) => mirrored.hasChanged(stats)) === true) return true;
  for (let folder = path; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/')))) {
    const above = join(real, folder);
    const rules = lstatSync(join(above, '.gitignore'), { throwIfNoEntry: false });
    // One that went has changed the folder that it was in.
    const changed = rules ?? lstatSync(above, { throwIfNoEntry: false });
    if (changed !== undefined && mirrored.hasChanged(changed)) return true;
    if (folder === '') return false;
  }
};

/** What is left out in a folder; `all` where it is left out itself. */
const ignoredIn = (
  { join }: Surroundings,
  { real, ignored: rules }: SourceRoot,
  path: string,
): Ignored | 'all' | undefined => {
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
