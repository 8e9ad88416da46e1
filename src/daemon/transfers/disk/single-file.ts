import { createHash, type Hash } from 'node:crypto';
import { closeSync, createReadStream, lstatSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

import { LoopsyError } from '../../../protocol/errors.ts';
import { isRecord } from '../../../protocol/record.ts';
import { type Draft, syncDir } from './draft.ts';
import { fileError, fileFault } from './faults.ts';
import type { Sink } from './incoming.ts';
import type { FilePlace, ReadFile, WholeFile, WriteFile } from './messages.ts';
import { openReal } from './opened.ts';
import type { Surroundings } from './surroundings.ts';
import { PIECE_BYTES } from './pieces.ts';
import { Target, type TargetParts } from './target.ts';
import { tooLarge } from './walk.ts';

const NEW_FILE_MODE = 0o644;

/** Reads one file, or a part of it. First what it is, as JSON; then its bytes; at last the sha256 of those that were given. */
export async function* readFile(
  { guard, maxFileSize, fstat, pool }: Surroundings,
  { path, limits, range }: ReadFile,
): AsyncGenerator<Uint8Array<ArrayBuffer>, string> {
  const real = await guard.check(path, limits);
  let fd: number | undefined;
  try {
    if (lstatSync(real).isDirectory()) throw fileError('wrong_type', path, 'is a folder');
    const opened = openReal(real, path);
    fd = opened.fd;
    const { size, mtimeMs, ctimeMs } = opened.stats;
    if (size > maxFileSize) throw tooLarge(path, size, maxFileSize);
    const { from, to } = boundsOf(path, size, range);
    const whole: WholeFile = { size, mtimeMs, from, to };
    yield new TextEncoder().encode(JSON.stringify(whole));
    const hash = createHash('sha256');
    for (let at = from; at < to;) {
      const piece = pool.take(Math.min(PIECE_BYTES, to - at));
      const got = readSync(fd, piece, 0, piece.length, at);
      if (got === 0) throw changed(path);
      at += got;
      const bytes = piece.subarray(0, got);
      hash.update(bytes);
      yield bytes;
    }
    const now = fstat(fd);
    if (now.size !== size || now.ctimeMs !== ctimeMs) throw changed(path);
    return hash.digest('hex');
  } catch (thrown) {
    throw fileFault(thrown, path);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

const changed = (path: string): LoopsyError => fileError('source_changed', path, 'changed while it was read');

const boundsOf = (path: string, size: number, range: ReadFile['range']): { from: number; to: number } => {
  if (range === undefined) return { from: 0, to: size };
  if ('last' in range) return { from: Math.max(0, size - range.last), to: size };
  if (range.from >= size) throw fileError('invalid_request', path, `has no byte ${range.from}: it has ${size} bytes`);
  return { from: range.from, to: Math.min(size, (range.to ?? size) + 1) };
};

/** Takes one file whose size nobody has said. Where its place is said behind its bytes, they lie in the data folder until then. */
export class FileSink implements Sink {
  readonly #parts: TargetParts;
  readonly #write: WriteFile;
  readonly #hash: Hash = createHash('sha256');
  #size = 0;
  #target: Target | undefined;
  #draft: Draft | undefined;
  #spool: { readonly file: string; readonly fd: number } | undefined;

  private constructor(parts: TargetParts, write: WriteFile) {
    this.#parts = parts;
    this.#write = write;
  }

  static async begin(parts: TargetParts, write: WriteFile): Promise<FileSink> {
    const sink = new FileSink(parts, write);
    if (write.place.destPath === undefined) sink.#openSpool();
    else await sink.#openDraft(write.place.destPath);
    return sink;
  }

  #openSpool(): void {
    const { journalDir } = this.#parts.around;
    const file = join(journalDir, `${this.#write.id}.spool`);
    this.#spool = { file, fd: openSync(file, 'wx', 0o600) };
  }

  async #openDraft(dest: string): Promise<void> {
    const { limits, mayWriteRunning } = this.#write;
    const options = {
      dest,
      roots: [{ name: basename(dest), type: 'file' as const }],
      sourcePlatform: this.#parts.around.platform,
      limits,
      mayWriteRunning,
      checksum: false,
      update: false,
      noClobber: false,
      dryRun: false,
      digest: false,
      isExact: true,
    };
    const target = new Target(this.#parts, options);
    const [real = ''] = await target.open();
    await target.refresh();
    const old = lstatSync(real, { throwIfNoEntry: false });
    const mode = old?.isFile() === true ? old.mode & 0o777 : NEW_FILE_MODE;
    const file = [0, '', 0, Date.now(), mode] as const;
    target.announce([file]);
    this.#target = target;
    this.#draft = target.create(file, true);
  }

  take(chunks: readonly Uint8Array[]): void {
    const { maxFileSize } = this.#parts.around;
    for (const chunk of chunks) {
      this.#size += chunk.length;
      this.#hash.update(chunk);
    }
    if (this.#size > maxFileSize) throw tooLarge(this.#write.place.destPath ?? 'the file', this.#size, maxFileSize);
    if (this.#spool === undefined) return this.#draft?.write(chunks);
    const { fd } = this.#spool;
    for (const chunk of chunks) for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at);
  }

  async end(value: unknown): Promise<{ readonly path: string; readonly size: number; readonly checksum: string }> {
    const fields = isRecord(value) ? value : {};
    const checksum = this.#hash.digest('hex');
    try {
      const place = placeIn(this.#write.place, fields);
      if (place.checksum !== undefined && place.checksum !== checksum)
        throw fileError(
          'checksum_mismatch',
          place.destPath,
          `came with the sha256 ${checksum}, and ${place.checksum} was announced`,
        );
      if (this.#spool !== undefined) await this.#fromSpool(place.destPath);
      return { path: await this.#publish(), size: this.#size, checksum };
    } catch (thrown) {
      this.abort();
      throw fileFault(thrown, this.#write.place.destPath ?? '');
    }
  }

  async #fromSpool(dest: string): Promise<void> {
    const { file } = this.#spool ?? { file: '' };
    await this.#openDraft(dest);
    for await (const chunk of createReadStream(file, { highWaterMark: PIECE_BYTES }))
      this.#draft?.write([chunk as Buffer]);
  }

  async #publish(): Promise<string> {
    const draft = this.#draft;
    if (draft === undefined || this.#target === undefined) throw new LoopsyError('transfer_failed');
    draft.finish();
    await draft.sync();
    this.#draft = undefined;
    await this.#target.publish(draft);
    syncDir(dirname(draft.wanted.real));
    this.#close(true);
    return draft.wanted.real;
  }

  abort(): void {
    if (this.#draft !== undefined) this.#target?.discard(this.#draft);
    this.#draft = undefined;
    this.#close(true);
  }

  #close(isDone: boolean): void {
    this.#target?.settled();
    this.#target?.close(isDone);
    this.#target = undefined;
    if (this.#spool === undefined) return;
    closeSync(this.#spool.fd);
    rmSync(this.#spool.file, { force: true });
    this.#spool = undefined;
  }
}

/** @throws {LoopsyError} `invalid_request` where nobody has said where the file goes. */
const placeIn = (
  before: FilePlace,
  fields: Readonly<Record<string, unknown>>,
): { destPath: string; checksum?: string } => {
  const { destPath = fields['destPath'], checksum = fields['checksum'] } = before;
  if (typeof destPath !== 'string' || destPath === '') {
    throw new LoopsyError('invalid_request', {
      message: 'the form does not say where the file goes',
      details: { field: 'destPath' },
    });
  }
  return { destPath, ...(typeof checksum === 'string' ? { checksum } : {}) };
};
