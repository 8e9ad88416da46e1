import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Page, pageOf } from '../../src/kernel/page.ts';

interface Row {
  readonly name: string;
  readonly text: string;
}

const nameOf = ({ name }: Row): string => name;

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

/** All pages, one after the other. */
const pagesOf = (rows: readonly Row[], bounds: { limit?: number; maxBytes?: number }): Row[][] => {
  const pages: Row[][] = [];
  for (let cursor: string | undefined = undefined; ;) {
    const { items, next }: ReturnType<typeof pageOf<Row>> = pageOf(rows, nameOf, { cursor, ...bounds });
    pages.push(items);
    cursor = next.nextCursor;
    if (cursor === undefined) return pages;
  }
};

const rowsOf = (count: number, text = ''): Row[] =>
  Array.from({ length: count }, (_, at) => ({ name: String(at).padStart(5, '0'), text }));

describe('a page', () => {
  it('ends at 1,000 items where nothing less is asked for, and the last one leads nowhere', () => {
    expect(pagesOf(rowsOf(2500), {}).map(({ length }) => length)).toEqual([1000, 1000, 500]);
    expect(pagesOf(rowsOf(2000), {}).map(({ length }) => length)).toEqual([1000, 1000]);
    expect(pagesOf([], {})).toEqual([[]]);
  });

  it('ends at 4 MiB of JSON, counted in bytes, whatever the items look like', () => {
    const rows = rowsOf(300, 'ä"\n🜁'.repeat(4000));
    const pages = pagesOf(rows, {});
    expect(pages.flat()).toEqual(rows);
    for (const items of pages) expect(bytesOf({ items, nextCursor: 'x'.repeat(1000) })).toBeLessThan(4 * 1_048_576);
    for (const items of pages.slice(0, -1)) expect(bytesOf(items)).toBeGreaterThan(4_100_000);
  });

  it('holds an item that is larger than a page alone', () => {
    const page = new Page<string>({ limit: 9, maxBytes: 3000 });
    expect([page.add('x'.repeat(5000)), page.isFull, page.add('y')]).toEqual([true, true, false]);
    const late = new Page<string>({ limit: 9, maxBytes: 3000 });
    expect([late.add('x'), late.add('y'.repeat(5000)), late.add('z')]).toEqual([true, false, true]);
  });

  it('goes on behind an item that has gone since, in the order of the keys', () => {
    const rows = rowsOf(10);
    const { next } = pageOf(rows.toReversed(), nameOf, { limit: 4 });
    const left = rows.filter(({ name }) => name !== next.nextCursor);
    expect(pageOf(left, nameOf, { limit: 4, cursor: next.nextCursor }).items).toEqual(rows.slice(4, 8));
  });

  it('loses and doubles nothing, whatever the bounds', () => {
    const row = fc.record({ name: fc.string({ maxLength: 5 }), text: fc.string({ maxLength: 300 }) });
    const rows = fc.uniqueArray(row, { selector: nameOf, maxLength: 30 });
    fc.assert(
      fc.property(
        rows,
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 2049, max: 4000 }),
        (all, limit, maxBytes) => {
          const pages = pagesOf(all, { limit, maxBytes });
          const sorted = all.toSorted((a, b) => (a.name < b.name ? -1 : 1));
          expect(pages.flat()).toEqual(sorted);
          for (const items of pages) expect(items.length).toBeLessThanOrEqual(limit);
        },
      ),
    );
  });
});
