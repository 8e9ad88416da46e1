import { LoopsyError } from '../../../protocol/errors.ts';
import { BatchReader, failedOf, type BatchTaker, type Failed, type Verdict } from '../format.ts';
import type { Draft } from './draft.ts';
import { fileFault } from './faults.ts';
import type { OpenFolder } from './folders.ts';
import type { Sink } from './incoming.ts';
import type { Target } from './target.ts';
import { isWanted, type WantedFile } from './wanted.ts';

/** What came of a batch. */
export interface Taken {
  readonly done: number;
  readonly bytes: number;
  /** What has come to their places meanwhile, and is left alone. */
  readonly skipped: number;
  readonly skippedBytes: number;
  readonly failed: Failed[];
  readonly checksum?: string;
}

/** What of a batch may wait in memory for the same one before it. */
const MAX_HELD_BYTES = 8 * 1_048_576;
const MAX_FILES = 10_000;

/** Small files that come together: each is written, then all are put on disk, then each gets its name. */
export class BatchSink implements Sink {
  readonly #target: Target;
  readonly #reader: BatchReader;
  #files: readonly WantedFile[] = [];
  #draft: Draft | undefined;
  readonly #complete: Draft[] = [];
  /** All that were begun. */
  readonly #begun: Draft[] = [];
  readonly #failed: Failed[] = [];
  #failure: LoopsyError | undefined;
  #lot: number | undefined;
  /** The same batch, come before, whose end nobody waits for any more. */
  #before: Promise<unknown> | undefined;
  readonly #held: Uint8Array[] = [];
  #heldBytes = 0;
  #ending: Promise<Taken> | undefined;
  #isOver = false;

  constructor(target: Target) {
    this.#target = target;
    const taker: BatchTaker = {
      header: (value) => this.#header(value),
      begin: (index, length) => this.#begin(index, length),
      bytes: (index, bytes) => this.#bytes(index, bytes),
      end: (index, failure) => this.#endFile(index, failure),
    };
    this.#reader = new BatchReader(taker);
  }

  /** Which files it has: the same ones can come again, when their connection broke. */
  key = '';

  /** Resolves when it has ended; undefined while it has not come to its end. */
  get ending(): Promise<unknown> | undefined {
    return this.#ending;
  }

