import type { Readable } from 'node:stream';

import { chunksOf, type NextChunk } from '../../kernel/chunks.ts';
import { notePassing } from '../../kernel/passing-bytes.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { FRAME, FrameReader, type FramePiece, isOutput } from '../../protocol/frames.ts';
import { gapSchema } from '../../protocol/jobs.ts';
import type { StreamPiece, StreamSource } from './call.ts';

/** A stream broke off before its end: it goes on from `cursor`. */
export class StreamCut extends Error {
  override readonly name = 'StreamCut';
  /** Behind the last piece that was read. */
  readonly cursor: number;

  constructor(cursor: number, cause?: unknown) {
    super(`the stream was cut at ${cursor}`, cause === undefined ? undefined : { cause });
    this.cursor = cursor;
  }
}

/**
 * Reads a stream of frames as another node sends it. Output is passed on as it comes. Cursors are counted from the one
 * that was asked for; a gap moves them.
 */
export class FrameSource implements StreamSource {
  readonly #body: Readable;
  readonly #chunks: NextChunk;
  readonly #reader = new FrameReader();
  readonly #isRun: boolean;
  #pieces: Iterator<FramePiece> | undefined;
  #cursor: number;
  #ended = false;
  #closed = false;

  /** @param isRun of a run's stream: it ends with its exit, and anywhere else it was cut. */
  constructor(body: Readable, since: number, isRun = true) {
    this.#body = body;
    this.#isRun = isRun;
    this.#chunks = chunksOf(body);
    this.#cursor = since;
  }

  /** Behind the last piece that was read. */
  get cursor(): number {
    return this.#cursor;
  }

  /**
   * @throws {StreamCut} where the stream is cut, and where a run's ends without an exit or an error. @throws {LoopsyError} `peer_version` on
   *   bytes that are no frames.
   */
  async next(): Promise<StreamPiece | undefined> {
    while (!this.#closed && !this.#ended) {
      const piece = this.#nextPiece();
      if (piece !== undefined) return this.#toPiece(piece);
      const chunk = await this.#nextChunk();
      if (chunk === undefined) continue;
      notePassing(chunk.length);
      this.#pieces = this.#reader.read(chunk);
    }
    return undefined;
  }

  close(): void {
    this.#closed = true;
    this.#pieces = undefined;
    this.#body.destroy();
  }

  #nextPiece(): FramePiece | undefined {
    try {
      for (;;) {
        const step = this.#pieces?.next();
        if (step === undefined || step.done === true) return undefined;
        if (step.value.type !== FRAME.heartbeat) return step.value;
      }
    } catch (error) {
      throw unreadable(error);
    }
  }

  /** The next chunk; `undefined` where the source was closed meanwhile. */
  async #nextChunk(): Promise<Uint8Array | undefined> {
    let cause: unknown;
    try {
      const chunk = await this.#chunks();
      if (chunk !== undefined) return chunk;
    } catch (error) {
      cause = error;
    }
    this.#ended = cause === undefined && !this.#isRun && this.#body.readableEnded && this.#reader.atBoundary;
    if (this.#closed || this.#ended) return undefined;
    throw new StreamCut(this.#cursor, cause);
  }

  #toPiece({ type, bytes }: FramePiece): StreamPiece {
    if (isOutput(type)) this.#cursor += bytes.length;
    if (type === FRAME.gap) this.#cursor = gapEnd(bytes, this.#cursor);
    if (type === FRAME.event) this.#cursor = cursorIn(bytes) ?? this.#cursor;
    this.#ended = type === FRAME.exit || type === FRAME.error;
    return { type, bytes, cursor: this.#cursor };
  }
}

/** Events of a stream that can be resumed begin with the cursor behind them. */
const cursorIn = (bytes: Uint8Array): number | undefined => {
  const [, cursor] = /^\{"cursor":(\d{1,16})[,}]/.exec(Buffer.from(bytes.subarray(0, 32)).toString('latin1')) ?? [];
  return cursor === undefined ? undefined : Number(cursor);
};

const gapEnd = (bytes: Uint8Array, cursor: number): number => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    throw unreadable(error);
  }
  const gap = gapSchema.safeParse(parsed);
  if (!gap.success || gap.data.to < cursor) throw unreadable(gap.error);
  return gap.data.to;
};

const unreadable = (cause: unknown): LoopsyError =>
  new LoopsyError('peer_version', { message: 'the peer sent a stream that this version can not read', cause });
