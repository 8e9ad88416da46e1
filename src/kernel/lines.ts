const LINE_FEED = 0x0a;

/** Cuts bytes into lines of UTF-8, whatever chunks they come in. */
export class LineReader {
  readonly #maxBytes: () => number;
  #parts: Buffer[] = [];
  #held = 0;

  /** @param maxBytes what a line may have at the most, asked for with each chunk. */
  constructor(maxBytes: () => number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * The lines that `chunk` completes, without their ends. A generator, so that a line can change what the next may have.
   * @throws {RangeError} where a line is too long.
   */
  *read(chunk: Buffer): Generator<string> {
    for (let at = 0; at < chunk.length;) {
      const end = chunk.indexOf(LINE_FEED, at);
      const part = chunk.subarray(at, end < 0 ? chunk.length : end);
      if (this.#held + part.length > this.#maxBytes())
        throw new RangeError(`a line has more than ${this.#maxBytes()} bytes`);
      this.#parts.push(part);
      this.#held += part.length;
      if (end < 0) return;
      at = end + 1;
      const line = Buffer.concat(this.#parts).toString('utf8');
      this.#parts = [];
      this.#held = 0;
      yield line;
    }
  }
}
