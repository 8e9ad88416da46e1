/** What a backlog is made of. */
export interface BacklogOptions {
  readonly maxBytes: number;
  /** It has reached its bound: nothing more should be produced. */
  readonly onFull: () => void;
  /** There is room again. */
  readonly onRoom: () => void;
}

/**
 * The memory of all runs' output that waits for the disk. It is full at its bound, and has room again when a quarter of
 * it is free. What it counts is on its way to the disk or given up where the disk fails, so that it never stays full by
 * itself.
 */
export class Backlog {
  readonly #options: BacklogOptions;
  #bytes = 0;
  #full = false;

  constructor(options: BacklogOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isFull(): boolean {
    return this.#full;
  }

  /** So many bytes more wait, or fewer. */
  change(bytes: number): void {
    const { maxBytes, onFull, onRoom } = this.#options;
    this.#bytes += bytes;
    const full = this.#bytes >= (this.#full ? maxBytes * 0.75 : maxBytes);
    if (full === this.#full) return;
    this.#full = full;
    if (full) onFull();
    else onRoom();
  }
}
