import type { Clock } from '../../kernel/clock.ts';
import { BucketTable } from '../../kernel/token-bucket.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { LimitCategory } from '../../protocol/operation.ts';
import { type Caller, callerName } from '../../trust/caller.ts';

/** Config `rateLimits`: operations a minute, for each peer machine and each named key. */
export type RateLimitSizes = Readonly<Record<LimitCategory, number>>;

/** One bucket for each caller and category. The owner and the agents of this machine have none. */
export class RateLimits {
  readonly #tables: Readonly<Record<LimitCategory, BucketTable>>;
  readonly #sizes: () => RateLimitSizes;
  #inForce: RateLimitSizes;

  /** `sizes` is asked at each operation: a change acts at once, and what was taken stays taken. */
  constructor(clock: Clock, sizes: () => RateLimitSizes) {
    this.#sizes = sizes;
    this.#inForce = { ...sizes() };
    const table = (category: LimitCategory): BucketTable => new BucketTable({ size: this.#inForce[category], clock });
    this.#tables = { execute: table('execute'), transfer: table('transfer'), context: table('context') };
  }

  /**
   * Counts one operation of a caller.
   * @throws {LoopsyError} `rate_limited`, with `details.retryAfterMs`.
   */
  take(caller: Caller, category: LimitCategory): void {
    if (caller.kind === 'owner' || caller.kind === 'agent' || caller.kind === 'agent-secret') return;
    const size = this.#sizes()[category];
    const table = this.#tables[category];
    if (size !== this.#inForce[category]) {
      table.resize(size);
      this.#inForce = { ...this.#inForce, [category]: size };
    }
    // A peer's name is its machine's: its sessions share one bucket.
    const taken = table.take(callerName(caller));
    if (taken.ok) return;
    const { retryAfterMs } = taken;
    throw new LoopsyError('rate_limited', {
      message: `more than ${size} operations of the kind "${category}" in a minute`,
      hint: `try again in ${Math.ceil(retryAfterMs / 1000)} s; the owner of that node can change rateLimits.${category} in its config.yaml`,
      details: { retryAfterMs, category },
    });
  }
}
