import type { Clock } from '../../kernel/clock.ts';

const KEEP_MS = 600_000;
const MAX_ENTRIES = 50_000;

/** Which run a request has started: a repeat of it within 10 minutes joins that run instead of starting another. */
export class Repeats {
  readonly #clock: Clock;
  readonly #entries = new Map<string, { readonly jobId: string; readonly at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The run that this caller's request has started. */
  find(caller: string, requestId: string): string | undefined {
    const entry = this.#entries.get(`${caller} ${requestId}`);
    return entry !== undefined && this.#clock.monotonicMs() - entry.at < KEEP_MS ? entry.jobId : undefined;
  }

  add(caller: string, requestId: string, jobId: string): void {
    const now = this.#clock.monotonicMs();
    for (const [key, { at }] of this.#entries) {
      if (now - at < KEEP_MS && this.#entries.size < MAX_ENTRIES) break;
      this.#entries.delete(key);
    }
    this.#entries.set(`${caller} ${requestId}`, { jobId, at: now });
  }
}
