import { lstat, readdir, realpath, rm, rmdir } from 'node:fs/promises';
import { isAbsolute, join, relative, sep } from 'node:path';

import { errorCode, readTextFile } from '../kernel/atomic-file.ts';
import { LoopsyError } from '../protocol/errors.ts';
import type { NodePaths } from './paths.ts';

/** What lies in a data folder. */
export interface DataFolder {
  /** Names of loopsy's, in the order in which they can be removed: what tells that the folder is loopsy's comes last. */
  readonly own: readonly string[];
  /** Names of others: they stay. */
  readonly foreign: readonly string[];
}

/** What a database keeps beside it, a kept copy of the predecessor's, a lock that is being taken. */
const BESIDE = /^(?:-wal|-shm|-journal|-spare|\.loopsy1(?:-\d+)?|\.[0-9a-f]{16})$/;
const DRAFT = /^\.(.+)\.[0-9a-f]{12}\.tmp$/;

/**
 * Looks at a data folder that shall be removed. Nothing is changed.
 * @returns undefined where there is none.
 * @throws {LoopsyError} `conflict` where it is a link, holds the user's home folder, or does not look like loopsy's.
 */
export const inspectDataFolder = async (paths: NodePaths, home: string): Promise<DataFolder | undefined> => {
  const { dataDir } = paths;
  const facts = await lstat(dataDir).catch(ignoreMissing);
  if (facts === undefined) return undefined;
  if (facts.isSymbolicLink())
    throw refusal(dataDir, `it is a link to ${await realpath(dataDir).catch(() => 'nowhere')}`);
  if (!facts.isDirectory()) throw refusal(dataDir, 'it is no folder');
  const real = await realpath(dataDir);
  if (isInside(await realpath(home).catch(() => home), real)) throw refusal(dataDir, 'your home folder is in it');
  const names = await readdir(dataDir);
  if (names.length > 0 && !(await looksLikeOurs(paths))) {
    throw refusal(dataDir, 'it does not look like a data folder of loopsy');
  }
  const isOwn = ownNames(paths);
  const last = lastNames(paths);
  const own = names.filter(isOwn).toSorted((a, b) => last.indexOf(a) - last.indexOf(b));
  return { own, foreign: names.filter((name) => !isOwn(name)) };
};

/**
 * Removes what is loopsy's, and then the folder where nothing else is in it. Links are removed, and never followed. One
 * that was cut off can be said again.
 */
export const removeDataFolder = async ({ dataDir }: NodePaths, { own, foreign }: DataFolder): Promise<void> => {
  for (const name of own) await rm(join(dataDir, name), { recursive: true, force: true, maxRetries: 5 });
  if (foreign.length === 0) await rmdir(dataDir);
};

const refusal = (dataDir: string, why: string): LoopsyError =>
  new LoopsyError('conflict', {
    message: `${dataDir} is not removed: ${why}`,
    hint: 'nothing was changed; remove by hand what you do not need',
    details: { dataDir },
  });

const ignoreMissing = (error: unknown): undefined => {
  if (errorCode(error) === 'ENOENT') return undefined;
  throw error;
};

/** True where `path` is `folder`, or lies in it. */
export const isInside = (path: string, folder: string): boolean => {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
};

const topName = ({ dataDir }: NodePaths, path: string): string => relative(dataDir, path).split(sep)[0] ?? '';

/** Every place of loopsy's, whatever is added to the list of them, with what belongs to each. */
const ownNames = (paths: NodePaths): ((name: string) => boolean) => {
  const places = Object.values(paths).map((path: string) => topName(paths, path));
  const names = [...new Set(places.filter((name) => name !== '')), 'sessions'];
  return (name) => {
    const whole = DRAFT.exec(name)?.[1] ?? name;
    return names.some((one) => whole === one || (whole.startsWith(one) && BESIDE.test(whole.slice(one.length))));
  };
};

/** What tells that a folder is loopsy's. */
const lastNames = (paths: NodePaths): string[] =>
  [paths.trustDatabase, paths.nodeLock, paths.config].map((path) => topName(paths, path));

const looksLikeOurs = async (paths: NodePaths): Promise<boolean> => {
  const areFiles = await Promise.all([paths.nodeLock, paths.trustDatabase].map(isFile));
  if (areFiles.every(Boolean)) return true;
  const config = await readTextFile(paths.config).catch(() => undefined);
  return config !== undefined && /^version:\s*2\s*(?:#.*)?$/m.test(config) && /^\s+apiKey:/m.test(config);
};

const isFile = async (path: string): Promise<boolean> => (await lstat(path).catch(ignoreMissing))?.isFile() === true;
