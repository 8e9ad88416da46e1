import type { Clock } from '../../kernel/clock.ts';
import { usedRequestId } from '../../protocol/requests.ts';

const KEEP_MS = 600_000;
/** What may lie between the moments at which the sender and this node saw the same attempt. */
const MARGIN_MS = 60_000;
const MAX_ENTRIES = 50_000;

interface Entry {
  readonly jobId: string;
  /** What was asked for. */
  readonly digest: string;
}

/** Which run a request has started: a repeat of it until 10 minutes after the run's end joins that run instead of starting another. */
export class Repeats {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry & { readonly at: number }>();
  /** When the newest entry of those that had to make room was added. */
  #evictedMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * The run that this caller's request has started.
   * @throws {LoopsyError} `invalid_request` where that request asked for something else than `digest`.
   */
  find(caller: string, requestId: string, digest?: string): string | undefined {
    const entry = this.#entries.get(`${caller} ${requestId}`);
    if (entry === undefined || this.#clock.monotonicMs() - entry.at >= KEEP_MS) return undefined;
    if (digest !== undefined && digest !== entry.digest) throw usedRequestId();
    return entry.jobId;
  }

  /** True where a request whose first attempt was sent so long ago may have started a run that is not known any more. */
  mayHaveForgotten(ageMs: number): boolean {
    const sinceMs = ageMs + MARGIN_MS;
    return sinceMs > KEEP_MS || this.#clock.monotonicMs() - this.#evictedMs <= sinceMs;
  }

  /** Keeps it for ten minutes from now. */
  add(caller: string, requestId: string, entry: Entry): void {
    const now = this.#clock.monotonicMs();
    for (const [key, { at }] of this.#entries) {
      const kept = now - at < KEEP_MS;
      if (kept && this.#entries.size < MAX_ENTRIES) break;
      if (kept) this.#evictedMs = at;
      this.#entries.delete(key);
    }
    const key = `${caller} ${requestId}`;
    // In the order in which they were said last.
    this.#entries.delete(key);
    this.#entries.set(key, { ...entry, at: now });
  }
}
