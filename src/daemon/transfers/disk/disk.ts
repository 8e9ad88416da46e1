import { systemClock } from '../../../kernel/clock.ts';
import { notePassing } from '../../../kernel/passing-bytes.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import { PathGuard } from '../../../trust/path-guard.ts';
import { BatchSink } from './batch-sink.ts';
import { fileFault } from './faults.ts';
import { FileSink } from './file-sink.ts';
import { JsonSink, PutSink, type Sink } from './incoming.ts';
import { Journals } from './journal.ts';
import { listFolder } from './list.ts';
import { Locks } from './locks.ts';
import {
  type DiskCalls,
  type DiskData,
  type DiskRead,
  type DiskRules,
  type DiskWrite,
  type FromDisk,
  READ_WINDOW_BYTES,
  type StepWrite,
  type ToDisk,
} from './messages.ts';
import { PiecePool } from './pieces.ts';
import { readFile } from './single-file.ts';
import { Source } from './source.ts';
import { takeStep } from './steps.ts';
import { pathsOf, type Surroundings } from './surroundings.ts';
import { Target } from './target.ts';

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Options<Name extends keyof DiskCalls> = DiskCalls[Name][0];

/** One read under way. */
interface Reading {
  window: number;
  wake: (() => void) | undefined;
  stopped: boolean;
}

/** One write under way: its chunks are dealt with in their order, also while it is being begun. */
interface Writing {
  sink: Sink | undefined;
  readonly waiting: (readonly Uint8Array[])[];
  end: 'end' | 'abort' | undefined;
  value: unknown;
}

/** Everything that is open on this machine's disk for transfers. */
export class Disk {
  readonly #data: DiskData;
  readonly #post: (message: FromDisk) => void;
  readonly #around: Mutable<Surroundings>;
  readonly #locks = new Locks();
  readonly #sources = new Map<string, Source>();
  readonly #targets = new Map<string, { readonly target: Target; readonly journalKey: string }>();
  readonly #journals: Journals;
  readonly #readings = new Map<number, Reading>();
  readonly #writings = new Map<number, Writing>();

