/** Bytes that one writer, and all of them, may have on their way before they wait. */
const WINDOW_BYTES = 8 * 1_048_576;
const ALL_BYTES = 32 * 1_048_576;

/** What all writers have on their way. */
export class WriteWindows {
  #bytes = 0;
  readonly #open = new Set<WriteWindow>();

  open(): WriteWindow {
    const window = new WriteWindow(this);
    this.#open.add(window);
    return window;
  }

  /** Too much is on its way. */
  get isFull(): boolean {
    return this.#bytes >= ALL_BYTES;
  }

  /** `bytes` more are on their way, or fewer. */
  change(bytes: number): void {
    this.#bytes += bytes;
    if (bytes < 0 && !this.isFull) for (const window of this.#open) window.wake();
  }

  close(window: WriteWindow): void {
    this.#open.delete(window);
  }
}

/** What one writer has on its way. */
export class WriteWindow {
  readonly #all: WriteWindows;
  #bytes = 0;
  #waits = false;
  #onRoom: () => void = () => undefined;

  constructor(all: WriteWindows) {
    this.#all = all;
  }

  /** True where it is to wait until `onRoom` is called. */
  mustWait(): boolean {
    this.#waits = this.#bytes >= WINDOW_BYTES || (this.#bytes > 0 && this.#all.isFull);
    return this.#waits;
  }

  /** Called when who waits need wait no longer, and at the end. */
  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    this.#all.change(bytes);
  }

  /** They have arrived. */
  take(bytes: number): void {
    this.#bytes -= bytes;
    this.#all.change(-bytes);
    this.wake();
  }

  /** There may be room again. */
  wake(): void {
    if (!this.#waits || this.#bytes >= WINDOW_BYTES / 2 || (this.#bytes > 0 && this.#all.isFull)) return;
    this.#waits = false;
    this.#onRoom();
  }

  /** Nothing of it counts any more. */
  close(): void {
    this.#all.close(this);
    this.#all.change(-this.#bytes);
    this.#bytes = 0;
    this.#onRoom();
  }
}
