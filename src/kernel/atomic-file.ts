import { chmod, lstat, mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { systemClock, type Clock } from './clock.ts';
import { FolderRefused, foreignOwner } from './file-owner.ts';
import { randomHex } from './ids.ts';
import { sleep } from './sleep.ts';

/** Every file of loopsy's is its user's alone. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const STICKY_BIT = 0o1000;

/** What Windows answers while a virus scanner or an indexer holds a file. */
const BUSY = new Set(['EPERM', 'EBUSY', 'EACCES']);
/** Waits between the attempts of a rename on Windows, ms. */
const RENAME_WAITS_MS = [10, 20, 40, 80, 160, 320, 640];

/** The `code` of a system error, e.g. `ENOENT`; undefined for anything else. */
export const errorCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

/** What `writeAll` needs of a file. */
export type WritableFile = Pick<FileHandle, 'write'>;

/** Writes every byte at the file's position: one write may take fewer than it was given, without an error. */
export const writeAll = async (file: WritableFile, bytes: Uint8Array): Promise<void> => {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written);
    if (bytesWritten === 0) throw new Error(`the file took ${written} of ${bytes.length} bytes: the disk may be full`);
    written += bytesWritten;
  }
};

/** The draft of an atomic write: a name that nothing else gives. */
const DRAFT = /^\.(.+)\.[0-9a-f]{12}\.tmp$/;
/** No write takes so long: an older draft is a dead process's. */
const DRAFT_STALE_MS = 60_000;

/** What differs between systems, and in tests. */
export interface RenameOptions {
  readonly platform?: NodeJS.Platform;
  readonly clock?: Clock;
  readonly rename?: (from: string, to: string) => Promise<void>;
}

/** Renames; on Windows tries again for 1.3 s while another program holds one of the files. */
export const renameFile = async (from: string, to: string, options: RenameOptions = {}): Promise<void> => {
  const { platform = process.platform, clock = systemClock, rename: renameOnce = rename } = options;
  for (const waitMs of platform === 'win32' ? RENAME_WAITS_MS : []) {
    try {
      return await renameOnce(from, to);
    } catch (error) {
      if (!BUSY.has(errorCode(error) ?? '')) throw error;
    }
    await sleep(waitMs, clock);
  }
  return renameOnce(from, to);
};

/** Makes a rename, a new file or a removal in `folder` durable. Windows does that by itself. */
export const syncFolder = async (folder: string): Promise<void> => {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

/**
 * Replaces a whole file, mode 0600, or leaves the old one as it was: readers see the one or the other, at any moment,
 * after a crash too. When it resolves, the new one is on disk. Leaves nothing behind where it fails.
 * @throws the system's error, e.g. ENOSPC.
 */
export const writeFileAtomic = async (file: string, content: string | Uint8Array): Promise<void> => {
  const folder = dirname(file);
  const draft = join(folder, `.${basename(file)}.${randomHex(6)}.tmp`);
  try {
    const handle = await open(draft, 'wx', FILE_MODE);
    try {
      await writeAll(handle, typeof content === 'string' ? Buffer.from(content) : content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await renameFile(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  await syncFolder(folder);
};

/**
 * Removes what atomic writes of processes that were killed left in `folder`: drafts of files that `isOurs` names, a minute
 * old or more, so that none is taken from a writer that lives. Anything else stays, as does a draft that is no plain file.
 * @returns how many were removed; 0 where there is no such folder.
 * @throws the system's error, e.g. EACCES.
 */
export const removeStaleDrafts = async (
  folder: string,
  isOurs: (name: string) => boolean,
  clock: Pick<Clock, 'now'> = systemClock,
): Promise<number> => {
  let removed = 0;
  for (const name of await namesIn(folder)) {
    const file = DRAFT.exec(name)?.[1];
    if (file === undefined || !isOurs(file) || !(await isStale(join(folder, name), clock))) continue;
    await rm(join(folder, name), { force: true });
    removed += 1;
  }
  return removed;
};

const namesIn = async (folder: string): Promise<string[]> => {
  try {
    return await readdir(folder);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
};

/** One that is gone meanwhile was a living writer's. */
const isStale = async (draft: string, clock: Pick<Clock, 'now'>): Promise<boolean> => {
  try {
    const entry = await lstat(draft);
    return entry.isFile() && clock.now() - entry.mtimeMs >= DRAFT_STALE_MS;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
};

/**
 * Makes a folder that only its user can enter (0700), with the folders above it, or closes an existing one to others.
 * @throws {FolderRefused} where it is a shared folder (sticky, such as /tmp), or another user's, also for root; the
 * system's error where it is no folder.
 */
export const ensurePrivateDir = async (folder: string): Promise<void> => {
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
  if (process.platform === 'win32') return;
  const { mode } = await stat(folder);
  if ((mode & STICKY_BIT) !== 0) throw new FolderRefused(folder);
  const owner = foreignOwner(folder);
  if (owner !== undefined) throw new FolderRefused(folder, owner);
  if ((mode & 0o077) !== 0) await chmod(folder, FOLDER_MODE);
};

/**
 * Makes a folder, 0700, and the one above it where that is missing; where it is there, nothing happens.
 * @throws ENOENT where more is missing: what was removed as a whole is not made again.
 */
export const makeFolder = async (folder: string): Promise<void> => {
  try {
    await makeOne(folder);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    await makeOne(dirname(folder));
    await makeOne(folder);
  }
};

const makeOne = async (folder: string): Promise<void> => {
  try {
    await mkdir(folder, { mode: FOLDER_MODE });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
};

/**
 * Reads a small text file; undefined where there is none.
 * @throws where it is larger than `maxBytes` (default 1 MiB), or not UTF-8.
 */
export const readTextFile = async (file: string, maxBytes = 1_048_576): Promise<string | undefined> => {
  const handle = await openIfThere(file);
  if (handle === undefined) return undefined;
  try {
    const { size } = await handle.stat();
    if (size > maxBytes) throw new Error(`${file} has ${size} bytes; at most ${maxBytes} are read`);
    return new TextDecoder('utf-8', { fatal: true }).decode(await handle.readFile());
  } finally {
    await handle.close();
  }
};

const openIfThere = async (file: string): Promise<FileHandle | undefined> => {
  try {
    return await open(file, 'r');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
};
