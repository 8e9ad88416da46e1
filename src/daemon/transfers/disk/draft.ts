import { createHash, type Hash } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fsync,
  fsyncSync,
  ftruncateSync,
  futimesSync,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  writevSync,
} from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { CHUNK_BYTES } from '../format.ts';
import { fileError, fileFault } from './faults.ts';
import { isAt, openReal } from './opened.ts';
import { hashChunks } from './source.ts';

const { O_CREAT, O_EXCL, O_RDWR, O_WRONLY } = constants;

/** What a file is to be. */
export interface Wanted {
  /** What errors call it. */
  readonly shown: string;
  /** Real path under which it is written. */
  readonly draft: string;
  /** Its own real path. */
  readonly real: string;
  readonly size: number;
  /** ms since 1970. */
  readonly mtimeMs: number;
  /** POSIX permission bits. */
  readonly mode: number;
  /** True where the source has no such bits: what begins with `#!` gets those of a program. */
  readonly guessesMode?: boolean;
}

/** Bits that a new file would not get of those it was asked for. */
let umask: number | undefined;
const umaskNow = (): number => (umask ??= process.umask());

/** Windows holds files for a moment after they were written. */
const RENAME_WAITS_MS = process.platform === 'win32' ? [10, 20, 40, 80, 160, 320] : [];
const BUSY = new Set(['EPERM', 'EBUSY', 'EACCES']);
/** A disk that flushes faster than this is memory. */
const QUICK_FSYNC_MS = 0.2;

/** A file that is being written under another name, until it is complete. */
export class Draft {
  readonly wanted: Wanted;
  #fd: number | undefined;
  /** What comes next. */
  #at = 0;
  #hash: Hash | undefined;
  readonly #hashes: (string | undefined)[] = [];
  /** Chunks that are complete. */
  readonly #whole = new Set<number>();
  #chunkBegin = 0;
  readonly #digests: boolean;
  /** Its permission bits. */
  readonly #mode: number;
  #isScript = false;

  private constructor(wanted: Wanted, fd: number, { digests, mode }: { digests: boolean; mode: number }) {
    this.wanted = wanted;
    this.#fd = fd;
    this.#digests = digests;
    this.#mode = mode;
  }

  /** A new one; a leftover of the same name is an earlier transfer's, which the lock has shown to be over. */
  static create(wanted: Wanted, digests: boolean): Draft {
    const flags = O_CREAT | O_EXCL | O_WRONLY;
    // Its user must be able to write it, whatever it is to be.
    const asked = wanted.mode | 0o200;
    const open = (): Draft =>
      new Draft(wanted, openReal(wanted.draft, wanted.shown, flags, asked).fd, { digests, mode: asked & ~umaskNow() });
    try {
      return open();
    } catch (thrown) {
      if (errorCode(thrown) !== 'EEXIST') throw thrown;
    }
    rmSync(wanted.draft, { force: true });
    return open();
  }

