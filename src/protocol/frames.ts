/**
 * The binary form of a stream: `type u8, length u32 big-endian, bytes`, one after the other.
 * Output bytes are carried as they are; everything else is UTF-8 JSON. The same form is kept on disk, so that stored
 * output needs no translation. A cursor counts the payload bytes of `stdout` and `stderr` frames from the run's start.
 */
export const FRAME = { stdout: 1, stderr: 2, exit: 3, error: 4, heartbeat: 5, gap: 6, started: 7, event: 8 } as const;

/** Bytes before each payload. */
export const FRAME_HEADER_BYTES = 5;

/** A longer frame is an error of the sender. An event may be longer. */
export const MAX_FRAME_BYTES = 1_048_576;

/** The longest event: a value of 1 MiB, each of its bytes six in JSON, and what stands around it. */
export const MAX_EVENT_BYTES = 6 * MAX_FRAME_BYTES + 65_536;

/** The media type of frames. */
export const FRAMES_TYPE = 'application/vnd.loopsy.frames';

/** True for the two types whose payloads a cursor counts. */
export const isOutput = (type: number): boolean => type === FRAME.stdout || type === FRAME.stderr;

const checkLength = (type: number, length: number): void => {
  const most = type === FRAME.event ? MAX_EVENT_BYTES : MAX_FRAME_BYTES;
  if (length > most) throw new RangeError(`a frame of ${length} bytes is over ${most}`);
};

/** The five bytes that stand before a payload of `length` bytes. @throws {RangeError} where no reader takes so many. */
export const frameHeader = (type: number, length: number): Uint8Array => {
  checkLength(type, length);
  return Uint8Array.of(type, length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255);
};

/** One piece of a stream as it is read: for output any part of a frame's payload, for the rest the whole payload. */
export interface FramePiece {
  readonly type: number;
  readonly bytes: Uint8Array;
}

/**
 * Reads frames from chunks that are cut anywhere. Output is passed on as it comes, without waiting for the frame's
 * end, so nothing is copied; other payloads are collected first.
 * @throws {RangeError} on a frame above `MAX_FRAME_BYTES`, or an event above `MAX_EVENT_BYTES`.
 */
export class FrameReader {
  #header = new Uint8Array(FRAME_HEADER_BYTES);
  #headerFill = 0;
  #type = 0;
  #left = 0;
  #parts: Uint8Array[] = [];

  /** The pieces that `chunk` completes, in order. Pieces share memory with the chunk. */
  *read(chunk: Uint8Array): Generator<FramePiece> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#headerFill < FRAME_HEADER_BYTES) {
        at = this.#readHeader(chunk, at);
        if (this.#headerFill < FRAME_HEADER_BYTES) return;
        if (this.#left === 0) yield this.#finish();
        continue;
      }
      const piece = chunk.subarray(at, Math.min(chunk.length, at + this.#left));
      at += piece.length;
      this.#left -= piece.length;
      const done = this.#take(piece);
      if (done !== undefined) yield done;
    }
  }

  /** True between frames: a stream that ends elsewhere was cut. */
  get atBoundary(): boolean {
    return this.#headerFill === 0;
  }

  #readHeader(chunk: Uint8Array, from: number): number {
    let at = from;
    while (this.#headerFill < FRAME_HEADER_BYTES && at < chunk.length)
      this.#header[this.#headerFill++] = chunk[at++] ?? 0;
    if (this.#headerFill < FRAME_HEADER_BYTES) return at;
    const view = new DataView(this.#header.buffer);
    this.#type = view.getUint8(0);
    this.#left = view.getUint32(1);
    checkLength(this.#type, this.#left);
    return at;
  }

  #take(piece: Uint8Array): FramePiece | undefined {
    if (isOutput(this.#type)) {
      if (this.#left === 0) this.#headerFill = 0;
      return { type: this.#type, bytes: piece };
    }
    // The memory of the chunk may be used again before the rest comes. (Slices of a Buffer are no copies.)
    this.#parts.push(this.#left === 0 ? piece : new Uint8Array(piece));
    return this.#left === 0 ? this.#finish() : undefined;
  }

  #finish(): FramePiece {
    const bytes = joinParts(this.#parts);
    this.#parts = [];
    this.#headerFill = 0;
    return { type: this.#type, bytes };
  }
}

const joinParts = (parts: readonly Uint8Array[]): Uint8Array => {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};
