import { systemClock } from '../../../kernel/clock.ts';
import { notePassing } from '../../../kernel/passing-bytes.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import { isRecord } from '../../../protocol/record.ts';
import { PathGuard } from '../../../trust/path-guard.ts';
import type { Entry } from '../format.ts';
import { fileFault } from './faults.ts';
import { BatchSink, isWanted, JsonSink, PutSink, type Sink } from './incoming.ts';
import { Journal, sweepJournals } from './journal.ts';
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
import { FileSink, readFile } from './single-file.ts';
import { Source } from './source.ts';
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
  readonly #targets = new Map<string, { readonly target: Target; readonly names: readonly string[] }>();
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
    sweepJournals(journalDir, systemClock.now());
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

  #call(name: keyof DiskCalls, options: unknown): Promise<unknown> {
    // The main thread's own types say what each name has.
    switch (name) {
      case 'source.open':
        return this.#openSource(options as Options<'source.open'>);
      case 'target.open':
        return this.#openTarget(options as Options<'target.open'>);
      case 'close':
        return Promise.resolve(this.#close(options as Options<'close'>));
      case 'list': {
        const { path, limits } = options as Options<'list'>;
        return listFolder(this.#around, path, limits);
      }
    }
  }

  async #openSource({ endId, ...options }: Options<'source.open'>): Promise<unknown> {
    const source = new Source(this.#around, options);
    const { roots, failed } = await source.open();
    this.#sources.set(endId, source);
    return { roots: roots.map(({ name, real, type }) => ({ name, path: real, type })), failed };
  }

  async #openTarget({ endId, journalKey, ...options }: Options<'target.open'>): Promise<unknown> {
    const journal = new Journal(this.#data.journalDir, journalKey);
    const target = new Target({ around: this.#around, locks: this.#locks, journal }, options);
    const paths = await target.open();
    this.#targets.set(endId, { target, names: options.roots.map(({ name }) => name) });
    return { paths };
  }

  #close({ endId, isDone }: Options<'close'>): unknown {
    this.#sources.get(endId)?.close();
    this.#sources.delete(endId);
    this.#targets.get(endId)?.target.close(isDone);
    this.#targets.delete(endId);
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
      const sink = await this.#sinkOf(write);
      writing.sink = sink;
      for (const chunks of writing.waiting.splice(0)) this.#takeChunks(id, sink, chunks);
      if (writing.end !== undefined) this.#end(id, writing.end, writing.value);
    } catch (thrown) {
      this.#refuse(id, thrown);
    }
  }

  #chunks(id: number, chunks: readonly Uint8Array[]): void {
    const writing = this.#writings.get(id);
    if (writing === undefined) return;
    if (writing.sink === undefined) {
      writing.waiting.push(chunks);
      return;
    }
    try {
      this.#takeChunks(id, writing.sink, chunks);
    } catch (thrown) {
      writing.sink.abort();
      this.#refuse(id, thrown);
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
    if (end === 'abort') sink.abort();
    else this.#answer(id, () => sink.end(value));
  }

  #refuse(id: number, thrown: unknown): void {
    this.#writings.delete(id);
    this.#fail(id, thrown);
  }

  async #sinkOf(write: DiskWrite): Promise<Sink> {
    if ('writeFile' in write) {
      const { writeFile } = write;
      const journal = new Journal(this.#data.journalDir, writeFile.id);
      return FileSink.begin({ around: this.#around, locks: this.#locks, journal }, writeFile);
    }
    return this.#stepSink(write);
  }

  async #stepSink({ endId, step, file = 0, offset = 0 }: StepWrite): Promise<Sink> {
    const found = this.#targets.get(endId);
    if (found === undefined) throw new LoopsyError('transfer_not_found');
    const { target, names } = found;
    if (step === 'put') return new PutSink(target, file, offset);
    if (step !== 'batch') return new JsonSink((value) => this.#step(target, { step, file, value }));
    await target.refresh();
    return new BatchSink(target, (root) => names[root] ?? '');
  }

  async #step(
    target: Target,
    { step, file, value }: Pick<StepWrite, 'step'> & { file: number; value: unknown },
  ): Promise<unknown> {
    const fields = isRecord(value) ? value : {};
    switch (step) {
      case 'plan':
        return target.plan(listIn(fields, 'entries', isEntry));
      case 'prepare':
        if (!isWanted(fields['file'])) throw malformed();
        return target.prepare(fields['file']);
      case 'commit':
        return target.commit(file, listIn(fields, 'keep', isRange));
      case 'drop':
        target.drop(file);
        return {};
      case 'finish':
        return target.finish(listIn(fields, 'entries', isEntry));
      case 'extra':
        return target.extra(Number(fields['root']), String(fields['folder'] ?? ''));
      case 'remove':
        return target.remove(Number(fields['root']), listIn(fields, 'paths', isText));
      default:
        throw malformed();
    }
  }
}

const asFault = (thrown: unknown): LoopsyError => (thrown instanceof LoopsyError ? thrown : fileFault(thrown, ''));

const malformed = (): LoopsyError =>
  new LoopsyError('invalid_request', { message: 'this step of a transfer has another form than it must have' });

const listIn = <Item>(
  fields: Readonly<Record<string, unknown>>,
  name: string,
  is: (value: unknown) => value is Item,
): readonly Item[] => {
  const list = fields[name];
  if (Array.isArray(list) && list.every(is)) return list;
  throw malformed();
};

const isText = (value: unknown): value is string => typeof value === 'string';

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

const isRange = (value: unknown): value is readonly [number, number] =>
  Array.isArray(value) && value.length === 2 && isCount(value[0]) && isCount(value[1]) && value[1] < 10_000_000;

const isEntry = (value: unknown): value is Entry => {
  if (!Array.isArray(value)) return false;
  const [kind, root, path, size, mtimeMs, mode, link] = value as unknown[];
  return (
    isCount(kind) &&
    isCount(root) &&
    isText(path) &&
    isCount(size) &&
    Number.isFinite(mtimeMs) &&
    Number.isInteger(mode) &&
    Number(mode) >= -1 &&
    Number(mode) <= 0o777 &&
    (link === undefined || isText(link))
  );
};
