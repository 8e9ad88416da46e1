import { Readable } from 'node:stream';

import { notePassing } from '../../kernel/passing-bytes.ts';
import { LoopsyError } from '../../protocol/errors.ts';

/** What comes slowly waits no longer for more that travels with it, ms. */
const GATHER_MS = 100;
/** Chunks are dead as soon as they are copied: they are collected seldom. */
const COLLECT_BYTES = 16 * 1_048_576;

/** Bytes that somebody hands in: a stream is taken by its events, which costs a fraction. */
export type Body = Readable | AsyncIterable<Uint8Array> | string;

/** Where a body is poured. */
export interface PourInto {
  /** Told of bytes as they come, before they leave in a piece. */
  onBytes(bytes: number): void;
  /** Memory for the next bytes. */
  memory(): Uint8Array<ArrayBuffer>;
  /** Takes a piece, and its memory with it. */
  push(piece: Uint8Array<ArrayBuffer>): void;
  isFull(): boolean;
  isSettled(): boolean;
  onRoom(listener: () => void): void;
  end(): void;
  fail(error: Error): void;
}

/** Small chunks travel together: they are copied into pieces, whose memory is used again. */
class Pieces {
  readonly #out: PourInto;
  #piece: Uint8Array<ArrayBuffer> | undefined;
  #filled = 0;
  #flushedAtMs = performance.now();

  constructor(out: PourInto) {
    this.#out = out;
  }

  /** @returns true where something of it has left. */
  add(chunk: Uint8Array): boolean {
    this.#out.onBytes(chunk.length);
    notePassing(chunk.length, COLLECT_BYTES);
    let hasLeft = false;
    for (let from = 0; from < chunk.length;) {
      const piece = (this.#piece ??= this.#out.memory());
      const room = piece.length - this.#filled;
      const part = from === 0 && chunk.length <= room ? chunk : chunk.subarray(from, from + room);
      piece.set(part, this.#filled);
      this.#filled += part.length;
      from += part.length;
      if (this.#filled < piece.length && performance.now() - this.#flushedAtMs < GATHER_MS) continue;
      this.flush();
      hasLeft = true;
    }
    return hasLeft;
  }

  flush(): void {
    this.#flushedAtMs = performance.now();
    if (this.#piece !== undefined) this.#out.push(this.#piece.subarray(0, this.#filled));
    this.#piece = undefined;
    this.#filled = 0;
  }
}

const pourStream = (body: Readable, out: PourInto): void => {
  const pieces = new Pieces(out);
  out.onRoom(() => {
    if (body.isPaused()) body.resume();
  });
  body.on('data', (chunk: Buffer) => {
    // Who will read no more of it lets it run dry: its sender hears the answer.
    if (!out.isSettled() && pieces.add(chunk) && out.isFull()) body.pause();
  });
  body.once('end', () => {
    pieces.flush();
    out.end();
  });
  let isCut = false;
  const cut = (error?: Error): void => {
    if (body.readableEnded || isCut) return;
    isCut = true;
    // What has come may be gone on with.
    pieces.flush();
    out.fail(error ?? new LoopsyError('request_timeout', { message: 'the bytes ended before their end' }));
  };
  body.once('error', cut);
  body.once('close', () => cut());
  if (body.destroyed && !body.readableEnded) cut();
};

const pourChunks = async (body: AsyncIterable<Uint8Array>, out: PourInto): Promise<void> => {
  const pieces = new Pieces(out);
  try {
    for await (const chunk of body) {
      if (out.isSettled()) return;
      pieces.add(chunk);
      while (out.isFull() && !out.isSettled()) await new Promise<void>((resolve) => out.onRoom(resolve));
      if (out.isSettled()) return;
    }
    pieces.flush();
    out.end();
  } catch (thrown) {
    pieces.flush();
    out.fail(thrown instanceof Error ? thrown : new Error(String(thrown)));
  }
};

const pourText = (body: string, out: PourInto): void => {
  // Not a Buffer: several of these share one memory, which can't be given away.
  const bytes = new TextEncoder().encode(body);
  out.onBytes(bytes.length);
  out.push(bytes);
  out.end();
};

/** Pours a body, no faster than there is room, to its end or to what breaks it. */
export const pour = (body: Body, out: PourInto): void => {
  if (typeof body === 'string') return pourText(body, out);
  if (body instanceof Readable) return pourStream(body, out);
  return void pourChunks(body, out);
};
