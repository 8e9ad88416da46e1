import { closeSync, lstatSync, readSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

import { LoopsyError } from '../../../protocol/errors.ts';
import type { SourceWant, Stamp } from '../../../protocol/transfers.ts';
import type { PathLimits } from '../../../trust/path-guard.ts';
import { CHUNK_BYTES, encodeVerdict, ENTRY, type Entry, type Failed, type Group } from '../format.ts';
import { fileError, fileFault } from './faults.ts';
import { Ignored } from './ignored.ts';
import { openReal, type Opened } from './opened.ts';
import type { Surroundings } from './surroundings.ts';
import { PIECE_BYTES } from './pieces.ts';
import { findRoots, type SourceRoot } from './sources.ts';
import { fileEntry, tooLarge, Walk, type Met } from './walk.ts';

const GROUP_ENTRIES = 1000;
const GROUP_BYTES = 262_144;
/** Groups that can be asked for again. */
const KEPT_GROUPS = 8;

type Refuse = ((real: string) => LoopsyError | undefined) | undefined;

/** What is to be read. */
export interface SourceOptions {
  readonly paths: readonly string[];
  readonly exclude: readonly string[];
  readonly gitignore: boolean;
  readonly limits: PathLimits;
}

/** Files that are read for somebody: their manifest, group by group, and their bytes. */
export class Source {
  readonly #around: Surroundings;
  readonly #options: SourceOptions;
  #roots: readonly SourceRoot[] = [];
  #at = 0;
  #walk: Walk | undefined;
  readonly #groups = new Map<number, Group>();
  #made = 0;
  #ended = false;

  constructor(around: Surroundings, options: SourceOptions) {
    this.#around = around;
    this.#options = options;
  }

  /** @returns what was found, and what was not. */
  async open(): Promise<{ readonly roots: readonly SourceRoot[]; readonly failed: readonly Failed[] }> {
    const { guard, platform, home } = this.#around;
    const { paths, limits } = this.#options;
    const { roots, failed } = await findRoots(paths, { guard, limits, platform, home });
    this.#roots = roots;
    return { roots, failed: failed.map(({ path, error }) => [path, error.error, error.message]) };
  }

  close(): void {
    this.#walk?.close();
    this.#walk = undefined;
  }

  /** What is wanted, as bytes. Each piece has memory of its own. */
  async *read(want: SourceWant): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    switch (want.kind) {
      case 'group':
        return yield json(await this.#group(want.at));
      case 'batch':
        return yield* this.#batch(want.files);
      case 'range':
        return yield* this.#range(want.file, want.from, want.to);
      case 'hashes':
        return yield json(await this.#hashes(want.file, want.chunks));
      case 'check':
        this.#close(await this.#open(want.file));
        return yield json({});
      case 'missing':
        return yield json(this.#missing(want.root, want.folder, want.names));
    }
  }

  // ── the manifest ──────────────────────────────────────────────────────────────────────────────────────────────────

  async #group(at: number): Promise<Group> {
    const kept = this.#groups.get(at);
    if (kept !== undefined) return kept;
    if (at !== this.#made || this.#ended)
      throw new LoopsyError('invalid_request', { message: `there is no group ${at} of this manifest any more` });
    this.#made += 1;
    const group = await this.#makeGroup();
    this.#ended = group.last;
    this.#groups.set(at, group);
    this.#groups.delete(at - KEPT_GROUPS);
    return group;
  }

  async #makeGroup(): Promise<Group> {
    const entries: Entry[] = [];
    const failed: Failed[] = [];
    let [files, bytes, size] = [0, 0, 0];
    while (entries.length + failed.length < GROUP_ENTRIES && size < GROUP_BYTES) {
      const root = this.#roots[this.#at];
      if (root === undefined) return { entries, failed, files, bytes, last: true };
      const met = await this.#next(root);
      if (met === undefined) {
        this.#at += 1;
        continue;
      }
      if (met.entry === undefined) {
        failed.push([shown(root, met.path), met.error.error, met.error.message]);
        size += met.path.length + met.error.message.length;
        continue;
      }
      entries.push(met.entry);
      size += met.entry[2].length + 40;
      if (met.entry[0] === ENTRY.file) [files, bytes] = [files + 1, bytes + met.entry[3]];
    }
    return { entries, failed, files, bytes, last: this.#roots[this.#at] === undefined };
  }

  /** The next thing of a root; undefined when there is no more. */
  async #next(root: SourceRoot): Promise<Met | undefined> {
    const { platform, maxFileSize, guard } = this.#around;
    if (this.#walk === undefined) {
      if (root.type === 'file') {
        this.#at += 1;
        return this.#single(root, this.#at - 1);
      }
      const { exclude, gitignore } = this.#options;
      const ignored = Ignored.of(exclude, gitignore);
      const refuse = await guard.closedBelow(root.real);
      this.#walk = new Walk({ root: this.#at, real: root.real, platform, ignored, refuse, maxFileSize });
    }
    const met = this.#walk.next();
    if (met === undefined) this.#walk = undefined;
    return met;
  }

  #single({ real, name }: SourceRoot, root: number): Met {
    const { platform, maxFileSize } = this.#around;
    try {
      return { entry: fileEntry({ root, platform, maxFileSize }, '', lstatSync(real)) };
    } catch (thrown) {
      return { path: '', error: fileFault(thrown, name) };
    }
  }

  // ── bytes ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Small files one behind the other: what can't be read, or has changed, says so behind its bytes. */
  async *#batch(files: readonly Stamp[]): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const refuse = await this.#judges(files);
    const out = new Pieces(files.reduce((sum, [, , size]) => sum + size + 5, 0));
    for (const file of files) {
      const failure = this.#appendFile(out, file, refuse);
      if (failure === undefined) continue;
      out.drop();
      out.append(Buffer.alloc(4));
      out.append(encodeVerdict(failure));
      out.keep();
    }
    yield* out.take();
  }

  /** Appends a whole file; on a failure what was appended of it is dropped. */
  #appendFile(out: Pieces, file: Stamp, refuse: Map<number, Refuse>): LoopsyError | undefined {
    const [root, , size] = file;
    let opened: Opened | undefined;
    try {
      opened = this.#openStamped(file, refuse.get(root));
      out.appendLength(size);
      let left = size;
      while (left > 0) {
        const got = readSync(opened.fd, out.room(left));
        if (got === 0) throw this.#changed(file);
        out.advance(got);
        left -= got;
      }
      this.#compare(file, opened);
      out.append(Buffer.of(0));
      out.keep();
      return undefined;
    } catch (thrown) {
      return fileFault(thrown, this.#shown(file));
    } finally {
      if (opened !== undefined) closeSync(opened.fd);
    }
  }

  async *#range(file: Stamp, from: number, to: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const opened = await this.#open(file);
    try {
      for (let at = from; at < to;) {
        const piece = this.#around.pool.take(Math.min(PIECE_BYTES, to - at));
        const got = readSync(opened.fd, piece, 0, piece.length, at);
        if (got === 0) throw this.#changed(file);
        at += got;
        yield piece.subarray(0, got);
      }
      this.#compare(file, opened);
    } finally {
      closeSync(opened.fd);
    }
  }

  /** The sha256 of each of the first chunks. */
  async #hashes(file: Stamp, chunks: number): Promise<{ readonly hashes: readonly string[] }> {
    const opened = await this.#open(file);
    try {
      const size = Math.min(file[2], chunks * CHUNK_BYTES);
      const hashes = await hashChunks(opened.fd, size);
      this.#compare(file, opened);
      return { hashes };
    } finally {
      closeSync(opened.fd);
    }
  }

  /** Which of these names in a folder are not there, and are not left out either: what stays behind is nobody's to remove. */
  #missing(
    root: number,
    folder: string,
    names: readonly (readonly [name: string, isFolder: boolean])[],
  ): { readonly missing: readonly number[] } {
    const ignored = this.#ignoredIn(root, folder);
    const isMissing = ([name, isFolder]: readonly [string, boolean]): boolean => {
      const path = folder === '' ? name : `${folder}/${name}`;
      if (ignored?.has(path, isFolder) === true) return false;
      return lstatSync(this.#real(root, path), { throwIfNoEntry: false }) === undefined;
    };
    return { missing: names.flatMap((name, index) => (isMissing(name) ? [index] : [])) };
  }

  #ignoredIn(root: number, folder: string): Ignored | undefined {
    const { exclude, gitignore } = this.#options;
    let ignored = Ignored.of(exclude, gitignore)?.inFolder('', this.#real(root, ''));
    const names = folder === '' ? [] : folder.split('/');
    names.forEach((_, index) => {
      const path = names.slice(0, index + 1).join('/');
      ignored = ignored?.inFolder(path, this.#real(root, path));
    });
    return ignored;
  }

  // ── one file ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async #open(file: Stamp): Promise<Opened> {
    const refuse = await this.#judges([file]);
    return this.#openStamped(file, refuse.get(file[0]));
  }

  #close({ fd }: Opened): void {
    closeSync(fd);
  }

  /** The rules of this moment, for the roots that these files are of. */
  async #judges(files: readonly Stamp[]): Promise<Map<number, Refuse>> {
    const { guard } = this.#around;
    const judges = new Map<number, Refuse>();
    for (const index of new Set(files.map(([root]) => root))) {
      const root = this.#root(index);
      judges.set(index, await guard.closedBelow(await guard.recheck(root.real, this.#options.limits)));
    }
    return judges;
  }

  /** @throws {LoopsyError} where it may not be read, or is not what the manifest says. */
  #openStamped(file: Stamp, refuse: Refuse): Opened {
    const [root, path, size] = file;
    const real = this.#real(root, path);
    const refused = refuse?.(real);
    if (refused !== undefined) throw refused;
    const { maxFileSize } = this.#around;
    if (size > maxFileSize) throw tooLarge(this.#shown(file), size, maxFileSize);
    const opened = openReal(real, this.#shown(file));
    try {
      this.#compare(file, opened, true);
      return opened;
    } catch (thrown) {
      closeSync(opened.fd);
      throw thrown;
    }
  }

  /** @throws {LoopsyError} `source_changed` where the open file is not the one of the manifest any more. */
  #compare(file: Stamp, { fd, stats }: Opened, isFresh = false): void {
    const now = isFresh ? stats : this.#around.fstat(fd);
    if (now.size !== file[2] || now.mtimeMs !== file[3] || now.ctimeMs !== stats.ctimeMs) throw this.#changed(file);
  }

  #changed(file: Stamp): LoopsyError {
    return fileError('source_changed', this.#shown(file), 'changed while it was read');
  }

  #root(index: number): SourceRoot {
    const root = this.#roots[index];
    if (root === undefined) throw new LoopsyError('invalid_request', { message: `there is no root ${index}` });
    return root;
  }

  #real(index: number, path: string): string {
    return this.#around.join(this.#root(index).real, path);
  }

  #shown([root, path]: readonly [number, string, ...unknown[]]): string {
    return shown(this.#root(root), path);
  }
}

