import type { Clock, Timer } from '../../kernel/clock.ts';
import type { AuditRecord } from '../../protocol/audit.ts';

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

/** Which records are counted into one line, and how often that line is written. */
export interface RepeatRule {
  readonly windowMs: number;
  readonly isCounted: (record: AuditRecord) => boolean;
}

/** A stranger's repeats are counted even where they are answered, so that nobody unknown can push the history out. */
export const FLOODS: RepeatRule = {
  windowMs: 1000,
  isCounted: ({ caller, decision }) => caller === 'stranger' || REFUSALS.has(decision),
};

/** A peer's heartbeats; what it says of itself anew has a line of its own. */
export const HEARTBEATS: RepeatRule = {
  windowMs: 600_000,
  isCounted: ({ operation, decision }) => operation === 'peer.handshake' && decision === 'allowed',
};

const keyOf = (record: AuditRecord): string => {
  const { fromIp, caller, operation, decision, hostname, version, port } = record;
  return JSON.stringify([fromIp, caller, operation, decision, hostname, version, port]);
};

interface Source {
  last: AuditRecord;
  count: number;
}

/** Keeps repeats out of the log: the first line is passed on at once, and after that one in a while with a count. */
export class Repeats {
  readonly #rule: RepeatRule;
  readonly #clock: Clock;
  readonly #emit: (record: AuditRecord) => void;
  readonly #sources = new Map<string, Source>();
  #timer: Timer | undefined;

  constructor(rule: RepeatRule, clock: Clock, emit: (record: AuditRecord) => void) {
    this.#rule = rule;
    this.#clock = clock;
    this.#emit = emit;
  }

  /** Passes a record on, at once or as part of a count. */
  take(record: AuditRecord): void {
    if (!this.#rule.isCounted(record)) {
      this.#emit(record);
      return;
    }
    const key = keyOf(record);
    const source = this.#sources.get(key);
    if (source !== undefined) {
      source.last = record;
      source.count += 1;
      return;
    }
    if (this.#sources.size >= MAX_SOURCES) this.flush();
    this.#sources.set(key, { last: record, count: 0 });
    this.#emit(record);
    this.#timer ??= this.#clock.after(this.#rule.windowMs, () => this.#endWindow());
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
    this.#timer =
      this.#sources.size === 0 ? undefined : this.#clock.after(this.#rule.windowMs, () => this.#endWindow());
  }

  #emitCounts(): void {
    for (const [key, source] of this.#sources) {
      if (source.count > 0) this.#emit({ ...source.last, count: source.count });
      else this.#sources.delete(key);
      source.count = 0;
    }
  }
}