  /**
   * One that goes on with what an earlier transfer left, or begins with a copy of the old file, which it may share most
   * of its bytes with. @returns the sha256 of each chunk that is there.
   */
  static async resume(wanted: Wanted, digests: boolean): Promise<{ readonly draft: Draft; readonly hashes: string[] }> {
    const size = leftoverSize(wanted.draft);
    if (size === undefined) rmSync(wanted.draft, { force: true });
    const begun = (size !== undefined && size > 0) || (await copyOld(wanted));
    if (!begun) return { draft: Draft.create(wanted, digests), hashes: [] };
    const { fd, stats } = openReal(wanted.draft, wanted.shown, O_RDWR);
    const draft = new Draft(wanted, fd, { digests, mode: -1 });
    try {
      if (stats.size > wanted.size) ftruncateSync(fd, wanted.size);
      const hashes = await hashChunks(fd, Math.min(stats.size, wanted.size));
      hashes.forEach((hash, index) => (draft.#hashes[index] = hash));
      return { draft, hashes };
    } catch (thrown) {
      draft.close();
      throw thrown;
    }
  }

  /** The place behind the last byte that was written. */
  get at(): number {
    return this.#at;
  }

  /** Goes to where the next bytes belong: the begin of a chunk, or where they broke off. */
  seek(offset: number): void {
    if (offset === this.#at && offset % CHUNK_BYTES !== 0) return;
    if (offset % CHUNK_BYTES !== 0 || offset >= Math.max(1, this.wanted.size))
      throw fileError('invalid_request', this.wanted.shown, `can not go on at byte ${offset}`);
    this.#at = offset;
    this.#chunkBegin = offset;
    this.#hash = undefined;
  }

  /** Writes bytes where it stands. @throws the system's error. */
  write(chunks: readonly Uint8Array[]): void {
    let left = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    if (this.#at + left > this.wanted.size)
      throw fileError('invalid_request', this.wanted.shown, 'has more bytes than were announced');
    let at = this.#at;
    for (let rest = chunks; left > 0;) {
      // A disk that is nearly full takes a part, without an error.
      const taken = writevSync(this.#handle, rest, at);
      if (taken === 0) throw Object.assign(new Error('the disk takes no more'), { code: 'ENOSPC' });
      at += taken;
      left -= taken;
      if (left > 0) rest = behind(rest, taken);
    }
    for (const chunk of chunks) this.#note(chunk);
  }

  /** Counts bytes that were written, and hashes them, chunk by chunk. */
  #note(chunk: Uint8Array): void {
    if (this.#at === 0 && this.wanted.guessesMode === true) this.#isScript = chunk[0] === 0x23 && chunk[1] === 0x21;
    for (let from = 0; from < chunk.length;) {
      const index = Math.floor(this.#at / CHUNK_BYTES);
      const end = Math.min(this.wanted.size, (index + 1) * CHUNK_BYTES);
      const part = chunk.subarray(from, from + end - this.#at);
      if (this.#digests) (this.#hash ??= createHash('sha256')).update(part);
      this.#at += part.length;
      from += part.length;
      if (this.#at === end) this.#endChunk(index);
    }
  }

  #endChunk(index: number): void {
    if (this.#chunkBegin <= index * CHUNK_BYTES) this.#whole.add(index);
    this.#hashes[index] = this.#hash?.digest('hex');
    this.#hash = undefined;
    this.#chunkBegin = this.#at;
  }

  /** These chunks of what was there are right. */
  keep(ranges: readonly (readonly [from: number, to: number])[]): void {
    for (const [from, to] of ranges) for (let index = from; index < to; index += 1) this.#whole.add(index);
  }

  /** sha256 over the sha256 of each chunk, hex; undefined where it was not asked for. */
  get digest(): string | undefined {
    if (!this.#digests) return undefined;
    const hash = createHash('sha256');
    for (const chunk of this.#hashes) hash.update(Buffer.from(chunk ?? '', 'hex'));
    return hash.digest('hex');
  }

  /** @throws {LoopsyError} where bytes are missing. */
  checkComplete(): void {
    const chunks = Math.ceil(this.wanted.size / CHUNK_BYTES);
    if (this.#whole.size >= chunks) return;
    throw fileError('invalid_request', this.wanted.shown, 'is not complete');
  }

  /** Gives it what it is to have beside its bytes. */
  finish(): void {
    const mode = this.#isScript ? this.wanted.mode | 0o111 : this.wanted.mode;
    if (process.platform !== 'win32' && this.#mode !== mode) fchmodSync(this.#handle, mode);
    futimesSync(this.#handle, this.wanted.mtimeMs / 1000, this.wanted.mtimeMs / 1000);
  }

  /** Puts it on disk: at once where that takes no time, else beside others. */
  sync(): Promise<void> | undefined {
    const fd = this.#handle;
    if (!isSlow && this.#at <= CHUNK_BYTES) {
      const begun = performance.now();
      fsyncSync(fd);
      isSlow = performance.now() - begun > QUICK_FSYNC_MS;
      return undefined;
    }
    return new Promise((resolve, reject) => fsync(fd, (error) => (error === null ? resolve() : reject(error))));
  }

  /** Gives it its own name, where nothing was exchanged on the way. What had the name is gone then. */
  async publish(): Promise<void> {
    const { draft, real, shown } = this.wanted;
    const fd = this.#handle;
    if (!isAt(fd, draft))
      throw fileError('path_denied', shown, 'lies elsewhere now: something on the way was exchanged');
    this.close();
    await renameOver(draft, real);
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Removes it: nothing of it is left. */
  discard(): void {
    this.close();
    rmSync(this.wanted.draft, { force: true });
  }

  get #handle(): number {
    if (this.#fd === undefined) throw fileError('transfer_failed', this.wanted.shown, 'is closed already');
    return this.#fd;
  }
}

/** Learned from the disk itself: one that takes its time is given several files at once. */
let isSlow = false;

const behind = (chunks: readonly Uint8Array[], bytes: number): readonly Uint8Array[] => {
  let left = bytes;
  return chunks.flatMap((chunk) => {
    const cut = Math.min(left, chunk.length);
    left -= cut;
    return cut === chunk.length ? [] : [chunk.subarray(cut)];
  });
};

/** The size of what an earlier transfer left; undefined where that is not a plain file of this user's alone. */
const leftoverSize = (draft: string): number | undefined => {
  const stats = lstatSync(draft, { throwIfNoEntry: false });
  if (stats === undefined) return 0;
  const isOurs = process.getuid === undefined || stats.uid === process.getuid();
  return stats.isFile() && stats.nlink === 1 && isOurs ? stats.size : undefined;
};

/** Begins with the old file's bytes, where there are enough of them to be worth it. */
const copyOld = async ({ real, draft, shown }: Wanted): Promise<boolean> => {
  const old = lstatSync(real, { throwIfNoEntry: false });
  if (old?.isFile() !== true || old.size < CHUNK_BYTES) return false;
  rmSync(draft, { force: true });
  try {
    await copyFile(real, draft, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    return true;
  } catch (thrown) {
    rmSync(draft, { force: true });
    throw fileFault(thrown, shown);
  }
};

const renameOver = async (from: string, to: string): Promise<void> => {
  for (const waitMs of RENAME_WAITS_MS) {
    try {
      return renameSync(from, to);
    } catch (thrown) {
      if (!BUSY.has(errorCode(thrown) ?? '')) throw thrown;
    }
    await setTimeout(waitMs);
  }
  return renameSync(from, to);
};

/** Makes renames in a folder durable. Windows does that by itself. */
export const syncDir = (folder: string): void => {
  if (process.platform === 'win32') return;
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};
