/** Which files are being written, and by whom: two transfers never write one file. */
export class Locks {
  readonly #held = new Map<string, object>();

  /** @returns the holder, where there is one already; else the lock is `holder`'s. */
  take(key: string, holder: object): object | undefined {
    const held = this.#held.get(key);
    if (held !== undefined) return held;
    this.#held.set(key, holder);
    return undefined;
  }

  release(key: string): void {
    this.#held.delete(key);
  }

  /** True where somebody has it. */
  isHeld(key: string): boolean {
    return this.#held.has(key);
  }

  /** Nothing is locked: for whoever looks for leaks. */
  get isFree(): boolean {
    return this.#held.size === 0;
  }
}
