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

/** Newest first, behind `cursor`, without their failures. A page may be short, and more follow all the same. */
export const listTransfers = (
  { live, stored, isShown }: TransferSources,
  { cursor, limit }: { readonly cursor: string | undefined; readonly limit: number },
): TransferPage => {
  const found = stored?.(cursor, limit) ?? [];
  // Until the store has no more, rows in memory that are older wait for their page.
  const floor = found.length < limit ? undefined : found.at(-1)?.transferId;
  const rows = new Map<string, Transfer>();
  for (const { transferId, row } of found) if (row !== undefined) rows.set(transferId, row);
  for (const row of live) {
    const { transferId } = row;
    if (transferId >= (floor ?? '') && (cursor === undefined || transferId < cursor)) rows.set(transferId, row);
  }
  const page = new Page<Transfer>({ limit });
  for (const row of [...rows.values()].filter(isShown).toSorted(newestFirst)) {
    const last = page.items.at(-1);
    if (!page.add({ ...row, failures: [] })) return pageOf(page.items, last?.transferId);
  }
  return pageOf(page.items, floor);
};

const newestFirst = (a: Transfer, b: Transfer): number => (a.transferId < b.transferId ? 1 : -1);

const pageOf = (transfers: Transfer[], nextCursor: string | undefined): TransferPage =>
  nextCursor === undefined ? { transfers } : { transfers, nextCursor };
