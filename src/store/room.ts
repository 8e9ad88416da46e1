import { statSync } from 'node:fs';

import { Spare } from './spare.ts';
import { DiskFull, isFull, type Database, type Statement } from './sqlite.ts';

/** What the log may take for deletes, until it is begun anew: some dozens of them. */
const LEAST_BYTES = 256 * 1024;
const STEP_BYTES = 256 * 1024;
/** More than that is not kept for long. */
const MOST_BYTES = 8 * 1024 * 1024;
/** What is given back at once: the less, the less another program can take. */
const GIVEN_BYTES = 32 * 1024;

const roundUp = (bytes: number): number => Math.ceil(bytes / STEP_BYTES) * STEP_BYTES;

/**
 * The room that a store's file has on its disk. A log can be begun anew only when the file has taken what is in it. So
 * nothing is committed by which the file would grow beyond the room that is kept beside it: then a full disk is never
 * the end of the log, and whoever deletes writes where something was written before.
 */
export class Room {
  readonly #db: Database;
  readonly #file: string;
  readonly #spare: Spare;
  readonly #pages: Statement<{ page_count: number }>;
  readonly #pageBytes: number;
  /** For so many pages there is room for sure. */
  #assured = 0;

  constructor(db: Database, file: string) {
    this.#db = db;
    this.#file = file;
    this.#spare = new Spare(file);
    this.#pages = db.prepare('PRAGMA page_count');
    this.#pageBytes = db.prepare<{ page_size: number }>('PRAGMA page_size').get()?.page_size ?? 4096;
    this.#spare.keep(LEAST_BYTES);
  }

  /** Called at the end of each transaction. @throws {DiskFull} where the file could not take what it adds. */
  ensure(): void {
    const pages = this.#pages.get()?.page_count ?? 0;
    if (pages <= this.#assured) return;
    const fileBytes = statSync(this.#file).size;
    const missing = pages * this.#pageBytes - fileBytes;
    const kept = missing <= 0 ? 0 : this.#keep(missing);
    this.#assured = Math.floor((fileBytes + kept) / this.#pageBytes);
  }

  /**
   * Runs what the disk had no room for: in a log that is begun anew, then with more and more of what was kept.
   * @throws the disk's error, where that is not enough.
   */
  squeeze<Result>(run: () => Result): Result {
    this.#assured = 0;
    this.#beginLog();
    for (;;) {
      try {
        return run();
      } catch (error) {
        if (!isFull(error) || !this.#spare.give(GIVEN_BYTES)) throw error;
        this.#beginLog();
      }
    }
  }

  /** Moves the log into the file, whose room it has been promised. @returns false where it could not. */
  beginAnew(): boolean {
    try {
      // What it has of the disk it keeps: the next changes are written there.
      this.#db.exec('PRAGMA wal_checkpoint(RESTART)');
      return true;
    } catch (error) {
      if (!isFull(error)) throw error;
      return false;
    }
  }

  /** What was given is kept again, as far as there is any. */
  keepAgain(): void {
    this.#spare.keep(LEAST_BYTES);
  }

  #beginLog(): void {
    while (!this.beginAnew()) if (!this.#spare.give(GIVEN_BYTES)) return;
  }

  /** @returns how much the file may grow. */
  #keep(missing: number): number {
    const wanted = missing + LEAST_BYTES;
    if (!this.#spare.keep(roundUp(wanted)) && !this.#spare.keep(wanted))
      throw new DiskFull('the disk has no room for what the file would grow by');
    const { bytes } = this.#spare;
    if (bytes > MOST_BYTES && wanted <= MOST_BYTES) this.#spare.give(bytes - MOST_BYTES);
    return this.#spare.bytes - LEAST_BYTES;
  }
}
