import { Worker } from 'node:worker_threads';

import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { errorFromBody, LoopsyError } from '../../protocol/errors.ts';
import { findBuiltFile } from '../../store/built-file.ts';
import { pour, type Body, type PourInto } from './pour.ts';
import { WriteWindows } from './write-windows.ts';
import { PiecePool, WRITE_PIECE_BYTES } from './disk/pieces.ts';
import type { DiskCalls, DiskData, DiskRead, DiskRules, DiskWrite, FromDisk, ToDisk } from './disk/messages.ts';

// A thread that does nothing costs 10 MB.
const IDLE_MS = 30_000;
const HEAP = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 256, stackSizeMb: 1 };
/** Memory for what is to be written that waits to be used again. */
const FREE_PIECES = 32;

/** What a write may have beside its bytes. */
interface WriteOptions {
  readonly onBytes?: (bytes: number) => void;
  readonly atEnd?: () => Promise<unknown>;
}

/** What waits for a message of the thread. */
interface Waiting {
  take(message: FromDisk): void;
  lose(error: LoopsyError): void;
}

const findEntry = (): string => {
  const file = findBuiltFile('disk/main.js');
  if (file === undefined) throw new Error('disk/main.js is missing beside the program: install loopsy again');
  return file;
};

/** The thread that does all work with users' files: started when it is wanted, ended when nothing is open. */
export class DiskThread {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #data: () => DiskData;
  readonly #waiting = new Map<number, Waiting>();
  readonly #windows = new WriteWindows();
  readonly #pool = new PiecePool(WRITE_PIECE_BYTES, FREE_PIECES);
  #worker: Worker | undefined;
  #idle: Timer | undefined;
  #lastId = 0;
  #holds = 0;
  /** Told when the thread has ended by itself: what was open there is gone. */
  onLost: () => void = () => undefined;

  constructor(parts: { clock: Clock; log: Log; data: () => DiskData }) {
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#data = parts.data;
  }

  /** Config `transfer.maxFileSize`, bytes. */
  get maxFileSize(): number {
    return this.#data().rules.maxFileSize;
  }

  /** Keeps the thread, because something is open in it. @returns lets go of it. */
  hold(): () => void {
    this.#holds += 1;
    let isHeld = true;
    return () => {
      if (isHeld) this.#holds -= 1;
      isHeld = false;
      this.#rest();
    };
  }

