import { closeSync, fchmodSync, fsync, fsyncSync, ftruncateSync, futimesSync, readSync } from 'node:fs';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { CHUNK_BYTES } from '../format.ts';
import { timeText } from './attributes.ts';
import { ChunkWriter } from './chunk-writer.ts';
import { fileError } from './faults.ts';
import type { OpenFolder } from './folders.ts';
import { digestOf, hashChunks } from './hashes.ts';
import { openEarlier } from './leftover.ts';
import { O_CREAT, O_EXCL, O_RDWR } from './open-flags.ts';
import { isAt, openIn, removeFile, type Opened } from './opened.ts';
import { giveName, type Leaves } from './own-name.ts';

/** What a file is to be. */
export interface Wanted {
  /** What errors call it. */
  readonly shown: string;
  /** Where it lies; held while it is written. */
  readonly folder: OpenFolder;
  /** Its own name. */
  readonly name: string;
  /** The name under which it is written. */
  readonly draft: string;
  readonly size: number;
  /** ms since 1970. */
  readonly mtimeMs: number;
  /** POSIX permission bits. */
  readonly mode: number;
  /** True where the source has no such bits, and no old file says them: what begins with `#!` is a program. */
  readonly guessesMode?: boolean;
}

const PROGRAM_BITS = 0o111;
/** A disk that flushes faster than this is memory; how fast it is, the last ones tell, and of a slow one every so many-th. */
const QUICK_FSYNC_MS = 0.2;
const LAST_FSYNCS = 8;
const TRIED_FSYNC = 64;

/** A file that is being written under another name, until it is complete. */
export class Draft {
  readonly wanted: Wanted;
  #fd: number | undefined;
  /** The chunk that is being written, where it is not whole yet. */
  #chunk: ChunkWriter | undefined;
  readonly #hashes: (string | undefined)[] = [];
  /** Chunks that are complete. */
  readonly #whole = new Set<number>();
  readonly #digests: boolean;
  /** Its permission bits. */
  readonly #mode: number;
  /** Where the next bytes go. */
  #at = 0;
  #isLeft = true;

  private constructor(wanted: Wanted, { fd, stats }: Opened, digests: boolean) {
    this.wanted = wanted;
    this.#fd = fd;
    this.#digests = digests;
    this.#mode = stats.mode & 0o777;
    wanted.folder.hold();
  }

  /** A new one; a leftover of the same name is an earlier transfer's, which the lock has shown to be over. */
  static create(wanted: Wanted, digests: boolean): Draft {
    const { folder, draft: name, shown, mode } = wanted;
    // Its user must be able to write it, whatever it is to be.
    const opening = { name, shown, flags: O_CREAT | O_EXCL | O_RDWR, mode: mode | 0o600 };
    try {
      return new Draft(wanted, openIn(folder, opening), digests);
    } catch (thrown) {
      if (errorCode(thrown) !== 'EEXIST') throw thrown;
    }
    removeFile(folder.path(name));
    return new Draft(wanted, openIn(folder, opening), digests);
  }

  /**
   * One that goes on with what an earlier transfer left, or begins with a copy of the old file, which it may share most
   * of its bytes with. @returns the sha256 of each chunk that is there.
   */
  static async resume(wanted: Wanted, digests: boolean): Promise<{ readonly draft: Draft; readonly hashes: string[] }> {
    wanted.folder.hold();
    try {
      const opened = await openEarlier(wanted);
      if (opened === undefined) return { draft: Draft.create(wanted, digests), hashes: [] };
      const draft = new Draft(wanted, opened, digests);
      return { draft, hashes: await draft.#look(opened) };
    } finally {
      wanted.folder.release();
    }
  }

  async #look({ fd, stats }: Opened): Promise<string[]> {
    const { size, mode } = this.wanted;
    try {
      if (stats.size > size) ftruncateSync(fd, size);
      // Nobody reads the new bytes who may read the old ones alone.
      if (process.platform !== 'win32') fchmodSync(fd, mode | 0o600);
      const hashes = await hashChunks(fd, Math.min(stats.size, size));
      for (const [index, hash] of hashes.entries()) this.#hashes[index] = hash;
      return hashes;
    } catch (thrown) {
      this.close();
      throw thrown;
    }
  }

  /** Where the next bytes go. */
  get at(): number {
    return this.#at;
  }

