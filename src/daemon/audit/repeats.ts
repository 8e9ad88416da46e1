import type { Clock, Timer } from '../../kernel/clock.ts';
import type { AuditRecord } from '../../protocol/audit.ts';

const WINDOW_MS = 1000;
const MAX_SOURCES = 1000;

/** Refusals that come before anything of the request is known that would be worth its own line. */
const REFUSALS: ReadonlySet<string> = new Set([
  'missing_key',
  'invalid_key',
  'expired_key',
  'scope_missing',
  'revoked',
  'foreign_origin',
  'plain_http',
  'rate_limited',
  'unknown_route',
]);

interface Source {
  last: AuditRecord;
  count: number;
}

/**
 * Keeps a flood out of the log: of one source that is refused over and over the first line is passed on at once, and
 * after that one a second with a count. A stranger's repeats are counted even where they are answered, so that nobody
 * unknown can push the history out of the log.
 */
export class Repeats {
  readonly #clock: Clock;
  readonly #emit: (record: AuditRecord) => void;
  readonly #sources = new Map<string, Source>();
  #timer: Timer | undefined;

  constructor(clock: Clock, emit: (record: AuditRecord) => void) {
    this.#clock = clock;
    this.#emit = emit;
  }

  /** Passes a record on, at once or as part of a count. */
  take(record: AuditRecord): void {
    if (record.caller !== 'stranger' && !REFUSALS.has(record.decision)) {
      this.#emit(record);
      return;
    }
    const key = `${record.fromIp} ${record.caller} ${record.operation} ${record.decision}`;
    const source = this.#sources.get(key);
    if (source !== undefined) {
      source.last = record;
      source.count += 1;
      return;
    }
    if (this.#sources.size >= MAX_SOURCES) this.flush();
    this.#sources.set(key, { last: record, count: 0 });
    this.#emit(record);
    this.#timer ??= this.#clock.after(WINDOW_MS, () => this.#endWindow());
  }

  /** Passes on all that was counted, and forgets every source. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#emitCounts();
    this.#sources.clear();
  }

  #endWindow(): void {
    this.#emitCounts();
    this.#timer = this.#sources.size === 0 ? undefined : this.#clock.after(WINDOW_MS, () => this.#endWindow());
  }

  #emitCounts(): void {
    for (const [key, source] of this.#sources) {
      if (source.count > 0) this.#emit({ ...source.last, count: source.count });
      else this.#sources.delete(key);
      source.count = 0;
    }
  }
}
