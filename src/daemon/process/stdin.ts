import type { Readable, Writable } from 'node:stream';

import type { Clock, Timer } from '../../kernel/clock.ts';
import { LoopsyError } from '../../protocol/errors.ts';

/** How long a run waits for someone to write to its stdin. */
const WRITER_LIMIT_MS = 30_000;

/** The stdin of a run whose bytes come later. It is closed at the writer's end, or when no writer comes: never left open. */
export class ProcessStdin {
  readonly #sink: Writable;
  readonly #unclaimed: Timer;
  #claimed = false;

  constructor(sink: Writable, clock: Clock) {
    this.#sink = sink;
    this.#unclaimed = clock.after(WRITER_LIMIT_MS, () => {
      this.#claimed = true;
      sink.end();
    });
  }

  /**
   * Passes all of `source` on, as fast as the process takes it, then closes stdin. A process that stops reading is no
   * error: the rest is not read.
   * @returns the bytes taken. @throws {LoopsyError} conflict, where a writer is or was there; else the source's own fault.
   */
  async write(source: Readable): Promise<number> {
    if (this.#claimed) {
      throw new LoopsyError('conflict', {
        message: 'the stdin of this run has had its writer, or was closed because none came in 30 s',
        hint: 'start the run again; one request carries all of its stdin',
      });
    }
    this.#claimed = true;
    this.#unclaimed.cancel();
    return pump(source, this.#sink);
  }

  /** The run ended. */
  close(): void {
    this.#claimed = true;
    this.#unclaimed.cancel();
    this.#sink.destroy();
  }
}

/** A process may close its stdin at any time: EPIPE and its kin are part of life. */
export const ignoreStdinErrors = (sink: Writable): void => {
  sink.on('error', () => sink.destroy());
};

const pump = (source: Readable, sink: Writable): Promise<number> =>
  new Promise((resolve, reject) => {
    let bytes = 0;
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (!sink.write(chunk)) source.pause();
    };
    const onDrain = (): void => void source.resume();
    const settle = (finish: () => void): void => {
      source.off('data', onData).off('end', onEnd).off('error', onError).off('close', onCut);
      sink.off('drain', onDrain).off('close', onTaken);
      finish();
    };
    const onEnd = (): void => {
      sink.end();
      settle(() => resolve(bytes));
    };
    const onTaken = (): void => {
      settle(() => {
        source.pause();
        resolve(bytes);
      });
    };
    const onError = (error: Error): void => settle(() => reject(error));
    const onCut = (): void => onError(new Error('stdin was cut before its end'));
    if (sink.destroyed) return onTaken();
    if (source.readableEnded) return onEnd();
    if (source.destroyed) return onCut();
    source.on('data', onData).on('end', onEnd).on('error', onError).on('close', onCut);
    sink.on('drain', onDrain).on('close', onTaken);
  });
