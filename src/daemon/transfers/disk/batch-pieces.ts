import { PIECE_BYTES } from './pieces.ts';

/** The least that is made when more comes than was expected. */
const LEAST_BYTES = 1024;

/** Bytes that are put together in pieces of their own memory; what was appended last can be taken back. */
export class BatchPieces {
  readonly #done: Uint8Array<ArrayBuffer>[] = [];
  #piece: Uint8Array<ArrayBuffer>;
  #fill = 0;
  #kept = 0;
  #keptPieces = 0;
  #left: number;

  constructor(expectedBytes: number) {
    this.#left = expectedBytes;
    this.#piece = this.#make(1);
  }

  #make(least: number): Uint8Array<ArrayBuffer> {
    const bytes = Math.max(least, Math.min(PIECE_BYTES, this.#left));
    this.#left = Math.max(0, this.#left - bytes);
    return new Uint8Array(bytes);
  }

  /** Room for up to `most` bytes, at least one: what is written there counts when it is advanced over. */
  room(most: number): Uint8Array {
    if (this.#fill === this.#piece.length) {
      this.#done.push(this.#piece);
      this.#piece = this.#make(LEAST_BYTES);
      this.#fill = 0;
    }
    return this.#piece.subarray(this.#fill, this.#fill + most);
  }

  advance(bytes: number): void {
    this.#fill += bytes;
  }

  append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const room = this.room(bytes.length - at);
      room.set(bytes.subarray(at, at + room.length));
      this.advance(room.length);
      at += room.length;
    }
  }

  appendLength(length: number): void {
    this.append(Buffer.of(length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255));
  }

  /** What was appended so far stays. */
  keep(): void {
    this.#kept = this.#fill;
    this.#keptPieces = this.#done.length;
  }

  /** Takes back what was appended since. */
  drop(): void {
    if (this.#done.length > this.#keptPieces) {
      this.#piece = this.#done[this.#keptPieces] ?? this.#piece;
      this.#done.length = this.#keptPieces;
    }
    this.#fill = this.#kept;
  }

  *take(): Generator<Uint8Array<ArrayBuffer>> {
    yield* this.#done;
    if (this.#fill > 0) yield this.#fill === this.#piece.length ? this.#piece : this.#piece.slice(0, this.#fill);
  }
}
