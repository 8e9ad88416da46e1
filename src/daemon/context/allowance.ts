/** What is taken without a look. */
const FREE_BYTES = 65_536;

/**
 * How many bytes the watches of one caller have in hand together, while their readers take them. A watch for which
 * nothing is left waits for the others: who opens many and reads none holds no more than this.
 */
export class Allowance {
  readonly #most: number;
  #held = 0;
  readonly #waiting = new Set<() => void>();

  constructor(most: number) {
    this.#most = most;
  }

  /** @returns what was taken, to be given back; undefined where that is too much now: then `wake` is called later. */
  take(bytes: number, wake: () => void): number | undefined {
    this.#waiting.delete(wake);
    if (bytes <= FREE_BYTES) return 0;
    // One is always let through, whatever its size.
    if (this.#held > 0 && this.#held + bytes > this.#most) {
      this.#waiting.add(wake);
      return undefined;
    }
    this.#held += bytes;
    return bytes;
  }

  give(bytes: number): void {
    if (bytes === 0) return;
    this.#held -= bytes;
    this.#wakeNext();
  }

  /** Waits no more. */
  leave(wake: () => void): void {
    this.#waiting.delete(wake);
    this.#wakeNext();
  }

  #wakeNext(): void {
    const [first] = this.#waiting;
    if (first === undefined) return;
    this.#waiting.delete(first);
    first();
    // It has looked by then. Where it does not wait again there may be something for the next one.
    queueMicrotask(() => {
      if (!this.#waiting.has(first)) this.#wakeNext();
    });
  }
}
