/** What is kept of a body, bytes: more than leaves before a node that takes none of it has said so. */
const MAX_KEPT_BYTES = 8 * 1_048_576;

/** A body that can be sent once more from its beginning, as long as that is all there is. */
export class Rewindable {
  readonly #source: AsyncIterator<Uint8Array, unknown>;
  readonly #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #isPast = false;
  /** The next chunk: whoever waits for it gets the same. */
  #next: Promise<boolean> | undefined;

  /** Each chunk of `source` is good until the next is asked for. */
  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** True while nothing has left that is not kept. */
  get isWhole(): boolean {
    return !this.#isPast;
  }

  /** All of it. Leaving the loop does not end the source: it may be read once more. */
  async *bytes(): AsyncGenerator<Uint8Array> {
    for (let at = 0; ; at += 1) {
      while (at >= this.#kept.length && !this.#isPast) if (!(await this.#keep())) return;
      const chunk = this.#kept[at];
      if (chunk === undefined) break;
      yield chunk;
    }
    this.#kept.length = 0;
    for (let next = await this.#source.next(); next.done !== true; next = await this.#source.next()) yield next.value;
  }

  /** Nobody wants the rest. */
  leave(): void {
    // What ends it may wait for its next chunk.
    this.#source.return?.().catch(() => undefined);
  }

  /** @returns false at the end. */
  #keep(): Promise<boolean> {
    this.#next ??= this.#read().finally(() => (this.#next = undefined));
    return this.#next;
  }

  async #read(): Promise<boolean> {
    const next = await this.#source.next();
    if (next.done === true) return false;
    this.#kept.push(Uint8Array.from(next.value));
    this.#keptBytes += next.value.length;
    this.#isPast = this.#keptBytes > MAX_KEPT_BYTES;
    return true;
  }
}
