/** What is read at once. */
export const PIECE_BYTES = 1_048_576;
const MAX_FREE = 6;

/** Memory for pieces of files, used again and again: making a gigabyte of it costs as much as reading one. */
export class PiecePool {
  readonly #free: ArrayBuffer[] = [];

  /** Memory of its own for `bytes`, at most `PIECE_BYTES`. What is in it is undefined. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#free.pop() ?? new ArrayBuffer(PIECE_BYTES), 0, bytes);
  }

  /** It is not used any more. */
  give(memory: ArrayBuffer): void {
    if (memory.byteLength === PIECE_BYTES && this.#free.length < MAX_FREE) this.#free.push(memory);
  }
}
