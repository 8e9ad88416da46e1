import { dirname } from 'node:path';

import { parseJson } from '../../../kernel/parse-json.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import { BatchReader, shownPath, type BatchTaker, type Failed } from '../format.ts';
import { syncDir, type Draft } from './draft.ts';
import { fileFault } from './faults.ts';
import type { Target, WantedFile } from './target.ts';

/** Takes bytes as they come. */
export interface Sink {
  take(chunks: readonly Uint8Array[]): void;
  /** All have come; `value` is what was known only then. @returns the answer. */
  end(value?: unknown): Promise<unknown>;
  /** They broke off: what is no use is removed. */
  abort(): void;
}

/** What came of a batch. */
interface Taken {
  readonly done: number;
  readonly bytes: number;
  readonly failed: Failed[];
  readonly checksum?: string;
}

/** Small files that come together: each is written, then all are put on disk, then each gets its name. */
export class BatchSink implements Sink {
  readonly #target: Target;
  readonly #nameOf: (root: number) => string;
  readonly #reader: BatchReader;
  #files: readonly WantedFile[] = [];
  #draft: Draft | undefined;
  readonly #complete: Draft[] = [];
  readonly #failed: Failed[] = [];
  #failure: LoopsyError | undefined;
  #announced = false;

  constructor(target: Target, nameOf: (root: number) => string) {
    this.#target = target;
    this.#nameOf = nameOf;
    const taker: BatchTaker = {
      header: (value) => this.#header(value),
      begin: (index, length) => this.#begin(index, length),
      bytes: (index, bytes) => this.#bytes(index, bytes),
      end: (index, failure) => this.#endFile(index, failure),
    };
    this.#reader = new BatchReader(taker);
  }

  take(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) this.#reader.read(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
  }

  async end(): Promise<Taken> {
    if (!this.#reader.isDone) {
      this.abort();
      throw new LoopsyError('invalid_request', { message: 'the files of a batch ended before their end' });
    }
    const flushed = await this.#flush();
    const folders = new Set<string>();
    let [done, bytes] = [0, 0];
    let checksum: string | undefined;
    for (const draft of flushed) {
      try {
        checksum = draft.digest;
        await this.#target.publish(draft);
        folders.add(dirname(draft.wanted.real));
        [done, bytes] = [done + 1, bytes + draft.wanted.size];
      } catch (thrown) {
        this.#fail(draft.wanted.shown, thrown);
      }
    }
    for (const folder of folders) this.#sync(folder);
    this.#settle();
    return { done, bytes, failed: this.#failed, ...(checksum === undefined ? {} : { checksum }) };
  }

  abort(): void {
    if (this.#draft !== undefined) this.#target.discard(this.#draft);
    this.#draft = undefined;
    for (const draft of this.#complete.splice(0)) this.#target.discard(draft);
    this.#settle();
  }

  /** Puts all on disk, several at once where that takes time. @returns those that are. */
  async #flush(): Promise<Draft[]> {
    const flushed: Draft[] = [];
    const waits: Promise<unknown>[] = [];
    for (const draft of this.#complete.splice(0)) {
      const done = (): unknown => flushed.push(draft);
      const failed = (thrown: unknown): void => {
        this.#target.discard(draft);
        this.#fail(draft.wanted.shown, thrown);
      };
      try {
        const syncing = draft.sync();
        if (syncing === undefined) done();
        else waits.push(syncing.then(done, failed));
      } catch (thrown) {
        failed(thrown);
      }
    }
    await Promise.all(waits);
    return flushed;
  }

  #sync(folder: string): void {
    try {
      syncDir(folder);
    } catch (thrown) {
      this.#fail(folder, thrown);
    }
  }

  #settle(): void {
    if (this.#announced) this.#target.settled();
    this.#announced = false;
  }

  #fail(shown: string, thrown: unknown): void {
    const { error, message } = fileFault(thrown, shown);
    this.#failed.push([shown, error, message]);
  }

  #shown(index: number): string {
    const [root = 0, path = ''] = this.#files[index] ?? [];
    return shownPath(this.#nameOf(root), path);
  }

  #header(value: unknown): number {
    this.#files = wantedFiles(value);
    this.#target.announce(this.#files);
    this.#announced = true;
    return this.#files.length;
  }

  #begin(index: number, length: number): void {
    const file = this.#files[index];
    this.#failure = undefined;
    if (file === undefined || (length === 0 && file[2] > 0)) return;
    try {
      if (length !== file[2])
        throw new LoopsyError('invalid_request', {
          message: `${this.#shown(index)} has another size than was announced`,
        });
      this.#draft = this.#target.create(file);
    } catch (thrown) {
      this.#failure = fileFault(thrown, this.#shown(index));
    }
  }

  #bytes(index: number, bytes: Uint8Array): void {
    if (this.#draft === undefined) return;
    try {
      this.#draft.write([bytes]);
    } catch (thrown) {
      this.#failure = fileFault(thrown, this.#shown(index));
      this.#target.discard(this.#draft);
      this.#draft = undefined;
    }
  }

  #endFile(index: number, failure: { readonly error: string; readonly message: string } | undefined): void {
    const draft = this.#draft;
    this.#draft = undefined;
    try {
      if (failure !== undefined) {
        if (draft !== undefined) this.#target.discard(draft);
        this.#failed.push([this.#shown(index), failure.error, failure.message]);
        return;
      }
      if (draft === undefined) throw this.#failure ?? new LoopsyError('transfer_failed');
      draft.finish();
      this.#complete.push(draft);
    } catch (thrown) {
      if (draft !== undefined) this.#target.discard(draft);
      this.#fail(this.#shown(index), thrown);
    }
  }
}