  /** The config has changed. */
  setRules(rules: DiskRules): void {
    if (this.#worker !== undefined) this.#post({ rules });
  }

  /** Has what sudden ends have left removed: the thread does so when it starts. */
  tidy(): void {
    this.#post({ rules: this.#data().rules });
    this.#rest();
  }

  /** Asks for something. @throws {LoopsyError} what the thread answers. */
  call<Name extends keyof DiskCalls>(call: Name, options: DiskCalls[Name][0]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = this.#begin({
        take: (message) => this.#settle(id, message, { resolve, reject }),
        lose: reject,
      });
      this.#post({ id, call, options });
    });
  }

  /** Reads bytes; each chunk has memory of its own. Leaving the loop ends the read. */
  async *read(read: DiskRead): AsyncGenerator<Uint8Array, unknown> {
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    let isOver = false;
    let failure: { readonly error: LoopsyError } | undefined;
    let answer: unknown;
    let wake = (): void => undefined;
    const end = (error?: LoopsyError): void => {
      isOver = true;
      if (error !== undefined) failure = { error };
      wake();
    };
    const id = this.#begin({
      take: (message) => {
        if ('chunk' in message) {
          chunks.push(message.chunk);
          return wake();
        }
        this.#forget(id);
        if ('answer' in message) answer = message.answer;
        return end('error' in message ? (errorFromBody(message.error) ?? new LoopsyError('internal')) : undefined);
      },
      lose: end,
    });
    this.#post({ id, read });
    try {
      for (;;) {
        const chunk = chunks.shift();
        if (chunk !== undefined) {
          yield chunk;
          this.#post({ id, more: chunk.length, used: chunk.buffer });
          continue;
        }
        if (failure !== undefined) throw failure.error;
        if (isOver) return answer;
        await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      if (!isOver) this.#post({ id, end: 'abort' });
      this.#forget(id);
    }
  }

  /**
   * Hands in bytes, no faster than they are dealt with. `onBytes` counts them; `atEnd` says what is known only then.
   * @throws {LoopsyError} what the thread answers; what the body throws.
   */
  write(write: DiskWrite, body: Body, { onBytes, atEnd }: WriteOptions = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const window = this.#windows.open();
      let settled = false;
      const settle = (how: () => void): void => {
        settled = true;
        window.close();
        how();
      };
      const id = this.#begin({
        take: (message) => {
          if (!('taken' in message)) return settle(() => this.#settle(id, message, { resolve, reject }));
          this.#pool.give(message.used);
          window.take(message.taken);
        },
        lose: (error) => settle(() => reject(error)),
      });
      this.#post({ id, write });
      const out: PourInto = {
        onBytes: (bytes) => onBytes?.(bytes),
        memory: () => this.#pool.take(),
        push: (bytes) => {
          if (settled) return;
          window.add(bytes.length);
          this.#post({ id, bytes });
        },
        isFull: () => window.mustWait(),
        isSettled: () => settled,
        onRoom: (listener) => window.onRoom(listener),
        end: () => {
          if (atEnd === undefined) return settled ? undefined : this.#post({ id, end: 'end' });
          return void atEnd().then(
            (value) => settled || this.#post({ id, end: 'end', value }),
            (thrown: unknown) => out.fail(thrown instanceof Error ? thrown : new Error(String(thrown))),
          );
        },
        fail: (error: Error) => {
          if (settled) return;
          this.#post({ id, end: 'abort' });
          this.#forget(id);
          settle(() => reject(error));
        },
      };
      pour(body, out);
    });
  }

  /** Ends it. */
  stop(): void {
    this.#idle?.cancel();
    const worker = this.#worker;
    this.#worker = undefined;
    this.#pool.clear();
    const stop: ToDisk = { stop: true };
    worker?.postMessage(stop);
  }

  #begin(waiting: Waiting): number {
    this.#lastId += 1;
    this.#waiting.set(this.#lastId, waiting);
    return this.#lastId;
  }

  #settle(
    id: number,
    message: FromDisk,
    { resolve, reject }: { resolve: (value: unknown) => void; reject: (error: Error) => void },
  ): void {
    this.#forget(id);
    if ('error' in message) reject(errorFromBody(message.error) ?? new LoopsyError('internal'));
    else if ('answer' in message) resolve(message.answer);
  }

  #forget(id: number): void {
    this.#waiting.delete(id);
    this.#rest();
  }

  /** Nothing is open: after a while it ends. */
  #rest(): void {
    this.#idle?.cancel();
    if (this.#worker === undefined || this.#holds > 0 || this.#waiting.size > 0) return;
    this.#idle = this.#clock.after(IDLE_MS, () => this.stop());
  }

  #post(message: ToDisk): void {
    this.#idle?.cancel();
    this.#worker ??= this.#start();
    this.#worker.postMessage(message, movedWith(message));
  }

  #start(): Worker {
    const worker = new Worker(findEntry(), { name: 'disk', workerData: this.#data(), resourceLimits: HEAP });
    let failure: Error | undefined;
    worker.on('message', (message: FromDisk) => this.#waiting.get(message.id)?.take(message));
    worker.on('error', (error) => (failure = error));
    worker.on('exit', (code) => this.#lose(worker, failure ?? new Error(`it ended with exit code ${code}`)));
    worker.unref();
    return worker;
  }

  #lose(worker: Worker, cause: Error): void {
    // One that was told to end owes nothing.
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    this.#log.error('the disk thread ended', { error: cause.message });
    const error = new LoopsyError('transfer_failed', {
      message: `the thread that reads and writes files ended: ${cause.message}`,
      cause,
    });
    for (const waiting of [...this.#waiting.values()]) waiting.lose(error);
    this.#waiting.clear();
    this.onLost();
  }
}

/** The memory that a message takes with it. */
const movedWith = (message: ToDisk): ArrayBuffer[] => {
  if ('bytes' in message) return [message.bytes.buffer];
  return 'more' in message && message.used !== undefined ? [message.used] : [];
};
