import type { ServerResponse } from 'node:http';

import type { Clock, Timer } from '../../kernel/clock.ts';

/** How a pipe is kept alive, and when it is given up. */
export interface ReplyPipeOptions {
  readonly clock: Clock;
  /** What is written after silence. */
  readonly heartbeat: string | Uint8Array;
  /** A reader that takes nothing for so long loses its connection. */
  readonly stallMs: number;
}

/** A reader hears something at least this often, while it reads. */
const HEARTBEAT_MS = 10_000;

// Twice in each period, so that silence never lasts longer than one.
const TICK_MS = HEARTBEAT_MS / 2;

/** What leaves as one chunk: many small ones would cost more than what they carry. */
const BATCH_BYTES = 65_536;

/**
 * One streaming answer: what is written in one turn leaves together; heartbeats in silence, back-pressure, and an end
 * for readers that take nothing.
 */
export class ReplyPipe {
  readonly #response: ServerResponse;
  readonly #options: ReplyPipeOptions;
  readonly #ticks: Timer;
  #batch: Uint8Array[] = [];
  #batchBytes = 0;
  #soon: NodeJS.Immediate | undefined;
  #wroteSinceTick = false;
  #blockedMs = 0;
  #resume: (() => void) | undefined;

  constructor(response: ServerResponse, options: ReplyPipeOptions) {
    this.#response = response;
    this.#options = options;
    this.#ticks = options.clock.every(TICK_MS, () => this.#tick());
    // The head goes with the first piece; alone where that is not there at once.
    this.#soon = setImmediate(() => {
      if (this.#batchBytes === 0) response.flushHeaders();
      this.flush();
    });
    response.on('drain', this.#wake);
    response.on('close', this.#wake);
  }

  /** Takes bytes on their way: they leave with this turn's others, at the latest. */
  write(bytes: Uint8Array): void {
    this.#batch.push(bytes);
    this.#batchBytes += bytes.length;
    if (this.#batchBytes >= BATCH_BYTES) this.flush();
    else this.#soon ??= setImmediate(() => this.flush());
  }

  /** Writes what waits. */
  flush(): void {
    if (this.#soon !== undefined) clearImmediate(this.#soon);
    this.#soon = undefined;
    if (this.#batchBytes === 0 || this.#response.destroyed) return;
    this.#wroteSinceTick = true;
    // Copying many small pieces costs less than writing each; a large one with its head is written as it is.
    if (this.#batch.length > 2) this.#response.write(Buffer.concat(this.#batch));
    else for (const bytes of this.#batch) this.#response.write(bytes);
    this.#batch = [];
    this.#batchBytes = 0;
  }

  /** Resolves when the reader can take more, or is gone. */
  async drained(): Promise<void> {
    if (this.#response.destroyed || !this.#response.writableNeedDrain) return;
    await new Promise<void>((resolve) => (this.#resume = resolve));
  }

  /** Writes what waits and leaves the answer alone. */
  stop(): void {
    this.flush();
    this.#ticks.cancel();
    this.#response.off('drain', this.#wake);
    this.#response.off('close', this.#wake);
  }

  readonly #wake = (): void => {
    this.#blockedMs = 0;
    this.#resume?.();
    this.#resume = undefined;
  };

  #tick(): void {
    if (this.#resume !== undefined) {
      this.#blockedMs += TICK_MS;
      if (this.#blockedMs >= this.#options.stallMs) this.#response.destroy();
      return;
    }
    if (!this.#wroteSinceTick) this.#response.write(this.#options.heartbeat);
    this.#wroteSinceTick = false;
  }
}