  /**
   * What comes next goes there: where the last bytes ended, or at the begin of a chunk.
   * @throws {LoopsyError} `invalid_request` where it is neither.
   */
  seek(at: number): void {
    if (at === this.#at) return;
    const { size, shown } = this.wanted;
    if (at % CHUNK_BYTES !== 0 || at >= size)
      throw fileError('invalid_request', shown, `can not be written from byte ${at}`);
    this.#chunk = undefined;
    this.#at = at;
  }

  /** The first byte from `from` on, a chunk's begin, that has not come. */
  missingFrom(from: number): number {
    const { size } = this.wanted;
    let index = Math.floor(from / CHUNK_BYTES);
    while (this.#whole.has(index)) index += 1;
    const begin = Math.min(size, index * CHUNK_BYTES);
    const isWithin = this.#chunk !== undefined && Math.floor(this.#at / CHUNK_BYTES) === index;
    return isWithin ? this.#at : begin;
  }

  /** Writes what comes next. @throws the system's error. */
  write(bytes: Uint8Array): void {
    if (this.#at + bytes.length > this.wanted.size)
      throw fileError('invalid_request', this.wanted.shown, 'has more bytes than were announced');
    for (let from = 0; from < bytes.length;) {
      const chunk = (this.#chunk ??= this.#begin());
      const part = bytes.subarray(from, from + chunk.room);
      this.#write(chunk, part);
      from += part.length;
      if (chunk.isWhole) this.#endChunk(chunk);
      this.#at += part.length;
    }
  }

  #write(chunk: ChunkWriter, bytes: Uint8Array): void {
    try {
      chunk.write(this.#handle, bytes);
    } catch (thrown) {
      // How much of it came is not known: it comes again from its begin.
      this.#chunk = undefined;
      this.#at -= this.#at % CHUNK_BYTES;
      throw thrown;
    }
  }

  #begin(): ChunkWriter {
    const { size } = this.wanted;
    const index = Math.floor(this.#at / CHUNK_BYTES);
    this.#whole.delete(index);
    this.#hashes[index] = undefined;
    const to = Math.min(size, (index + 1) * CHUNK_BYTES);
    return new ChunkWriter({ from: this.#at, to, digests: this.#digests });
  }

  #endChunk(chunk: ChunkWriter): void {
    const index = Math.floor(this.#at / CHUNK_BYTES);
    this.#hashes[index] = chunk.digest();
    this.#whole.add(index);
    this.#chunk = undefined;
  }

  /** These chunks of what was there are right: only of those that were there. */
  keep(ranges: readonly (readonly [from: number, to: number])[]): void {
    for (const [from, to] of ranges)
      for (let index = from; index < Math.min(to, this.#hashes.length); index += 1)
        if (this.#hashes[index] !== undefined) this.#whole.add(index);
  }

  /** sha256 over the sha256 of each chunk, hex; undefined where it was not asked for. */
  get digest(): string | undefined {
    return this.#digests ? digestOf(this.#hashes) : undefined;
  }

  /** @throws {LoopsyError} where bytes are missing. */
  checkComplete(): void {
    const chunks = Math.ceil(this.wanted.size / CHUNK_BYTES);
    if (this.#whole.size >= chunks) return;
    throw fileError('invalid_request', this.wanted.shown, 'is not complete');
  }

  /** Gives it what it is to have beside its bytes. */
  finish(): void {
    const { mode, mtimeMs, guessesMode } = this.wanted;
    const fd = this.#handle;
    if (process.platform !== 'win32') {
      const wanted = guessesMode === true && isScript(fd) ? mode | PROGRAM_BITS : mode;
      if (wanted !== this.#mode) fchmodSync(fd, wanted);
    }
    futimesSync(fd, timeText(mtimeMs), timeText(mtimeMs));
  }

  /** Puts it on disk: at once where that takes no time, else beside others. */
  sync(): Promise<void> | undefined {
    const fd = this.#handle;
    if (Math.max(this.#at, this.#whole.size * CHUNK_BYTES) <= CHUNK_BYTES && isQuick()) {
      const begun = performance.now();
      fsyncSync(fd);
      // However long it took: one hiccup tells little.
      const tookMs = Math.min(performance.now() - begun, 2 * QUICK_FSYNC_MS);
      fsyncMs += (tookMs - fsyncMs) / LAST_FSYNCS;
      return undefined;
    }
    return new Promise((resolve, reject) => fsync(fd, (error) => (error === null ? resolve() : reject(error))));
  }

  /**
   * Gives it its own name, where nothing was exchanged on the way. What had the name is gone then.
   * @returns false where that is left alone: then nothing is left of the draft.
   */
  async publish(leaves: Leaves): Promise<boolean> {
    const { folder, draft, name, shown, mtimeMs } = this.wanted;
    if (!isAt(this.#handle, folder.realOf(draft))) throw liesElsewhere(folder, shown);
    folder.hold();
    try {
      this.close();
      const isGiven = await giveName([folder.path(draft), folder.path(name)], leaves, mtimeMs);
      if (isGiven && !leaves.noClobber) this.#isLeft = false;
      else this.discard();
      return isGiven;
    } finally {
      folder.release();
    }
  }

  close(): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
    this.#chunk = undefined;
    this.wanted.folder.release();
  }

  /** True as long as it lies under its draft's name, open or not: its journal must know of it. */
  get isLeft(): boolean {
    return this.#isLeft;
  }

  /** Removes it: nothing of it is left, but where that can't be done now. */
  discard(): void {
    const { folder, draft } = this.wanted;
    folder.hold();
    try {
      this.close();
      if (!folder.leads) return;
      removeFile(folder.path(draft));
      this.#isLeft = false;
    } catch (thrown) {
      if (errorCode(thrown) === undefined) throw thrown;
    } finally {
      folder.release();
    }
  }

  get #handle(): number {
    if (this.#fd === undefined) throw fileError('transfer_failed', this.wanted.shown, 'is closed already');
    return this.#fd;
  }
}

/** Learned from the disk itself: one that takes its time is given several files at once. */
let fsyncMs = 0;
let fsyncs = 0;

const isQuick = (): boolean => {
  fsyncs += 1;
  return fsyncMs <= QUICK_FSYNC_MS || fsyncs % TRIED_FSYNC === 0;
};

const liesElsewhere = (folder: OpenFolder, shown: string): Error =>
  folder.isThere
    ? fileError('path_denied', shown, [
        'lies elsewhere now: something on the way was exchanged',
        { hint: 'run the same command again, when nobody changes that folder' },
      ])
    : fileError('path_denied', shown, [
        'lies elsewhere now: the folder that it came into was moved away',
        { hint: 'run the same command again: it makes the folder anew where it was, or move that one back first' },
      ]);

const isScript = (fd: number): boolean => {
  const begin = new Uint8Array(2);
  return readSync(fd, begin, 0, 2, 0) === 2 && begin[0] === 0x23 && begin[1] === 0x21;
};
