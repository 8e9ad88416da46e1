import { systemClock } from '../../../kernel/clock.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import { PathGuard } from '../../../trust/path-guard.ts';
import { BatchSink } from './batch-sink.ts';
import { FileSink } from './file-sink.ts';
import { markOf } from './destinations.ts';
import { answerWith, Readings, Writings } from './flows.ts';
import { JsonSink, PutSink, type Sink } from './incoming.ts';
import { Journals } from './journal.ts';
import { KeptNames } from './kept-names.ts';
import { listFolder } from './list.ts';
import { Locks } from './locks.ts';
import {
  type DiskCalls,
  type DiskData,
  type DiskRead,
  type DiskRules,
  type DiskWrite,
  type FromDisk,
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

interface OpenTarget {
  readonly target: Target;
  readonly journalKey: string;
  /** What was only looked at stays to be gone on with. */
  readonly dryRun: boolean;
}

/** Everything that is open on this machine's disk for transfers. */
export class Disk {
  readonly #data: DiskData;
  readonly #post: (message: FromDisk) => void;
  readonly #around: Mutable<Surroundings>;
  readonly #locks = new Locks();
  readonly #names = new KeptNames(systemClock);
  readonly #sources = new Map<string, Source>();
  readonly #targets = new Map<string, OpenTarget>();
  readonly #journals: Journals;
  readonly #readings: Readings;
  readonly #writings: Writings;

  constructor(data: DiskData, post: (message: FromDisk) => void) {
    this.#data = data;
    this.#post = post;
    this.#readings = new Readings(post);
    this.#writings = new Writings(post);
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
    this.#journals = new Journals(journalDir, this.#locks);
    this.#journals.sweep(systemClock.now());
  }

  take(message: Exclude<ToDisk, { stop: true }>): void {
    if ('rules' in message) return this.#setRules(message.rules);
    const { id } = message;
    if ('call' in message) return answerWith(this.#post, id, () => this.#call(message.call, message.options));
    if ('read' in message) return void this.#readings.run(id, () => this.#chunksOf(message.read));
    if ('write' in message) return void this.#writings.begin(id, () => this.#sinkOf(message.write));
    if ('bytes' in message) return this.#writings.take(id, message.bytes);
    if ('more' in message) return this.#more(id, message.more, message.used);
    // Of another version: whatever it means, it is no end.
    if (!('end' in message)) return;
    this.#readings.stop(id);
    this.#writings.end(id, message.end, message.value);
  }

  #guardOf({ allowed, denied }: DiskRules): PathGuard {
    const { platform, home, alwaysDenied } = this.#data;
    return new PathGuard({ allowed, denied, alwaysDenied, platform, home }, systemClock);
  }

  #setRules(rules: DiskRules): void {
    this.#around.guard = this.#guardOf(rules);
    this.#around.maxFileSize = rules.maxFileSize;
    this.#writings.recheck();
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
        return listFolder(this.#around, options as Options<'list'>, this.#names);
    }
  }

  async #openSource({ endId, ...options }: Options<'source.open'>): Promise<unknown> {
    const source = new Source(this.#around, options);
    const { roots, failed } = await source.open();
    this.#sources.set(endId, source);
    // The mark of a folder holds over a restart of the system, which may number its disks anew.
    const shown = roots.map(({ name, real, type }) => ({
      name,
      path: real,
      type,
      mark: markOf(real, this.#data.platform),
    }));
    return { roots: shown, failed };
  }

  async #openTarget({ endId, journalKey, ...options }: Options<'target.open'>): Promise<unknown> {
    const journal = this.#journals.open(journalKey, systemClock.now());
    const target = new Target({ around: this.#around, locks: this.#locks, journal }, options);
    try {
      const paths = await target.open();
      this.#targets.set(endId, { target, journalKey, dryRun: options.dryRun });
      return { paths, marks: this.#marksOf(paths) };
    } catch (thrown) {
      await target.close();
      this.#journals.close(journalKey, 'untouched');
      throw thrown;
    }
  }

  /** Which folders lie there, and which they lie in. */
  #marksOf(paths: readonly string[]): Record<string, string> {
    const folders = new Set(paths.flatMap((path) => [path, this.#around.dirname(path)]));
    const marks = Array.from(folders, (path) => [path, markOf(path, this.#data.platform)] as const);
    return Object.fromEntries(marks.filter((marked): marked is readonly [string, string] => marked[1] !== undefined));
  }

  async #close({ endId, rest }: Options<'close'>): Promise<unknown> {
    this.#sources.get(endId)?.close();
    this.#sources.delete(endId);
    const found = this.#targets.get(endId);
    this.#targets.delete(endId);
    if (found === undefined) return {};
    await found.target.close();
    this.#journals.close(found.journalKey, found.dryRun ? 'untouched' : rest);
    return {};
  }

  #chunksOf(read: DiskRead): AsyncGenerator<Uint8Array<ArrayBuffer>, unknown> {
    if ('readFile' in read) return readFile(this.#around, read.readFile);
    const source = this.#sources.get(read.endId);
    if (source === undefined) throw new LoopsyError('transfer_not_found');
    return source.read(read.want);
  }

  #more(id: number, bytes: number, used: ArrayBuffer | undefined): void {
    if (used !== undefined) this.#around.pool.give(used);
    this.#readings.more(id, bytes);
  }

  async #sinkOf(write: DiskWrite): Promise<Sink> {
    if ('writeFile' in write) {
      const { id } = write.writeFile;
      const journal = this.#journals.open(id, systemClock.now());
      const parts = { around: this.#around, locks: this.#locks, journal };
      return FileSink.begin(parts, write.writeFile, () => this.#journals.close(id, 'none'));
    }
    return this.#stepSink(write);
  }

  async #stepSink({ endId, step, file = 0, at = 0, to = 0, turn = 0 }: StepWrite): Promise<Sink> {
    const found = this.#targets.get(endId);
    if (found === undefined) throw new LoopsyError('transfer_not_found');
    const { target } = found;
    if (step === 'put') {
      await target.large.recheck(file);
      return new PutSink(target.large, { file, at, to, turn });
    }
    if (step !== 'batch') return new JsonSink((value) => takeStep(target, { step, file, value }));
    await target.places.judge(target.places.unjudged());
    return new BatchSink(target);
  }
}
