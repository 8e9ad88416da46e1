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
  #sizes: RateLimitSizes;

  constructor(sizes: RateLimitSizes, clock: Clock) {
    const table = (category: LimitCategory): BucketTable => new BucketTable({ size: sizes[category], clock });
    this.#tables = { execute: table('execute'), transfer: table('transfer'), context: table('context') };
    this.#sizes = sizes;
  }

  /** New sizes, in force at once; what was taken stays taken. */
  setSizes(sizes: RateLimitSizes): void {
    this.#sizes = sizes;
    this.#tables.execute.resize(sizes.execute);
    this.#tables.transfer.resize(sizes.transfer);
    this.#tables.context.resize(sizes.context);
  }

  /**
   * Counts one operation of a caller.
   * @throws {LoopsyError} `rate_limited`, with `details.retryAfterMs`.
   */
  take(caller: Caller, category: LimitCategory): void {
    if (caller.kind === 'owner' || caller.kind === 'agent' || caller.kind === 'agent-secret') return;
    // A peer's name is its machine's: its sessions share one bucket.
    const taken = this.#tables[category].take(callerName(caller));
    if (taken.ok) return;
    const { retryAfterMs } = taken;
    throw new LoopsyError('rate_limited', {
      message: `more than ${this.#sizes[category]} operations of the kind "${category}" in a minute`,
      hint: `try again in ${Math.ceil(retryAfterMs / 1000)} s; the owner of that node can change rateLimits.${category} in its config.yaml`,
      details: { retryAfterMs, category },
    });
  }
}
