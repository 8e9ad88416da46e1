import { LoopsyError } from '../../../protocol/errors.ts';
import { fileFault } from './faults.ts';
import type { Sink } from './incoming.ts';
import { READ_WINDOW_BYTES, type FromDisk } from './messages.ts';

type Post = (message: FromDisk) => void;
type Chunks = AsyncGenerator<Uint8Array<ArrayBuffer>, unknown>;

/** Answers with what work comes to, or with why there is none. */
export const answerWith = (post: Post, id: number, work: () => Promise<unknown>): void => {
  work().then(
    (answer) => post({ id, answer }),
    (thrown: unknown) => post(failureOf(id, thrown)),
  );
};

const failureOf = (id: number, thrown: unknown): FromDisk => {
  const fault = thrown instanceof LoopsyError ? thrown : fileFault(thrown, '');
  return { id, error: fault.toBody() };
};

/** One read under way. */
interface Reading {
  window: number;
  wake: (() => void) | undefined;
  stopped: boolean;
}

/** Bytes that are read for the main thread, no faster than it takes them. */
export class Readings {
  readonly #post: Post;
  readonly #open = new Map<number, Reading>();

  constructor(post: Post) {
    this.#post = post;
  }

  /** Reads to the end, or until it is stopped. */
  async run(id: number, open: () => Chunks): Promise<void> {
    const reading: Reading = { window: READ_WINDOW_BYTES, wake: undefined, stopped: false };
    this.#open.set(id, reading);
    try {
      await this.#pour(id, reading, open());
    } catch (thrown) {
      this.#post(failureOf(id, thrown));
    } finally {
      this.#open.delete(id);
    }
  }

  async #pour(id: number, reading: Reading, chunks: Chunks): Promise<void> {
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
  }

  /** So many bytes more may be on their way. */
  more(id: number, bytes: number): void {
    const reading = this.#open.get(id);
    if (reading === undefined) return;
    reading.window += bytes;
    reading.wake?.();
  }

  /** Nobody takes any more. */
  stop(id: number): void {
    const reading = this.#open.get(id);
    if (reading === undefined) return;
    reading.stopped = true;
    reading.wake?.();
  }
}

/** One write under way: its chunks are dealt with in their order, also while it is being begun. */
interface Writing {
  sink: Sink | undefined;
  readonly waiting: Uint8Array<ArrayBuffer>[];
  end: 'end' | 'abort' | undefined;
  value: unknown;
}

/** Bytes that the main thread hands in. */
export class Writings {
  readonly #post: Post;
  readonly #open = new Map<number, Writing>();

  constructor(post: Post) {
    this.#post = post;
  }

  async begin(id: number, open: () => Promise<Sink>): Promise<void> {
    const writing: Writing = { sink: undefined, waiting: [], end: undefined, value: undefined };
    this.#open.set(id, writing);
    try {
      writing.sink = await open();
    } catch (thrown) {
      return this.#refuse(id, thrown);
    }
    for (const bytes of writing.waiting.splice(0)) this.take(id, bytes);
    if (writing.end !== undefined) this.end(id, writing.end, writing.value);
  }

  take(id: number, bytes: Uint8Array<ArrayBuffer>): void {
    const writing = this.#open.get(id);
    if (writing === undefined) return;
    const { sink } = writing;
    if (sink === undefined) {
      writing.waiting.push(bytes);
      return;
    }
    try {
      sink.take(bytes);
      this.#post({ id, taken: bytes.length, used: bytes.buffer });
    } catch (thrown) {
      this.#refuse(id, thrown);
      abort(sink);
    }
  }

  /** All have come, or they broke off. */
  end(id: number, end: 'end' | 'abort', value: unknown): void {
    const writing = this.#open.get(id);
    if (writing === undefined) return;
    const { sink } = writing;
    if (sink === undefined) {
      writing.end = end;
      writing.value = value;
      return;
    }
    this.#open.delete(id);
    if (end === 'abort') abort(sink);
    else answerWith(this.#post, id, () => sink.end(value));
  }

  /** The rules have changed: what may not be written any more ends now, however much of it is to come. */
  recheck(): void {
    for (const [id, { sink }] of this.#open)
      sink?.recheck?.().catch((thrown: unknown) => {
        // It may have ended by itself.
        if (!this.#open.has(id)) return;
        this.#refuse(id, thrown);
        abort(sink);
      });
  }

  #refuse(id: number, thrown: unknown): void {
    this.#open.delete(id);
    this.#post(failureOf(id, thrown));
  }
}

/** What can't be removed now is in a journal: nobody is told. */
const abort = (sink: Sink): void => {
  try {
    sink.abort();
  } catch (thrown) {
    if (!(thrown instanceof Error)) throw thrown;
  }
};
