import type { Clock } from '../../kernel/clock.ts';
import { pause } from '../../kernel/sleep.ts';

/** Counts changes, and lets those who know one wait for the next. */
export class Changes {
  #revision = 1;
  readonly #listeners = new Set<() => void>();

  get revision(): number {
    return this.#revision;
  }

  /** Something changed. */
  note(): void {
    this.#revision += 1;
    for (const listener of [...this.#listeners]) listener();
  }

  /** Resolves once the revision is another than `since`, after `ms`, or when `signal` is aborted. */
  async next(since: number, { ms, clock, signal }: { ms: number; clock: Clock; signal: AbortSignal }): Promise<void> {
    if (since !== this.#revision || ms <= 0 || signal.aborted) return;
    const wake = (end: () => void): (() => void) => {
      this.#listeners.add(end);
      return () => this.#listeners.delete(end);
    };
    await pause(ms, { clock, signal, wake });
  }
}
