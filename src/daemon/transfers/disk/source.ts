import { closeSync, fstatSync, readSync } from 'node:fs';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import type { SourceWant, Stamp } from '../../../protocol/transfers.ts';
import type { PathLimits } from '../../../trust/path-guard.ts';
import {
  BATCH_BYTES,
  CHUNK_BYTES,
  encodeVerdict,
  ENTRY,
  failedOf,
  shownPath,
  SMALL_BYTES,
  type Failed,
  type Group,
} from '../format.ts';
import { BatchPieces } from './batch-pieces.ts';
import { markOf } from './destinations.ts';
import { fileError, fileFault, tooLarge } from './faults.ts';
import { digestOf, hashChunks } from './hashes.ts';
import { leaveOut } from './left-out.ts';
import { Manifest } from './manifest.ts';
import { findMissing } from './missing.ts';
import { Mirrored } from './mirrored.ts';
import { openReal, type Opened } from './opened.ts';
import { PIECE_BYTES } from './pieces.ts';
import type { Refuse } from './places.ts';
import { findRoots, type SourceRoot } from './sources.ts';
import type { Surroundings } from './surroundings.ts';

/** Large files of which is remembered what they were when they were first read. */
const MAX_SEEN = 256;
/** What one batch may hold: no large file is ever read whole. */
const MAX_BATCH_BYTES = BATCH_BYTES + SMALL_BYTES;

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
  #manifest: Manifest | undefined;
  #mirrored = new Mirrored([]);
  /** By file: which one it was, and when it was changed last. */
  readonly #seen = new Map<string, string>();

  constructor(around: Surroundings, options: SourceOptions) {
    this.#around = around;
    this.#options = options;
  }

  /** @returns what was found, and what was not. @throws {LoopsyError} `invalid_request` for a pattern without a meaning. */
  async open(): Promise<{ readonly roots: readonly SourceRoot[]; readonly failed: readonly Failed[] }> {
    const { guard, platform, home } = this.#around;
    const { paths, limits, exclude, gitignore } = this.#options;
    const found = await findRoots(paths, { guard, limits, platform, home });
    const { roots, failed } = await leaveOut(found, { guard, limits, platform, exclude, gitignore });
    this.#roots = roots;
    this.#mirrored = new Mirrored(roots);
    const onDisk = (...at: [number, string, number]): void => this.#mirrored.onDisk(...at);
    this.#manifest = new Manifest(this.#around, { onDisk }, roots);
    return { roots, failed: failed.map(({ path, error }) => failedOf(path, error)) };
  }

  close(): void {
    this.#manifest?.close();
    this.#manifest = undefined;
  }

  /** What is wanted, as bytes. Each piece has memory of its own. */
  async *read(want: SourceWant): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
    switch (want.kind) {
      case 'group':
        if (this.#manifest === undefined) throw new LoopsyError('transfer_not_found');
        yield json(this.#withDisks(await this.#manifest.group(want.at)));
        return;
      case 'batch':
        return yield* this.#batch(want.files);
      case 'range':
        return yield* this.#range(want.file, want.from, want.to);
      case 'hashes':
        yield json(await this.#hashes(want.file, want.chunks));
        return;
      case 'check':
        closeSync((await this.#open(want.file)).fd);
        this.#seen.delete(keyOf(want.file));
        yield json({});
        return;
      case 'digests':
        yield json({ digests: await this.#digests(want.files) });
        return;
      case 'missing':
        yield json(
          await findMissing(this.#around, this.#options, {
            ...want,
            mirrored: this.#mirrored.folder(want.root, want.folder),
            at: this.#root(want.root),
            shown: this.#shown([want.root, want.folder]),
          }),
        );
        return;
    }
  }

  /** Says of a part of the manifest where other disks begin. */
  #withDisks(group: Group): Group {
    const { join, platform } = this.#around;
    const disks = group.entries.flatMap(([kind, root, path], index): [number, string][] => {
      if (kind !== ENTRY.folder || !this.#mirrored.isDisk(root, path)) return [];
      // What has gone since it was met is another one than before.
      return [[index, markOf(join(this.#root(root).real, path), platform) ?? 'gone']];
    });
    return disks.length === 0 ? group : { ...group, disks };
  }

  // ── bytes ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Small files one behind the other: what can't be read, or has changed, says so behind its bytes. */
  async *#batch(files: readonly Stamp[]): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
    const bytes = files.reduce((sum, [, , size]) => sum + size, 0);
    if (bytes > MAX_BATCH_BYTES)
      throw new LoopsyError('invalid_request', { message: `a batch has at most ${MAX_BATCH_BYTES} bytes` });
    const refuse = await this.#judges(files);
    const out = new BatchPieces(bytes + 5 * files.length);
    for (const file of files) {
      const failure = this.#appendFile(out, file, refuse);
      if (failure === undefined) continue;
      out.drop();
      out.appendLength(0);
      out.append(encodeVerdict(failure));
      out.keep();
    }
    yield* out.take();
  }

  /** Appends a whole file; on a failure what was appended of it is to be dropped. */
  #appendFile(out: BatchPieces, file: Stamp, refuse: Map<number, Refuse>): LoopsyError | undefined {
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

  async *#range(file: Stamp, from: number, to: number): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
    const [, , size] = file;
    if (from > to || to > size)
      throw fileError('invalid_request', this.#shown(file), `has no bytes ${from} to ${to}: it has ${size}`);
    const opened = await this.#openLarge(file);
    let { guard } = this.#around;
    try {
      for (let at = from; at < to;) {
        // What is refused, or of no use any more, is not read to its end.
        if (guard !== this.#around.guard) {
          ({ guard } = this.#around);
          this.#realOf(file, (await this.#judges([file])).get(file[0]));
        }
        this.#compare(file, opened);
        const piece = this.#around.pool.take(Math.min(PIECE_BYTES, to - at));
        const got = readSync(opened.fd, piece, 0, piece.length, at);
        if (got === 0) throw this.#changed(file);
        at += got;
        yield piece.subarray(0, got);
      }
      this.#compare(file, opened);
    } catch (thrown) {
      throw fileFault(thrown, this.#shown(file));
    } finally {
      closeSync(opened.fd);
    }
  }

  /** The sha256 of each of the first chunks. */
  async #hashes(file: Stamp, chunks: number): Promise<{ readonly hashes: readonly string[] }> {
    const opened = await this.#openLarge(file);
    try {
      const hashes = await hashChunks(opened.fd, Math.min(file[2], chunks * CHUNK_BYTES));
      this.#compare(file, opened);
      return { hashes };
    } catch (thrown) {
      throw fileFault(thrown, this.#shown(file));
    } finally {
      closeSync(opened.fd);
    }
  }

  /** What each file is compared by as a whole; null for what can't be read, or has changed. */
  async #digests(files: readonly Stamp[]): Promise<(string | null)[]> {
    const digests: (string | null)[] = [];
    for (const file of files) {
      try {
        digests.push(digestOf((await this.#hashes(file, Number.POSITIVE_INFINITY)).hashes));
      } catch (thrown) {
        // Who sends it is told why.
        if (!(thrown instanceof LoopsyError) && errorCode(thrown) === undefined) throw thrown;
        digests.push(null);
      }
    }
    return digests;
  }

  // ── one file ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async #open(file: Stamp): Promise<Opened> {
    const refuse = await this.#judges([file]);
    const opened = this.#openStamped(file, refuse.get(file[0]));
    const seen = this.#seen.get(keyOf(file));
    if (seen === undefined || seen === versionOf(opened)) return opened;
    closeSync(opened.fd);
    this.#seen.delete(keyOf(file));
    throw this.#changed(file);
  }

  /** Also what is read in several parts is one and the same file in all of them. */
  async #openLarge(file: Stamp): Promise<Opened> {
    const opened = await this.#open(file);
    for (const oldest of this.#seen.keys()) {
      if (this.#seen.size < MAX_SEEN) break;
      this.#seen.delete(oldest);
    }
    this.#seen.set(keyOf(file), versionOf(opened));
    return opened;
  }

  /** The rules of this moment, for the roots that these files are of. */
  async #judges(files: readonly Stamp[]): Promise<Map<number, Refuse>> {
    const { guard } = this.#around;
    const judges = new Map<number, Refuse>();
    for (const index of new Set(files.map(([root]) => root))) {
      const { real } = this.#root(index);
      const refuse = await guard.closedBelow(await guard.recheck(real, this.#options.limits));
      if (refuse !== undefined) judges.set(index, refuse);
    }
    return judges;
  }

  /** @throws {LoopsyError} where it may not be read, or is not what the manifest says. */
  #openStamped(file: Stamp, refuse: Refuse | undefined): Opened {
    const [, , size] = file;
    const shown = this.#shown(file);
    const real = this.#realOf(file, refuse);
    const { maxFileSize } = this.#around;
    if (size > maxFileSize) throw tooLarge(shown, size, maxFileSize);
    const opened = openOrFault(real, shown);
    try {
      this.#compare(file, opened, opened.stats);
      return opened;
    } catch (thrown) {
      closeSync(opened.fd);
      throw thrown;
    }
  }

  /** @throws {LoopsyError} where it may not be read. */
  #realOf([root, path]: Stamp, refuse: Refuse | undefined): string {
    const real = this.#around.join(this.#root(root).real, path);
    const refused = refuse?.(real);
    if (refused !== undefined) throw refused;
    return real;
  }

  /** @throws {LoopsyError} `source_changed` where the open file is not the one of the manifest any more. */
  #compare(file: Stamp, { fd, stats }: Opened, now = fstatSync(fd)): void {
    const isSame = now.size === file[2] && now.mtimeMs === file[3] && now.ctimeMs === stats.ctimeMs;
    if (!isSame) throw this.#changed(file);
  }

  #changed(file: Stamp): LoopsyError {
    return fileError('source_changed', this.#shown(file), 'changed while it was read');
  }

  #root(index: number): SourceRoot {
    const root = this.#roots[index];
    if (root === undefined) throw new LoopsyError('invalid_request', { message: `there is no root ${index}` });
    return root;
  }

  #shown([root, path]: readonly [number, string, ...unknown[]]): string {
    return shownPath(this.#root(root).name, path);
  }
}

const keyOf = ([root, path]: Stamp): string => `${root}/${path}`;

const versionOf = ({ stats }: Opened): string => `${stats.dev} ${stats.ino} ${stats.ctimeMs}`;

const openOrFault = (real: string, shown: string): Opened => {
  try {
    return openReal(real, shown);
  } catch (thrown) {
    throw fileFault(thrown, shown);
  }
};

const json = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));