const shown = ({ name }: SourceRoot, path: string): string => (path === '' ? name : `${name}/${path}`);

const json = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));

/** The sha256 of each chunk of the first `size` bytes, hex. Gives others a turn between chunks. */
export const hashChunks = async (fd: number, size: number): Promise<string[]> => {
  const piece = new Uint8Array(PIECE_BYTES);
  const hashes: string[] = [];
  for (let from = 0; from < size; from += CHUNK_BYTES) {
    const to = Math.min(size, from + CHUNK_BYTES);
    const hash = createHash('sha256');
    for (let at = from; at < to;) {
      const got = readSync(fd, piece, 0, Math.min(PIECE_BYTES, to - at), at);
      if (got === 0) return hashes;
      hash.update(piece.subarray(0, got));
      at += got;
    }
    hashes.push(hash.digest('hex'));
    await setImmediate();
  }
  return hashes;
};

/** Bytes that are put together in pieces of their own memory; what was appended last can be taken back. */
class Pieces {
  readonly #done: Uint8Array<ArrayBuffer>[] = [];
  #piece: Uint8Array<ArrayBuffer>;
  #fill = 0;
  #kept = 0;
  #keptPieces = 0;
  #left: number;

  constructor(expectedBytes: number) {
    this.#left = expectedBytes;
    this.#piece = this.#make(1);
  }