/** A part of a large file, at its place. */
export class PutSink implements Sink {
  readonly #target: Target;
  readonly #file: number;

  constructor(target: Target, file: number, offset: number) {
    this.#target = target;
    this.#file = file;
    target.file(file).seek(offset);
  }

  take(chunks: readonly Uint8Array[]): void {
    try {
      this.#target.file(this.#file).write(chunks);
    } catch (thrown) {
      throw this.#target.fail(this.#file, thrown);
    }
  }

  end(): Promise<{ readonly at: number }> {
    return Promise.resolve({ at: this.#target.file(this.#file).at });
  }

  /** What has come stays: the sender asks how much it is. */
  abort(): void {}
}

/** Collects a small body of JSON, and hands it on at its end. */
export class JsonSink implements Sink {
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  readonly #take: (value: unknown) => Promise<unknown>;

  constructor(take: (value: unknown) => Promise<unknown>) {
    this.#take = take;
  }

  take(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) this.#bytes += chunk.length;
    if (this.#bytes > MAX_JSON_BYTES) throw new LoopsyError('body_too_large');
    this.#chunks.push(...chunks);
  }

  async end(): Promise<unknown> {
    return this.#take(parseJson(Buffer.concat(this.#chunks).toString()));
  }

  abort(): void {
    this.#chunks.length = 0;
  }
}

const MAX_JSON_BYTES = 8 * 1_048_576;

/** @throws {LoopsyError} `invalid_request` where it is no list of files. */
const wantedFiles = (value: unknown): readonly WantedFile[] => {
  if (Array.isArray(value) && value.every(isWanted)) return value;
  throw new LoopsyError('invalid_request', { message: 'the header of a batch is no list of files' });
};

/** True for root, path, size, mtime (ms), mode. */
export const isWanted = (value: unknown): value is WantedFile => {
  if (!Array.isArray(value) || value.length !== 5) return false;
  const [root, path, size, mtimeMs, mode] = value as unknown[];
  return (
    Number.isSafeInteger(root) &&
    typeof path === 'string' &&
    Number.isSafeInteger(size) &&
    Number(size) >= 0 &&
    Number.isFinite(mtimeMs) &&
    Number.isInteger(mode) &&
    Number(mode) >= -1 &&
    Number(mode) <= 0o777
  );
};
