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

/** Of a larger piece the rest leaves when the reader has taken so much: what lies in the socket is a copy. */
const PART_BYTES = 327_680;

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
  #isEnding = false;
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
    if (this.#batchBytes > PART_BYTES) this.#writeParts();
    if (this.#batchBytes > PART_BYTES) return;
    // Copying many small pieces costs less than writing each; a large one with its head is written as it is.
    if (this.#batch.length > 2) this.#response.write(Buffer.concat(this.#batch));
    else for (const bytes of this.#batch) this.#response.write(bytes);
    this.#batch = [];
    this.#batchBytes = 0;
  }

  /** Writes of what is more than a part, as long as the reader takes it. */
  #writeParts(): void {
    let [first] = this.#batch;
    while (first !== undefined && this.#batchBytes > PART_BYTES && !this.#isBlocked) {
      const part = first.subarray(0, PART_BYTES);
      this.#response.write(part);
      this.#batchBytes -= part.length;
      if (part.length === first.length) this.#batch.shift();
      else this.#batch[0] = first.subarray(part.length);
      [first] = this.#batch;
    }
  }

  get #isBlocked(): boolean {
    return this.#response.writableNeedDrain && !this.#isEnding;
  }

  /** Resolves when the reader can take more, or is gone. */
  async drained(): Promise<void> {
    while (!this.#response.destroyed && (this.#response.writableNeedDrain || this.#batchBytes > PART_BYTES))
      await new Promise<void>((resolve) => (this.#resume = resolve));
  }

  /** Writes what waits and leaves the answer alone. */
  stop(): void {
    this.#isEnding = true;
    this.flush();
    this.#ticks.cancel();
    this.#response.off('drain', this.#wake);
    this.#response.off('close', this.#wake);
  }

  readonly #wake = (): void => {
    this.#blockedMs = 0;
    if (this.#batchBytes > PART_BYTES) this.flush();
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
