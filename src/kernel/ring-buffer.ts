/** The newest `capacity` bytes of a stream, each at its place in the stream (its cursor: bytes before it). */
export class RingBuffer {
  readonly capacity: number;
  readonly #bytes: Uint8Array;
  #end = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#bytes = new Uint8Array(capacity);
  }

  /** The cursor of the oldest byte that is still held. */
  get start(): number {
    return Math.max(0, this.#end - this.capacity);
  }

  /** The cursor behind the newest byte: how many bytes were appended in all. */
  get end(): number {
    return this.#end;
  }

  /** Copies `bytes` in; the oldest ones make room. */
  append(bytes: Uint8Array): void {
    const kept = bytes.subarray(Math.max(0, bytes.length - this.capacity));
    const at = (this.#end + bytes.length - kept.length) % this.capacity;
    const first = kept.subarray(0, this.capacity - at);
    this.#bytes.set(first, at);
    this.#bytes.set(kept.subarray(first.length), 0);
    this.#end += bytes.length;
  }

  /**
   * A copy of what is held from `since` on, at most `limit` bytes. `cursor` is where it begins: later than `since` where
   * bytes were dropped.
   */
  read(since: number, limit = this.capacity): { readonly cursor: number; readonly bytes: Uint8Array } {
    const cursor = Math.min(Math.max(since, this.start), this.#end);
    const length = Math.min(this.#end - cursor, limit);
    const bytes = new Uint8Array(length);
    const at = cursor % this.capacity;
    const first = this.#bytes.subarray(at, Math.min(at + length, this.capacity));
    bytes.set(first);
    bytes.set(this.#bytes.subarray(0, length - first.length), first.length);
    return { cursor, bytes };
  }
}
