import { z } from 'zod';

import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { isRecord, parseFields } from '../../protocol/record.ts';
import { transferInputSchema, transferSchema, type Transfer, type TransferInput } from '../../protocol/transfers.ts';
import { entriesOf } from '../../store/entries.ts';
import type { Store } from '../../store/store.ts';
import type { Marks } from './known-folders.ts';

const ENDED = 'transfer/';
const ACTIVE = 'transfer-active/';
const DAY_MS = 86_400_000;
/** A record of many failures would be as large as what it is about. */
const KEPT_FAILURES = 100;
/** With a disk that takes nothing, older ones are forgotten. */
const MAX_FRESH = 1000;

/** A detached movement that is not over. */
export interface Pending {
  readonly transferId: string;
  readonly input: TransferInput;
  readonly caller: string;
  readonly startedAt: number;
  /** Which folders it began with, once that is known. */
  readonly marks?: Marks | undefined;
}

/** What is known of transfers beyond this start of the node. */
export class TransferRecords {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #keepDays: () => number;
  readonly #fresh = new Map<string, Transfer>();

  constructor(parts: { store: Store; clock: Clock; log: Log; keepDays: () => number }) {
    this.#store = parts.store;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#keepDays = parts.keepDays;
  }

  /** Puts a movement on disk that outlives the node, before it begins, and what is known of it since. @throws what the store does. */
  async begin({ transferId, ...pending }: Pending): Promise<void> {
    await this.#store.commit([{ put: ACTIVE + transferId, value: JSON.stringify(pending) }]);
  }

  /** It did not begin. @throws what the store does. */
  async forget(transferId: string): Promise<void> {
    await this.#store.commit([{ delete: ACTIVE + transferId }]);
  }

  /** It has ended, or is no more to be gone on with. Seen at once, and on disk soon. */
  end(row: Transfer): void {
    const kept = { ...row, failures: row.failures.slice(0, KEPT_FAILURES) };
    const expiresAt = this.#clock.now() + this.#keepDays() * DAY_MS;
    const put = { put: ENDED + row.transferId, value: JSON.stringify(kept), expiresAt };
    this.#fresh.set(row.transferId, kept);
    const [oldest] = this.#fresh.keys();
    if (this.#fresh.size > MAX_FRESH && oldest !== undefined) this.#fresh.delete(oldest);
    this.#store.commit([put, { delete: ACTIVE + row.transferId }], { durability: 'later' }).then(
      () => this.#fresh.delete(row.transferId),
      (error: unknown) =>
        this.#log.warn('not written', { error: error instanceof Error ? error.message : String(error) }),
    );
  }

  get(transferId: string): Transfer | undefined {
    const fresh = this.#fresh.get(transferId);
    if (fresh !== undefined) return fresh;
    const entry = this.#store.get(ENDED + transferId);
    return entry === undefined ? undefined : rowIn(entry.value);
  }

  /** Those that the disk does not have yet. */
  fresh(): Transfer[] {
    return [...this.#fresh.values()];
  }

  /** Ended ones, newest first, behind the id `after`. */
  page(
    after: string | undefined,
    limit: number,
  ): { readonly transferId: string; readonly row: Transfer | undefined }[] {
    const query = { prefix: ENDED, limit, reverse: true, ...(after === undefined ? {} : { after: ENDED + after }) };
    return this.#store
      .list(query)
      .map(({ key, value }) => ({ transferId: key.slice(ENDED.length), row: rowIn(value) }));
  }

  /** Those that an earlier start of the node did not end. */
  pending(): Pending[] {
    return Array.from(entriesOf(this.#store, ACTIVE), ({ key, value }) =>
      pendingIn(key.slice(ACTIVE.length), value),
    ).filter((pending) => pending !== undefined);
  }
}

const marksSchema = z.record(z.string(), z.string());

const rowIn = (text: string): Transfer | undefined => transferSchema.safeParse(parseFields(text)).data;

const pendingIn = (transferId: string, text: string): Pending | undefined => {
  const fields = parseFields(text);
  const input = transferInputSchema.safeParse(isRecord(fields) ? fields['input'] : undefined).data;
  const { caller, startedAt } = fields ?? {};
  if (input === undefined || typeof caller !== 'string' || typeof startedAt !== 'number') return undefined;
  const marks = marksSchema.safeParse(fields?.['marks']).data;
  return { transferId, input, caller, startedAt, marks };
};
