import { closeSync, openSync, rmSync, statSync, writeSync } from 'node:fs';

/** What some deletes take until they have given something back. */
const SPARE_BYTES = 256 * 1024;

/** Room on the disk that is kept for deletes: a full disk must not keep anybody from making room. */
export class Spare {
  readonly #file: string;

  constructor(storeFile: string) {
    this.#file = `${storeFile}-spare`;
    this.take();
  }

  /** Takes the room, where it is not taken and there is any. */
  take(): void {
    if (statSync(this.#file, { throwIfNoEntry: false })?.size === SPARE_BYTES) return;
    try {
      this.#write();
    } catch {
      // There is none: what is kept in part would only make it less.
      this.release();
    }
  }

  /** Gives the room back. */
  release(): void {
    rmSync(this.#file, { force: true });
  }

  #write(): void {
    const fd = openSync(this.#file, 'w', 0o600);
    try {
      const bytes = Buffer.alloc(SPARE_BYTES);
      for (let at = 0; at < bytes.length;) {
        const written = writeSync(fd, bytes, at);
        if (written === 0) throw new Error('the disk takes no more');
        at += written;
      }
    } finally {
      closeSync(fd);
    }
  }
}
