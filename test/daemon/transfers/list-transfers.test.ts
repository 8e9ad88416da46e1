import { describe, expect, it } from 'vitest';

import { listTransfers, type TransferSources } from '../../../src/daemon/transfers/list-transfers.ts';
import type { Transfer } from '../../../src/protocol/transfers.ts';
import { verifies } from '../../requirements.ts';

const rowOf = (number: number, caller = 'owner'): Transfer => ({
  transferId: String(number).padStart(26, '0'),
  role: 'mover',
  from: { name: 'here', nodeId: 'a' },
  to: { name: 'kai', nodeId: 'b' },
  sources: ['x'],
  dest: 'y',
  state: 'ended',
  caller,
  startedAt: number,
  duration: 1,
  counting: false,
  files: { found: 0, done: 0, skipped: 0, failed: 0 },
  folders: 0,
  links: 0,
  removed: 0,
  bytes: { found: 0, sent: 0, done: 0 },
  failures: [{ path: 'x', error: 'disk_full', message: 'full' }],
});

const storeOf = (rows: readonly Transfer[]): TransferSources['stored'] => {
  const sorted = rows.toSorted((a, b) => (a.transferId < b.transferId ? 1 : -1));
  return (after, limit) =>
    sorted
      .filter(({ transferId }) => after === undefined || transferId < after)
      .slice(0, limit)
      .map((row) => ({ transferId: row.transferId, row }));
};

/** Every row of every page. */
const all = async (sources: TransferSources, limit: number): Promise<number[]> => {
  const seen: number[] = [];
  for (let cursor: string | undefined, pages = 0; ; pages += 1) {
    const { transfers, nextCursor } = await listTransfers(sources, { cursor, limit });
    seen.push(...transfers.map(({ startedAt }) => startedAt));
    if (nextCursor === undefined) return seen;
    expect(pages).toBeLessThan(1000);
    cursor = nextCursor;
  }
};

describe('a list of transfers', () => {
  const numbers = Array.from({ length: 25 }, (_, at) => at + 1);

  it('is given whole, page by page, newest first, whatever lies in memory and whatever in the store', async () => {
    for (const limit of [1, 2, 3, 7, 24, 25, 26, 1000]) {
      for (const inMemory of [[], [25], [1, 13, 25], numbers]) {
        const live = inMemory.map((number) => rowOf(number));
        const stored = storeOf(numbers.map((number) => rowOf(number)));
        expect(await all({ live, stored, isShown: () => true }, limit)).toEqual(numbers.toReversed());
      }
    }
  });

  it('leaves out what is not the caller’s, and goes on behind it', async () => {
    const stored = storeOf(numbers.map((number) => rowOf(number, number % 5 === 0 ? 'agent:x' : 'owner')));
    const isShown = ({ caller }: Transfer): boolean => caller === 'agent:x';
    expect(await all({ live: [], stored, isShown }, 3)).toEqual([25, 20, 15, 10, 5]);
  });

  it(
    verifies('transfers.list.own', 'names no id that is not the caller’s, however many there are of others'),
    async () => {
      const many = Array.from({ length: 3000 }, (_, at) =>
        rowOf(at + 1, [5, 2700, 2990].includes(at + 1) ? 'key:ci' : 'owner'),
      );
      // An id begins with its time.
      const rows = many.map((row) => ({
        ...row,
        transferId: `${String(row.startedAt).padStart(10, '0')}${'5'.repeat(16)}`,
      }));
      const sources = { live: [], stored: storeOf(rows), isShown: ({ caller }: Transfer) => caller === 'key:ci' };
      expect(await all(sources, 10)).toEqual([2990, 2700, 5]);
      const others = new Set(rows.filter((row) => !sources.isShown(row)).map(({ transferId }) => transferId));
      for (let cursor: string | undefined, pages = 0; pages < 10; pages += 1) {
        const { nextCursor } = await listTransfers(sources, { cursor, limit: 10 });
        if (nextCursor === undefined) return;
        expect(others.has(nextCursor)).toBe(false);
        cursor = nextCursor;
      }
      throw new Error('it has no end');
    },
  );

  it('shows what is in memory alone where no more is wanted, and never what failed', async () => {
    const { transfers } = await listTransfers(
      { live: [rowOf(1), rowOf(2)], stored: undefined, isShown: () => true },
      { cursor: undefined, limit: 5 },
    );
    expect(transfers.map(({ startedAt, failures }) => [startedAt, failures])).toEqual([
      [2, []],
      [1, []],
    ]);
  });
});
