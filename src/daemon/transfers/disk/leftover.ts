import { closeSync, constants, fstatSync, lstatSync, readSync, writeSync, type Stats } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { CHUNK_BYTES } from '../format.ts';
import type { Wanted } from './draft.ts';
import { O_CREAT, O_EXCL, O_RDONLY, O_RDWR } from './open-flags.ts';
import { openIn, removeFile, type Opened } from './opened.ts';
import { PIECE_BYTES } from './pieces.ts';

const { COPYFILE_EXCL, COPYFILE_FICLONE } = constants;

/** True for a plain file of this user's alone: no other name leads to it. */
const isOurs = (stats: Stats): boolean =>
  stats.isFile() && stats.nlink === 1 && (process.getuid === undefined || stats.uid === process.getuid());

/**
 * The draft that an earlier transfer left, or a copy of the old file as one; undefined where there is nothing to begin
 * with. What lies under a draft's name and is none is removed. @throws the system's error.
 */
export const openEarlier = async (wanted: Wanted): Promise<Opened | undefined> =>
  openLeftover(wanted) ?? (await openCopy(wanted));

const openLeftover = ({ folder, draft: name, shown }: Wanted): Opened | undefined => {
  const stats = lstatSync(folder.path(name), { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  if (isOurs(stats) && stats.size > 0) {
    const opened = openIn(folder, { name, shown, flags: O_RDWR });
    if (isOurs(opened.stats)) return opened;
    closeSync(opened.fd);
  }
  removeFile(folder.path(name));
  return undefined;
};

/** The old file's bytes, where there are enough of them to be worth it. */
const openCopy = async (wanted: Wanted): Promise<Opened | undefined> => {
  const { folder, name, draft, size } = wanted;
  const stats = lstatSync(folder.path(name), { throwIfNoEntry: false });
  if (stats?.isFile() !== true || stats.size < CHUNK_BYTES) return undefined;
  const old = openOld(wanted);
  if (old === undefined) return undefined;
  try {
    if (old.stats.size > size) return await copyBegin(wanted, old);
    // By the open file, not by its name, where the system can.
    const from = process.platform === 'linux' ? `/proc/self/fd/${old.fd}` : folder.path(name);
    await copyFile(from, folder.path(draft), COPYFILE_EXCL | COPYFILE_FICLONE);
    return openLeftover(wanted);
  } catch (thrown) {
    removeFile(folder.path(draft));
    throw thrown;
  } finally {
    closeSync(old.fd);
  }
};

const openOld = ({ folder, name, shown }: Wanted): Opened | undefined => {
  try {
    return openIn(folder, { name, shown, flags: O_RDONLY });
  } catch (thrown) {
    // What may not be read can be replaced all the same.
    if (errorCode(thrown) === 'EACCES') return undefined;
    throw thrown;
  }
};

/** Of a file that becomes shorter no more is copied than it will have. */
const copyBegin = async ({ folder, draft, shown, size, mode }: Wanted, { fd }: Opened): Promise<Opened> => {
  const copy = openIn(folder, { name: draft, shown, flags: O_CREAT | O_EXCL | O_RDWR, mode: mode | 0o600 });
  try {
    const piece = new Uint8Array(PIECE_BYTES);
    for (let at = 0; at < size;) {
      const got = readSync(fd, piece, 0, Math.min(piece.length, size - at), at);
      if (got === 0) break;
      for (let written = 0; written < got;) written += writeSync(copy.fd, piece, written, got - written, at + written);
      at += got;
      await setImmediate();
    }
    return { fd: copy.fd, stats: fstatSync(copy.fd) };
  } catch (thrown) {
    closeSync(copy.fd);
    throw thrown;
  }
};
