import { setImmediate } from 'node:timers/promises';

import { Page } from '../../kernel/page.ts';
import type { Transfer } from '../../protocol/transfers.ts';

/** What a page is made from. */
export interface TransferSources {
  /** Rows in memory: newer than what the store says of them. */
  readonly live: readonly Transfer[];
  /** Stored ones, newest first, behind the id `after`; undefined: only what is in memory is wanted. */
  readonly stored:
    | ((after: string | undefined, limit: number) => readonly { transferId: string; row: Transfer | undefined }[])
    | undefined;
  readonly isShown: (row: Transfer) => boolean;
}

/** One page of a list. */
export interface TransferPage {
  readonly transfers: Transfer[];
  readonly nextCursor?: string;
}

/** Rows that are read in one turn of the event loop. */
const STEP_ROWS = 100;
/** Rows of others are passed over: so many for each that is wanted, and at least so many. */
const MAX_PASSES = 10;
const LEAST_PASSED = 1000;
/** Of an id; what follows is random. */
const TIME_CHARACTERS = 10;
const RANDOM_CHARACTERS = 16;

/** Newest first, behind `cursor`, without their failures. A page may be short, and more follow all the same. */
export const listTransfers = async (
  sources: TransferSources,
  { cursor, limit }: { readonly cursor: string | undefined; readonly limit: number },
): Promise<TransferPage> => {
  const page = new Page<Transfer>({ limit });
  const most = Math.max(LEAST_PASSED, MAX_PASSES * limit);
  let after = cursor;
  for (let looked = 0; looked < most; looked += STEP_ROWS) {
    const { rows, floor } = nextRows(sources, after);
    for (const row of rows.filter(sources.isShown)) {
      const last = page.items.at(-1);
      if (!page.add({ ...row, failures: [] })) return pageOf(page.items, last?.transferId);
    }
    if (floor === undefined) return pageOf(page.items, undefined);
    after = floor;
    await setImmediate();
  }
  return pageOf(page.items, after === undefined ? undefined : cursorAt(after, page.items.at(-1)?.transferId));
};

/** The next ones; `floor`: the last of them, where the store may have more. */
const nextRows = (
  { live, stored }: TransferSources,
  after: string | undefined,
): { readonly rows: readonly Transfer[]; readonly floor: string | undefined } => {
  const found = stored?.(after, STEP_ROWS) ?? [];
  // Until the store has no more, rows in memory that are older wait for their page.
  const floor = found.length < STEP_ROWS ? undefined : found.at(-1)?.transferId;
  const rows = new Map<string, Transfer>();
  for (const { transferId, row } of found) if (row !== undefined) rows.set(transferId, row);
  for (const row of live) {
    const { transferId } = row;
    if (transferId >= (floor ?? '') && (after === undefined || transferId < after)) rows.set(transferId, row);
  }
  return { rows: [...rows.values()].toSorted(newestFirst), floor };
};

/** Where somebody else's row was looked at last: its time alone, and no id that is not the caller's. */
const cursorAt = (after: string, shown: string | undefined): string => {
  const time = after.slice(0, TIME_CHARACTERS) + 'z'.repeat(RANDOM_CHARACTERS);
  return shown !== undefined && shown < time ? shown : time;
};

const newestFirst = (a: Transfer, b: Transfer): number => (a.transferId < b.transferId ? 1 : -1);

const pageOf = (transfers: Transfer[], nextCursor: string | undefined): TransferPage =>
  nextCursor === undefined ? { transfers } : { transfers, nextCursor };