  take(bytes: Uint8Array): void {
    if (this.#isOver) throw new LoopsyError('transfer_not_found', { message: 'this batch is over' });
    if (this.#before === undefined) this.#read(bytes);
    else this.#hold(bytes);
  }

  #hold(chunk: Uint8Array): void {
    this.#heldBytes += chunk.length;
    if (this.#heldBytes > MAX_HELD_BYTES) throw new LoopsyError('target_busy');
    this.#held.push(Uint8Array.from(chunk));
  }

  #read(chunk: Uint8Array): void {
    const rest = this.#reader.read(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
    if (rest !== undefined) this.#hold(rest);
  }

  end(): Promise<Taken> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end(): Promise<Taken> {
    try {
      await this.#target.judge(this.#files);
      if (this.#before !== undefined) await this.#resume(this.#before);
      for (const chunk of this.#held.splice(0)) this.#read(chunk);
      if (!this.#reader.isDone)
        throw new LoopsyError('invalid_request', { message: 'the files of a batch ended before their end' });
      return await this.#publish(await this.#flush());
    } finally {
      this.abort();
    }
  }

  async #resume(before: Promise<unknown>): Promise<void> {
    await before.catch(() => undefined);
    this.#before = undefined;
    this.#lot = this.#target.announce(this.#files);
    this.#reader.resume(this.#files.length);
  }

  /** Gives each its name. Only what is durable has arrived. */
  async #publish(flushed: readonly Draft[]): Promise<Taken> {
    const folders = new Map<OpenFolder, Draft[]>();
    const left: Draft[] = [];
    let checksum: string | undefined;
    try {
      for (const draft of flushed) {
        const { folder, shown } = draft.wanted;
        try {
          const { digest } = draft;
          if (!folders.has(folder)) folders.set(folder.hold(), []);
          const isPublished = await this.#target.writer.publish(draft);
          (isPublished ? folders.get(folder) : left)?.push(draft);
          if (isPublished) checksum = digest;
        } catch (thrown) {
          this.#fail(shown, thrown);
        }
      }
      const arrived = [...folders].flatMap(([folder, drafts]) => this.#sync(folder, drafts));
      const skipped = { skipped: left.length, skippedBytes: bytesOf(left) };
      const answer = { done: arrived.length, bytes: bytesOf(arrived), ...skipped, failed: this.#failed };
      return checksum === undefined ? answer : { ...answer, checksum };
    } finally {
      for (const folder of folders.keys()) folder.release();
    }
  }

  /** @returns those whose names are durable now. */
  #sync(folder: OpenFolder, drafts: readonly Draft[]): readonly Draft[] {
    try {
      if (drafts.length > 0) folder.sync();
      return drafts;
    } catch (thrown) {
      for (const { wanted } of drafts) this.#fail(wanted.shown, thrown);
      return [];
    }
  }

  /** Also called when nothing is left to remove. */
  abort(): void {
    this.#isOver = true;
    const { writer, journal } = this.#target;
    const drafts = this.#draft === undefined ? this.#complete : [...this.#complete, this.#draft];
    this.#draft = undefined;
    for (const draft of drafts.splice(0)) writer.discard(draft);
    this.#complete.length = 0;
    this.#held.length = 0;
    if (this.#lot !== undefined) journal.settleSmall(this.#lot, this.#begun);
    this.#begun.length = 0;
    this.#lot = undefined;
    this.#target.batches.delete(this);
  }

  /** Puts all on disk, several at once where that takes time. @returns those that are. */
  async #flush(): Promise<Draft[]> {
    const flushed: Draft[] = [];
    const waits: Promise<unknown>[] = [];
    for (const draft of this.#complete.splice(0)) {
      const done = (): unknown => flushed.push(draft);
      const failed = (thrown: unknown): void => {
        this.#target.writer.discard(draft);
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

  #fail(shown: string, thrown: unknown): void {
    this.#failed.push(failedOf(shown, fileFault(thrown, shown)));
  }

  #shown(index: number): string {
    const [root = 0, path = ''] = this.#files[index] ?? [];
    return this.#target.places.shown(root, path);
  }

  /** Where the same files came before: what has not come to its end is over, what has is waited for. */
  #header(value: unknown): number | undefined {
    this.#files = wantedFiles(value);
    this.key = JSON.stringify(this.#files);
    for (const batch of this.#target.batches) {
      if (batch.key !== this.key) continue;
      this.#before = batch.ending;
      if (batch.ending === undefined) batch.abort();
    }
    this.#target.batches.add(this);
    if (this.#before !== undefined) return undefined;
    this.#lot = this.#target.announce(this.#files);
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
      this.#draft = this.#target.writer.create(file);
      this.#begun.push(this.#draft);
    } catch (thrown) {
      this.#failure = fileFault(thrown, this.#shown(index));
    }
  }

  #bytes(index: number, bytes: Uint8Array): void {
    if (this.#draft === undefined) return;
    try {
      this.#draft.write(bytes);
    } catch (thrown) {
      this.#failure = fileFault(thrown, this.#shown(index));
      this.#target.writer.discard(this.#draft);
      this.#draft = undefined;
    }
  }

  #endFile(index: number, failure: Verdict | undefined): void {
    const draft = this.#draft;
    this.#draft = undefined;
    try {
      if (failure !== undefined) {
        if (draft !== undefined) this.#target.writer.discard(draft);
        const { error, message, hint = '' } = failure;
        this.#failed.push([this.#shown(index), error, message, hint, 'source']);
        return;
      }
      if (draft === undefined) throw this.#failure ?? new LoopsyError('transfer_failed');
      draft.finish();
      this.#complete.push(draft);
    } catch (thrown) {
      if (draft !== undefined) this.#target.writer.discard(draft);
      this.#fail(this.#shown(index), thrown);
    }
  }
}

const bytesOf = (drafts: readonly Draft[]): number => drafts.reduce((sum, { wanted }) => sum + wanted.size, 0);

/** @throws {LoopsyError} `invalid_request` where it is no list of files. */
const wantedFiles = (value: unknown): readonly WantedFile[] => {
  if (Array.isArray(value) && value.length > 0 && value.length <= MAX_FILES && value.every(isWanted)) return value;
  throw new LoopsyError('invalid_request', { message: 'the header of a batch is no list of files' });
};
