/** What is read at once. */
export const PIECE_BYTES = 1_048_576;
/** What is handed in to be written at once. */
export const WRITE_PIECE_BYTES = 524_288;

/** Memory for pieces of files, used again and again: making a gigabyte of it costs as much as reading one. */
export class PiecePool {
  readonly #pieceBytes: number;
  readonly #maxFree: number;
  readonly #free: ArrayBuffer[] = [];

  /** Keeps at most `maxFree` pieces that nobody uses. */
  constructor(pieceBytes = PIECE_BYTES, maxFree = 6) {
    this.#pieceBytes = pieceBytes;
    this.#maxFree = maxFree;
  }

  /** Memory of its own for `bytes`, at most a piece. What is in it is undefined. */
  take(bytes = this.#pieceBytes): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#free.pop() ?? new ArrayBuffer(this.#pieceBytes), 0, bytes);
  }

  /** It is not used any more. */
  give(memory: ArrayBuffer): void {
    if (memory.byteLength === this.#pieceBytes && this.#free.length < this.#maxFree) this.#free.push(memory);
  }

  clear(): void {
    this.#free.length = 0;
  }
}
