import { Readable } from 'node:stream';

import { LoopsyError } from '../../protocol/errors.ts';

/** Small chunks travel together. */
const POST_BYTES = 524_288;

/** Bytes that somebody hands in: a stream is taken by its events, which costs a fraction. */
export type Body = Readable | AsyncIterable<Uint8Array> | string;

/** Where a body is poured. */
export interface PourInto {
  push(chunks: readonly Uint8Array[], bytes: number): void;
  isFull(): boolean;
  isSettled(): boolean;
  onRoom(listener: () => void): void;
  end(): void;
  fail(error: Error): void;
}

/** Memory that can be given away: a part of a larger piece is copied. */
const owned = (chunk: Uint8Array): Uint8Array =>
  chunk.byteLength === chunk.buffer.byteLength && chunk.buffer instanceof ArrayBuffer ? chunk : new Uint8Array(chunk);

const pourStream = (body: Readable, out: PourInto): void => {
  let chunks: Uint8Array[] = [];
  let bytes = 0;
  const flush = (): void => {
    if (bytes > 0) out.push(chunks, bytes);
    [chunks, bytes] = [[], 0];
  };
  out.onRoom(() => {
    if (body.isPaused()) body.resume();
  });
  body.on('data', (chunk: Buffer) => {
    chunks.push(owned(chunk));
    bytes += chunk.length;
    if (bytes < POST_BYTES) return;
    flush();
    // Who will read no more of it lets it run dry: its sender hears the answer.
    if (out.isFull() && !out.isSettled()) body.pause();
  });
  body.once('end', () => {
    flush();
    out.end();
  });
  const cut = (error?: Error): void => {
    if (!body.readableEnded)
      out.fail(error ?? new LoopsyError('request_timeout', { message: 'the bytes ended before their end' }));
  };
  body.once('error', cut);
  body.once('close', () => cut());
  if (body.destroyed && !body.readableEnded) cut();
};

const pourChunks = async (body: AsyncIterable<Uint8Array>, out: PourInto): Promise<void> => {
  try {
    for await (const chunk of body) {
      // It is good until the next is asked for.
      const own = new Uint8Array(chunk);
      out.push([own], own.length);
      while (out.isFull() && !out.isSettled()) await new Promise<void>((resolve) => out.onRoom(resolve));
      if (out.isSettled()) return;
    }
    out.end();
  } catch (thrown) {
    out.fail(thrown instanceof Error ? thrown : new Error(String(thrown)));
  }
};

const pourText = (body: string, out: PourInto): void => {
  // Not a Buffer: several of these share one memory, which can't be given away.
  const bytes = new TextEncoder().encode(body);
  out.push([bytes], bytes.length);
  out.end();
};

/** Pours a body, no faster than there is room, to its end or to what breaks it. Each chunk's memory is given away. */
export const pour = (body: Body, out: PourInto): void => {
  if (typeof body === 'string') return pourText(body, out);
  if (body instanceof Readable) return pourStream(body, out);
  return void pourChunks(body, out);
};