  constructor(data: DiskData, post: (message: FromDisk) => void) {
    this.#data = data;
    this.#post = post;
    const { platform, home, nodeId, journalDir, rules } = data;
    this.#around = {
      ...pathsOf(platform),
      platform,
      home,
      nodeId,
      journalDir,
      pool: new PiecePool(),
      maxFileSize: rules.maxFileSize,
      guard: this.#guardOf(rules),
    };
    this.#journals = new Journals(journalDir);
    this.#journals.sweep(systemClock.now());
  }

  take(message: Exclude<ToDisk, { stop: true }>): void {
    if ('rules' in message) return this.#setRules(message.rules);
    const { id } = message;
    if ('call' in message) return this.#answer(id, () => this.#call(message.call, message.options));
    if ('read' in message) return void this.#read(id, message.read);
    if ('write' in message) return void this.#write(id, message.write);
    if ('chunks' in message) return this.#chunks(id, message.chunks);
    if ('more' in message) return this.#more(id, message.more, message.used);
    return this.#end(id, message.end, message.value);
  }

  #guardOf({ allowed, denied }: DiskRules): PathGuard {
    const { platform, home, alwaysDenied } = this.#data;
    return new PathGuard({ allowed, denied, alwaysDenied, platform, home }, systemClock);
  }

  #setRules(rules: DiskRules): void {
    this.#around.guard = this.#guardOf(rules);
    this.#around.maxFileSize = rules.maxFileSize;
  }

  #answer(id: number, run: () => Promise<unknown>): void {
    run().then(
      (answer) => this.#post({ id, answer }),
      (thrown: unknown) => this.#fail(id, thrown),
    );
  }

  #fail(id: number, thrown: unknown): void {
    this.#post({ id, error: asFault(thrown).toBody() });
  }

  async #call(name: keyof DiskCalls, options: unknown): Promise<unknown> {
    // The main thread's own types say what each name has.
    switch (name) {
      case 'source.open':
        return this.#openSource(options as Options<'source.open'>);
      case 'target.open':
        return this.#openTarget(options as Options<'target.open'>);
      case 'close':
        return this.#close(options as Options<'close'>);
      case 'list':
        return listFolder(this.#around, options as Options<'list'>);
    }
  }

  async #openSource({ endId, ...options }: Options<'source.open'>): Promise<unknown> {
    const source = new Source(this.#around, options);
    const { roots, failed } = await source.open();
    this.#sources.set(endId, source);
    return { roots: roots.map(({ name, real, type }) => ({ name, path: real, type })), failed };
  }

  async #openTarget({ endId, journalKey, ...options }: Options<'target.open'>): Promise<unknown> {
    const journal = this.#journals.open(journalKey, systemClock.now());
    const target = new Target({ around: this.#around, locks: this.#locks, journal }, options);
    try {
      const paths = await target.open();
      this.#targets.set(endId, { target, journalKey });
      return { paths };
    } catch (thrown) {
      await target.close();
      this.#journals.close(journalKey, false);
      throw thrown;
    }
  }

  async #close({ endId, isDone }: Options<'close'>): Promise<unknown> {
    this.#sources.get(endId)?.close();
    this.#sources.delete(endId);
    const found = this.#targets.get(endId);
    this.#targets.delete(endId);
    if (found === undefined) return {};
    await found.target.close();
    this.#journals.close(found.journalKey, isDone);
    return {};
  }

  // ── bytes out ─────────────────────────────────────────────────────────────────────────────────────────────────────

  async #read(id: number, read: DiskRead): Promise<void> {
    const reading: Reading = { window: READ_WINDOW_BYTES, wake: undefined, stopped: false };
    this.#readings.set(id, reading);
    try {
      const chunks = this.#chunksOf(read);
      for (let next = await chunks.next(); ; next = await chunks.next()) {
        if (next.done === true) return this.#post({ id, answer: next.value });
        while (reading.window <= 0 && !reading.stopped) await new Promise<void>((resolve) => (reading.wake = resolve));
        if (reading.stopped) {
          await chunks.return(undefined);
          return;
        }
        reading.window -= next.value.length;
        this.#post({ id, chunk: next.value });
      }
    } catch (thrown) {
      this.#fail(id, thrown);
    } finally {
      this.#readings.delete(id);
    }
  }

  #chunksOf(read: DiskRead): AsyncGenerator<Uint8Array<ArrayBuffer>, unknown> {
    if ('readFile' in read) return readFile(this.#around, read.readFile);
    const source = this.#sources.get(read.endId);
    if (source === undefined) throw new LoopsyError('transfer_not_found');
    return source.read(read.want);
  }

  #more(id: number, bytes: number, used: ArrayBuffer | undefined): void {
    if (used !== undefined) this.#around.pool.give(used);
    const reading = this.#readings.get(id);
    if (reading === undefined) return;
    reading.window += bytes;
    reading.wake?.();
  }

  // ── bytes in ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async #write(id: number, write: DiskWrite): Promise<void> {
    const writing: Writing = { sink: undefined, waiting: [], end: undefined, value: undefined };
    this.#writings.set(id, writing);
    try {
      writing.sink = await this.#sinkOf(write);
    } catch (thrown) {
      return this.#refuse(id, thrown);
    }
    for (const chunks of writing.waiting.splice(0)) this.#chunks(id, chunks);
    if (writing.end !== undefined) this.#end(id, writing.end, writing.value);
  }

  #chunks(id: number, chunks: readonly Uint8Array[]): void {
    const writing = this.#writings.get(id);
    if (writing === undefined) return;
    if (writing.sink === undefined) {
      writing.waiting.push(chunks);
      return;
    }
    const { sink } = writing;
    try {
      this.#takeChunks(id, sink, chunks);
    } catch (thrown) {
      this.#refuse(id, thrown);
      this.#abort(sink);
    }
  }

  /** What can't be removed now is in a journal: nobody is told. */
  #abort(sink: Sink): void {
    try {
      sink.abort();
    } catch (thrown) {
      if (!(thrown instanceof Error)) throw thrown;
    }
  }

  #takeChunks(id: number, sink: Sink, chunks: readonly Uint8Array[]): void {
    sink.take(chunks);
    const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
    this.#post({ id, taken: bytes });
    notePassing(bytes);
  }

  #end(id: number, end: 'end' | 'abort', value: unknown): void {
    const reading = this.#readings.get(id);
    if (reading !== undefined) {
      reading.stopped = true;
      reading.wake?.();
    }
    const writing = this.#writings.get(id);
    if (writing === undefined) return;
    if (writing.sink === undefined) {
      writing.end = end;
      writing.value = value;
      return;
    }
    const { sink } = writing;
    this.#writings.delete(id);
    if (end === 'abort') this.#abort(sink);
    else this.#answer(id, () => sink.end(value));
  }

  #refuse(id: number, thrown: unknown): void {
    this.#writings.delete(id);
    this.#fail(id, thrown);
  }

  async #sinkOf(write: DiskWrite): Promise<Sink> {
    if ('writeFile' in write) {
      const { id } = write.writeFile;
      const journal = this.#journals.open(id, systemClock.now());
      const parts = { around: this.#around, locks: this.#locks, journal };
      return FileSink.begin(parts, write.writeFile, () => this.#journals.close(id, true));
    }
    return this.#stepSink(write);
  }

  async #stepSink({ endId, step, file = 0, chunk = 0 }: StepWrite): Promise<Sink> {
    const found = this.#targets.get(endId);
    if (found === undefined) throw new LoopsyError('transfer_not_found');
    const { target } = found;
    if (step === 'put') return new PutSink(target.large, { file, chunk });
    if (step !== 'batch') return new JsonSink((value) => takeStep(target, { step, file, value }));
    await target.places.judge(target.places.roots.keys());
    return new BatchSink(target);
  }
}

const asFault = (thrown: unknown): LoopsyError => (thrown instanceof LoopsyError ? thrown : fileFault(thrown, ''));
