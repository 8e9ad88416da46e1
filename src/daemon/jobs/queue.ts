import { LoopsyError } from '../../protocol/errors.ts';

/** Bounds of the queue, asked for each time: they are live settings. */
export interface QueueLimits {
  readonly maxConcurrent: number;
  readonly maxQueued: number;
}

/** Lets so many runs go on at once; the next ones wait in order. */
export class RunQueue<Run extends { readonly id: string }> {
  readonly #limits: () => QueueLimits;
  readonly #isHeld: () => boolean;
  readonly #waiting = new Map<string, Run>();
  #running = 0;

  /** While `isHeld`, none starts. */
  constructor(limits: () => QueueLimits, isHeld: () => boolean) {
    this.#limits = limits;
    this.#isHeld = isHeld;
  }

  /**
   * @returns true where the run may start now; else it waits.
   * @throws {LoopsyError} too_many_jobs
   */
  enter(run: Run): boolean {
    const { maxConcurrent, maxQueued } = this.#limits();
    const held = this.#isHeld();
    if (!held && this.#running < maxConcurrent && this.#waiting.size === 0) {
      this.#running += 1;
      return true;
    }
    if (this.#waiting.size >= maxQueued) {
      throw new LoopsyError('too_many_jobs', {
        message: `${this.#running} runs go on here and ${this.#waiting.size} wait${held ? ' for a slow disk' : ''}: no more can be taken`,
        details: { maxConcurrent, maxQueued },
      });
    }
    this.#waiting.set(run.id, run);
    return false;
  }

  /** A run of an earlier start of the node goes on, or waits: it was let in then, whatever the limits are now. */
  adopt(run: Run, isRunning: boolean): void {
    if (isRunning) this.#running += 1;
    else this.#waiting.set(run.id, run);
  }

  /** A run that was let in has ended. */
  leave(): void {
    this.#running -= 1;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** A waiting run gives up its place. @returns false where it wasn't waiting. */
  withdraw(id: string): boolean {
    return this.#waiting.delete(id);
  }

  /** The next that may start, which counts as running then. */
  next(): Run | undefined {
    if (this.#isHeld() || this.#running >= this.#limits().maxConcurrent) return undefined;
    for (const [id, run] of this.#waiting) {
      this.#waiting.delete(id);
      this.#running += 1;
      return run;
    }
    return undefined;
  }

  /** From 1; undefined where it isn't waiting. */
  place(id: string): number | undefined {
    if (!this.#waiting.has(id)) return undefined;
    let place = 1;
    for (const waiting of this.#waiting.keys()) {
      if (waiting === id) return place;
      place += 1;
    }
    return undefined;
  }
}
