import { Worker } from 'node:worker_threads';

import type { Clock, Timer } from '../kernel/clock.ts';
import { findBuiltFile } from './built-file.ts';
import {
  WRITER_PROTOCOL,
  type WriterAnswer,
  type WriterReply,
  type WriterRequest,
  type WriterTask,
} from './writer-protocol.ts';

// An idle thread costs 10 MB, starting one 20 ms of another core.
const IDLE_MS = 30_000;
const HEAP = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 128, stackSizeMb: 1 };

interface Waiting {
  readonly resolve: (answer: WriterAnswer) => void;
  readonly reject: (error: Error) => void;
}

const findWorkerFile = (): string => {
  const file = findBuiltFile('store/worker.js');
  if (file === undefined) throw new Error('store/worker.js is missing beside the program: install loopsy again');
  return file;
};

/**
 * The thread that writes for all stores of a node: started by the first write, ended when idle, started anew by the
 * next write, also after a crash. It keeps the process alive only while an answer is due.
 */
export class WriterThread {
  readonly #clock: Clock;
  readonly #file: string | undefined;
  readonly #waiting = new Map<number, Waiting>();
  readonly #stores = new Set<string>();
  #worker: Worker | undefined;
  #idle: Timer | undefined;
  #lastId = 0;

  /** `file`: the worker's script; default: the built one. */
  constructor(clock: Clock, file?: string) {
    this.#clock = clock;
    this.#file = file;
  }

  /** Rejects where the thread ended before it answered: what became of the task is then not known. */
  ask(file: string, task: WriterTask): Promise<WriterAnswer> {
    return new Promise((resolve, reject) => {
      this.#idle?.cancel();
      this.#stores.add(file);
      const worker = this.#worker ?? this.#start();
      this.#lastId += 1;
      this.#waiting.set(this.#lastId, { resolve, reject });
      worker.ref();
      const request: WriterRequest = { id: this.#lastId, file, task };
      worker.postMessage(request);
    });
  }

  /** Lets go of `file`; the last one ends the thread. */
  async close(file: string): Promise<void> {
    if (this.#worker !== undefined && this.#stores.has(file)) {
      // A thread that ended has closed its files.
      await this.ask(file, { kind: 'close' }).catch(() => undefined);
    }
    this.#stores.delete(file);
    if (this.#stores.size > 0) return;
    this.#idle?.cancel();
    this.#end();
  }

  #start(): Worker {
    const worker = new Worker(this.#file ?? findWorkerFile(), {
      name: 'store',
      workerData: WRITER_PROTOCOL,
      resourceLimits: HEAP,
    });
    let failure: Error | undefined;
    worker.on('message', (reply: WriterReply) => this.#settle(reply));
    worker.on('error', (error) => (failure = error));
    worker.on('exit', (code) => this.#lose(worker, failure ?? new Error(`it ended with exit code ${code}`)));
    this.#worker = worker;
    return worker;
  }

  #settle({ id, answer }: WriterReply): void {
    this.#waiting.get(id)?.resolve(answer);
    this.#waiting.delete(id);
    if (this.#waiting.size > 0) return;
    this.#worker?.unref();
    this.#idle = this.#clock.after(IDLE_MS, () => this.#end());
  }

  #end(): void {
    const worker = this.#worker;
    this.#worker = undefined;
    const request: WriterRequest = { end: true };
    worker?.postMessage(request);
  }

  #lose(worker: Worker, cause: Error): void {
    // A thread that was told to end owes nothing.
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const error = new Error(`the writer thread ended (${cause.message}): whether this was written is not known`, {
      cause,
    });
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

const threads = new WeakMap<Clock, WriterThread>();

/** The one thread of all stores that share a clock: those of a node. */
export const writerThreadOf = (clock: Clock): WriterThread => {
  const known = threads.get(clock);
  if (known !== undefined) return known;
  const thread = new WriterThread(clock);
  threads.set(clock, thread);
  return thread;
};
