/** First in, first out, never more than `limit` items. Every operation takes constant time. */
export class BoundedQueue<T> {
  readonly limit: number;
  readonly #slots: (T | undefined)[];
  #head = 0;
  #length = 0;

  constructor(limit: number) {
    this.limit = limit;
    this.#slots = [];
  }

  get length(): number {
    return this.#length;
  }

  /** @returns false, and takes nothing, where the queue is full. */
  push(item: T): boolean {
    if (this.#length === this.limit) return false;
    this.#slots[(this.#head + this.#length) % this.limit] = item;
    this.#length += 1;
    return true;
  }

  /** Takes the oldest item out; undefined where there is none. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#slots[this.#head];
    // The slot must not keep a taken item alive.
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.limit;
    this.#length -= 1;
    return item;
  }

  /** Drops everything. */
  clear(): void {
    this.#slots.length = 0;
    this.#head = 0;
    this.#length = 0;
  }
}
