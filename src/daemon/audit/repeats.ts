import type { Clock, Timer } from '../../kernel/clock.ts';
import { BucketTable } from '../../kernel/token-bucket.ts';
import type { AuditRecord } from '../../protocol/audit.ts';
import { ERRORS } from '../../protocol/errors.ts';
import { OPERATION_IDS, type OperationId, rowOf } from '../../protocol/operations.ts';

/** So many kinds of records are told apart, and twice as many are counted. */
const MAX_SOURCES = 1500;
/** What a line says where they are not told apart. */
const VARIOUS = 'various';

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

/** Refusals of what was understood: nothing was there that it could have changed. */
const NOTHING_THERE: ReadonlySet<string> = new Set(['invalid_request', 'job_not_found', 'transfer_not_found']);

/** A movement of files begins and ends with lines of its own; between them are as many of these as it takes. */
const STEPS: ReadonlySet<string> = new Set<OperationId>(['source.read', 'target.write', 'target.put']);

/** What is bounded by no rate limit and says little: reads, steps, and what nodes tell each other. */
const UNLIMITED: ReadonlySet<string> = new Set([
  VARIOUS,
  ...STEPS,
  ...OPERATION_IDS.filter((id) => !rowOf(id).effect && rowOf(id).limit === undefined),
]);

/** Which records are counted into one line, and how often that line is written. */
export interface RepeatRule {
  readonly windowMs: number;
  readonly isCounted: (record: AuditRecord) => boolean;
  /** Records with the same key are counted together. */
  readonly keyOf: (record: AuditRecord) => readonly unknown[];
  /** So many lines each caller has for itself, refilled evenly within a minute; what goes beyond is counted. */
  readonly ownLines?: number;
  /** What is counted from the first on. */
  readonly hasNoLines?: (record: AuditRecord) => boolean;
}

/** A peer's heartbeats; what it says of itself anew has a line of its own. */
export const HEARTBEATS: RepeatRule = {
  windowMs: 600_000,
  isCounted: ({ operation, decision }) => operation === 'peer.handshake' && decision === 'allowed',
  keyOf: ({ fromIp, caller, hostname, version, port }) => [fromIp, caller, hostname, version, port],
};

/** A stranger's repeats are counted even where they are answered. */
export const FLOODS: RepeatRule = {
  windowMs: 1000,
  isCounted: ({ caller, decision }) => caller === 'stranger' || REFUSALS.has(decision),
  keyOf: ({ fromIp, caller, operation, decision }) => [fromIp, caller, operation, decision],
};

/**
 * Keeps a caller from pushing the history out of the log by asking much: what had an effect of its own has a line each,
 * all else is counted beyond the caller's own lines. All strangers together are one caller.
 */
export const CHATTER: RepeatRule = {
  windowMs: 60_000,
  isCounted: ({ caller, operation, decision }) =>
    caller !== 'owner' && (UNLIMITED.has(operation) || REFUSALS.has(decision) || NOTHING_THERE.has(decision)),
  // A decision implies its status. Names that another node has made up are not told apart.
  keyOf: ({ caller, operation, decision }) => [
    caller,
    operation,
    decision === 'allowed' || decision in ERRORS ? decision : '',
  ],
  ownLines: 60,
  // One that takes days would fill the log with its caller's own lines.
  hasNoLines: ({ operation }) => STEPS.has(operation),
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
  readonly #ownLines: BucketTable | undefined;
  #timer: Timer | undefined;

  constructor(rule: RepeatRule, clock: Clock, emit: (record: AuditRecord) => void) {
    this.#rule = rule;
    this.#clock = clock;
    this.#emit = emit;
    this.#ownLines = rule.ownLines === undefined ? undefined : new BucketTable({ size: rule.ownLines, clock });
  }

  /** Passes a record on, at once or as part of a count. */
  take(record: AuditRecord): void {
    if (!this.#rule.isCounted(record) || this.#hasOwnLine(record)) {
      this.#emit(record);
      return;
    }
    const key = JSON.stringify(this.#rule.keyOf(record));
    if (this.#sources.has(key) || this.#sources.size < MAX_SOURCES) {
      this.#count(key, record);
      return;
    }
    // Too many to be told apart: by their caller alone, and in the end not even by that.
    const caller = this.#sources.size < 2 * MAX_SOURCES ? record.caller : VARIOUS;
    this.#count(caller, { ...record, caller, operation: VARIOUS, decision: VARIOUS });
  }

  /** Passes on all that was counted, and forgets every source. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#emitCounts();
    this.#sources.clear();
  }

  #hasOwnLine(record: AuditRecord): boolean {
    return this.#rule.hasNoLines?.(record) !== true && this.#ownLines?.take(record.caller).ok === true;
  }

  #count(key: string, record: AuditRecord): void {
    const source = this.#sources.get(key);
    if (source !== undefined) {
      source.last = record;
      // What comes may be a count itself.
      source.count += record.count ?? 1;
      return;
    }
    this.#sources.set(key, { last: record, count: 0 });
    this.#emit(record);
    this.#timer ??= this.#clock.after(this.#rule.windowMs, () => this.#endWindow());
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
