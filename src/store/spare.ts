import { closeSync, openSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';

const PIECE = Buffer.alloc(64 * 1024);

/** Room on the disk that is kept beside a store's file. */
export class Spare {
  readonly #file: string;

  constructor(storeFile: string) {
    this.#file = `${storeFile}-spare`;
  }

  /** What is kept. */
  get bytes(): number {
    return statSync(this.#file, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Keeps at least so much. @returns false where there is no room for it: then what was kept is kept. */
  keep(bytes: number): boolean {
    const before = this.bytes;
    if (before >= bytes) return true;
    try {
      this.#append(bytes - before);
      return true;
    } catch {
      this.#cut(before);
      return false;
    }
  }

  /** Gives some of it back. @returns false where nothing was kept. */
  give(bytes: number): boolean {
    const before = this.bytes;
    if (before > 0) this.#cut(Math.max(0, before - bytes));
    return before > 0;
  }

  #cut(bytes: number): void {
    if (bytes === 0) rmSync(this.#file, { force: true });
    else truncateSync(this.#file, bytes);
  }

  #append(bytes: number): void {
    const fd = openSync(this.#file, 'a', 0o600);
    try {
      for (let left = bytes; left > 0;) {
        const written = writeSync(fd, PIECE, 0, Math.min(left, PIECE.length));
        if (written === 0) throw new Error('the disk takes no more');
        left -= written;
      }
    } finally {
      closeSync(fd);
    }
  }
}
