import type { Clock } from '../../kernel/clock.ts';
import { BucketTable } from '../../kernel/token-bucket.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { LimitCategory } from '../../protocol/operation.ts';
import { type Caller, callerName } from '../../trust/caller.ts';

/** Config `rateLimits`: operations a minute, for each peer machine and each named key. */
export type RateLimitSizes = Readonly<Record<LimitCategory, number>>;

/** As long as the result of an effect is kept for its repeats. */
const KEEP_MS = 600_000;
const MAX_COUNTED = 50_000;

/** One bucket for each caller and category. The owner and the agents of this machine have none. */
export class RateLimits {
  readonly #tables: Readonly<Record<LimitCategory, BucketTable>>;
  readonly #sizes: () => RateLimitSizes;
  readonly #clock: Clock;
  /** When a request was counted that may be repeated: the repeat is the same operation. Oldest first. */
  readonly #counted = new Map<string, number>();
  #inForce: RateLimitSizes;

  /** `sizes` is asked at each operation: a change acts at once, and what was taken stays taken. */
  constructor(clock: Clock, sizes: () => RateLimitSizes) {
    this.#sizes = sizes;
    this.#clock = clock;
    this.#inForce = { ...sizes() };
    const table = (category: LimitCategory): BucketTable => new BucketTable({ size: this.#inForce[category], clock });
    this.#tables = { execute: table('execute'), transfer: table('transfer'), context: table('context') };
  }

  /**
   * Counts one operation of a caller; a repeat of `requestId` is not another one.
   * @throws {LoopsyError} `rate_limited`, with `details.retryAfterMs`.
   */
  take(caller: Caller, category: LimitCategory, requestId?: string): void {
    if (caller.kind === 'owner' || caller.kind === 'agent' || caller.kind === 'agent-secret') return;
    // A peer's name is its machine's: its sessions share one bucket.
    const name = callerName(caller);
    const request = requestId === undefined ? undefined : `${name}\n${requestId}`;
    if (request !== undefined && this.#wasCounted(request)) return;
    const size = this.#sizes()[category];
    const table = this.#tables[category];
    if (size !== this.#inForce[category]) {
      table.resize(size);
      this.#inForce = { ...this.#inForce, [category]: size };
    }
    const taken = table.take(name);
    if (taken.ok) return request === undefined ? undefined : this.#count(request);
    const { retryAfterMs } = taken;
    throw new LoopsyError('rate_limited', {
      message: `more than ${size} operations of the kind "${category}" in a minute`,
      hint: `try again in ${Math.ceil(retryAfterMs / 1000)} s; the owner of that node can change rateLimits.${category} in its config.yaml`,
      details: { retryAfterMs, category },
    });
  }

  #wasCounted(request: string): boolean {
    const at = this.#counted.get(request);
    return at !== undefined && this.#clock.monotonicMs() - at < KEEP_MS;
  }

  #count(request: string): void {
    const now = this.#clock.monotonicMs();
    for (const [oldest, at] of this.#counted) {
      if (now - at < KEEP_MS && this.#counted.size < MAX_COUNTED) break;
      this.#counted.delete(oldest);
    }
    this.#counted.delete(request);
    this.#counted.set(request, now);
  }
}