  #make(least: number): Uint8Array<ArrayBuffer> {
    const bytes = Math.max(least, Math.min(PIECE_BYTES, this.#left));
    this.#left = Math.max(0, this.#left - bytes);
    return new Uint8Array(bytes);
  }

  /** Room for up to `most` bytes, at least one: what is written there counts when it is advanced over. */
  room(most: number): Uint8Array {
    if (this.#fill === this.#piece.length) {
      this.#done.push(this.#piece);
      this.#piece = this.#make(1024);
      this.#fill = 0;
    }
    return this.#piece.subarray(this.#fill, this.#fill + most);
  }

  advance(bytes: number): void {
    this.#fill += bytes;
  }

  append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const room = this.room(bytes.length - at);
      room.set(bytes.subarray(at, at + room.length));
      this.advance(room.length);
      at += room.length;
    }
  }

  appendLength(length: number): void {
    this.append(Buffer.of(length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255));
  }

  /** What was appended so far stays. */
  keep(): void {
    this.#kept = this.#fill;
    this.#keptPieces = this.#done.length;
  }

  /** Takes back what was appended since. */
  drop(): void {
    if (this.#done.length > this.#keptPieces) {
      this.#piece = this.#done[this.#keptPieces] ?? this.#piece;
      this.#done.length = this.#keptPieces;
    }
    this.#fill = this.#kept;
  }

  *take(): Generator<Uint8Array<ArrayBuffer>> {
    yield* this.#done;
    if (this.#fill > 0) yield this.#fill === this.#piece.length ? this.#piece : this.#piece.slice(0, this.#fill);
  }
}
