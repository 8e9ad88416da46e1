import type { Clock } from '../../kernel/clock.ts';

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
    await new Promise<void>((resolve) => {
      const end = (): void => {
        timer.cancel();
        this.#listeners.delete(end);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = clock.after(ms, end);
      this.#listeners.add(end);
      signal.addEventListener('abort', end, { once: true });
    });
  }
}
