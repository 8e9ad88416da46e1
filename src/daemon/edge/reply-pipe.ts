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
export const HEARTBEAT_MS = 10_000;

// Twice in each period, so that silence never lasts longer than one.
const TICK_MS = HEARTBEAT_MS / 2;

/** Watches one streaming answer: heartbeats in silence, back-pressure, and an end for readers that take nothing. */
export class ReplyPipe {
  readonly #response: ServerResponse;
  readonly #options: ReplyPipeOptions;
  readonly #ticks: Timer;
  readonly #begin: NodeJS.Immediate;
  #wroteSinceTick = false;
  #blockedMs = 0;
  #resume: (() => void) | undefined;

  constructor(response: ServerResponse, options: ReplyPipeOptions) {
    this.#response = response;
    this.#options = options;
    this.#ticks = options.clock.every(TICK_MS, () => this.#tick());
    // The head goes with the first piece; alone where that is not there at once.
    this.#begin = setImmediate(() => {
      if (!this.#wroteSinceTick) response.flushHeaders();
    });
    response.on('drain', this.#wake);
    response.on('close', this.#wake);
  }

  noteWrite(): void {
    this.#wroteSinceTick = true;
  }

  /** Resolves when the reader has taken what was written, or is gone. */
  async drained(): Promise<void> {
    if (this.#response.destroyed) return;
    await new Promise<void>((resolve) => (this.#resume = resolve));
  }

  stop(): void {
    this.#ticks.cancel();
    clearImmediate(this.#begin);
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
