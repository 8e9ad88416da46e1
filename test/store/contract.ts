import { describe, expect, it, onTestFinished } from 'vitest';

import { entriesOf } from '../../src/store/entries.ts';
import { StoreConflict, type Entry, type Store } from '../../src/store/store.ts';
import { FakeClock } from '../helpers/clock.ts';
import { describeBeyond } from './contract-beyond.ts';

/** Opens an empty store for the running test. */
export type OpenTwin = (clock: FakeClock) => Promise<Store>;

const keysOf = (entries: readonly Entry[]): string[] => entries.map(({ key }) => key);

const put = (key: string, value = key): { put: string; value: string } => ({ put: key, value });

/** What every store does, whatever it is made of. */
export const describeStore = (name: string, openTwin: OpenTwin): void => {
  const open = async (): Promise<{ store: Store; clock: FakeClock }> => {
    const clock = new FakeClock();
    const store = await openTwin(clock);
    onTestFinished(() => store.close());
    return { store, clock };
  };

  describe(`${name}: entries`, () => {
    it('gives back what was put, with the revision of its commit', async () => {
      const { store } = await open();
      expect(store.get('a')).toBeUndefined();
      expect(store.revision).toBe(0);
      expect(await store.commit([put('a', '1'), put('b', '2')])).toBe(1);
      expect(await store.commit([put('a', '3')])).toBe(2);
      expect(store.get('a')).toEqual({ key: 'a', value: '3', revision: 2 });
      expect(store.get('b')).toEqual({ key: 'b', value: '2', revision: 1 });
      expect(store.revision).toBe(2);
    });

    it('counts a delete of what is not there as a commit, and an empty commit as none', async () => {
      const { store } = await open();
      expect(await store.commit([])).toBe(0);
      expect(await store.commit([{ delete: 'a' }])).toBe(1);
      expect(await store.commit([])).toBe(1);
    });

    it('carries out the changes of a commit in their order', async () => {
      const { store } = await open();
      await store.commit([put('a', '1'), { delete: 'a' }, put('a', '2'), put('b'), { delete: 'b' }]);
      expect(store.get('a')?.value).toBe('2');
      expect(store.get('b')).toBeUndefined();
    });

    it('carries out the commits of one moment in their order', async () => {
      const { store } = await open();
      const revisions = await Promise.all(Array.from({ length: 50 }, (_, n) => store.commit([put('a', `${n}`)])));
      expect(revisions).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
      expect(store.get('a')?.value).toBe('49');
    });

    it.each([
      '',
      ' ',
      '..',
      '.',
      "'; DROP TABLE entries; --",
      '%',
      '_',
      '*',
      '\u0001',
      '\u{10ffff}',
      'ä',
      'a\u0308',
      '🜁',
      '\r\n',
      '\\',
    ])('keeps the odd text %j as key and value', async (odd) => {
      const { store } = await open();
      await store.commit([{ put: `k${odd}`, value: odd }]);
      expect(store.get(`k${odd}`)).toEqual({ key: `k${odd}`, value: odd, revision: 1 });
      expect(keysOf(store.list({ prefix: `k${odd}`, limit: 10 }))).toEqual([`k${odd}`]);
    });

    it('refuses what it could not give back as it was', async () => {
      const { store } = await open();
      const wrong = ['', 'a\0b', '\ud800', '\udc00a', 'x'.repeat(1025), '🜁'.repeat(257)];
      for (const key of wrong) {
        await expect(store.commit([put('good'), put(key, 'v')])).rejects.toThrow(RangeError);
        expect(store.get(key)).toBeUndefined();
      }
      await expect(store.commit([put('a', 'x\0')])).rejects.toThrow('the value of a');
      await expect(store.commit([put('a', 'x\ud800y')])).rejects.toThrow(RangeError);
      await expect(store.commit([{ ...put('a'), expiresAt: 1.5 }])).rejects.toThrow(RangeError);
      await expect(store.commit([put('a', 'x'.repeat(9 * 1024 * 1024))])).rejects.toThrow('8 Mi');
      expect(store.count('')).toBe(0);
      expect(store.revision).toBe(0);
    });

    it('keeps a value of 4 MiB', async () => {
      const { store } = await open();
      const value = 'ä'.repeat(2 * 1024 * 1024);
      await store.commit([put('big', value)]);
      expect(store.get('big')?.value === value).toBe(true);
    });
  });

  describe(`${name}: lists`, () => {
    it('orders keys by their UTF-8 bytes, characters beyond U+FFFF behind all others', async () => {
      const { store } = await open();
      const keys = ['\u{1f600}', '\uff5e', '\uffff', 'a', 'Z', 'ä', '\u{10000}', '\ud7ff', '\ue000', 'a\u0001', 'aa'];
      await store.commit(keys.map((key) => put(key)));
      const expected = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect(keysOf(store.list({ prefix: '', limit: 100 }))).toEqual(expected);
      expect(keysOf(store.list({ prefix: '', limit: 100, reverse: true }))).toEqual(expected.toReversed());
    });

    it('holds those with the prefix alone', async () => {
      const { store } = await open();
      const all = ['job', 'job/', 'job/1', 'job/2', 'job0', 'jobs', '\u{10ffff}', '\u{10ffff}a', '\ud7ff1', '\ue000'];
      await store.commit(all.map((key) => put(key)));
      expect(keysOf(store.list({ prefix: 'job/', limit: 10 }))).toEqual(['job/', 'job/1', 'job/2']);
      expect(keysOf(store.list({ prefix: '\u{10ffff}', limit: 10 }))).toEqual(['\u{10ffff}', '\u{10ffff}a']);
      expect(keysOf(store.list({ prefix: '\ud7ff', limit: 10 }))).toEqual(['\ud7ff1']);
      expect(store.list({ prefix: 'none', limit: 10 })).toEqual([]);
      expect(store.count('job')).toBe(6);
      expect(store.count('')).toBe(10);
    });

    it.each([false, true])(
      'pages with a cursor, whether the cursor still exists or not (reverse: %s)',
      async (reverse) => {
        const { store } = await open();
        const keys = Array.from({ length: 25 }, (_, n) => `p/${String(n).padStart(2, '0')}`);
        await store.commit([...keys, 'o', 'q'].map((key) => put(key)));
        const seen: string[] = [];
        for (let after: string | undefined; ;) {
          const page = keysOf(
            store.list({ prefix: 'p/', limit: 10, reverse, ...(after === undefined ? {} : { after }) }),
          );
          if (page.length === 0) break;
          seen.push(...page);
          after = page.at(-1) ?? '';
          await store.commit([{ delete: after }]);
        }
        expect(seen).toEqual(reverse ? keys.toReversed() : keys);
      },
    );

    it('takes a cursor outside of the prefix', async () => {
      const { store } = await open();
      await store.commit(['a', 'b1', 'b2', 'c'].map((key) => put(key)));
      const list = (after: string, reverse: boolean): string[] =>
        keysOf(store.list({ prefix: 'b', after, limit: 9, reverse }));
      expect([list('a', false), list('c', false)]).toEqual([['b1', 'b2'], []]);
      expect([list('a', true), list('c', true)]).toEqual([[], ['b2', 'b1']]);
    });

    it.each([false, true])('ends at its bytes of UTF-8, and gives one entry always (reverse: %s)', async (reverse) => {
      const { store } = await open();
      // 6 bytes each with their keys, and one of 102.
      await store.commit(['a1', 'a2', 'a3', 'a5'].map((key) => put(key, 'ää')));
      await store.commit([put('a4', 'x'.repeat(100))]);
      const list = (maxBytes: number, after?: string): string[] =>
        keysOf(store.list({ prefix: 'a', limit: 9, maxBytes, reverse, ...(after === undefined ? {} : { after }) }));
      const all = ['a1', 'a2', 'a3', 'a4', 'a5'];
      const inOrder = reverse ? all.toReversed() : all;
      expect(list(1000)).toEqual(inOrder);
      expect(list(1)).toEqual(inOrder.slice(0, 1));
      expect(list(reverse ? 107 : 11)).toEqual(inOrder.slice(0, 1));
      expect(list(reverse ? 108 : 12)).toEqual(inOrder.slice(0, 2));
      expect(list(10, reverse ? 'a5' : 'a3')).toEqual(['a4']);
      const seen: string[] = [];
      for (let page = list(12); page.length > 0; page = list(12, seen.at(-1))) seen.push(...page);
      expect(seen).toEqual(inOrder);
    });

    it('holds at most 4 MiB, however large its values are, and is not cut for good by them', async () => {
      const { store } = await open();
      const keys = Array.from({ length: 12 }, (_, n) => `big/${String(n).padStart(2, '0')}`);
      for (const key of keys) await store.commit([put(key, 'x'.repeat(1024 * 1024 - 6))]);
      expect(keysOf(store.list({ prefix: 'big/', limit: 1000 }))).toEqual(keys.slice(0, 4));
      // What was begun and left shows the next reader nothing old.
      await store.commit([{ delete: 'big/00' }]);
      expect(keysOf(store.list({ prefix: 'big/', limit: 2 }))).toEqual(keys.slice(1, 3));
      expect(Array.from(entriesOf(store, 'big/'), ({ key }) => key)).toEqual(keys.slice(1));
    });

    it('is read to its end, page by page', async () => {
      const { store } = await open();
      const keys = Array.from({ length: 2500 }, (_, n) => `k/${String(n).padStart(4, '0')}`);
      for (let at = 0; at < keys.length; at += 500) await store.commit(keys.slice(at, at + 500).map((key) => put(key)));
      expect(Array.from(entriesOf(store, 'k/'), ({ key }) => key)).toEqual(keys);
      expect([...entriesOf(store, 'none')]).toEqual([]);
    });

    it('refuses bounds that are none', async () => {
      const { store } = await open();
      for (const limit of [0, -1, 1001, 1.5, Number.NaN]) {
        expect(() => store.list({ prefix: '', limit })).toThrow(RangeError);
      }
      for (const maxBytes of [0, -1, 4 * 1024 * 1024 + 1, 1.5, Number.NaN]) {
        expect(() => store.list({ prefix: '', limit: 1, maxBytes })).toThrow(RangeError);
      }
      expect(() => store.list({ prefix: 'a\0', limit: 1 })).toThrow(RangeError);
    });
  });

  describe(`${name}: conditions`, () => {
    it('change a key only where it has the revision', async () => {
      const { store } = await open();
      await store.commit([{ ...put('a', '1'), ifRevision: 0 }]);
      await expect(store.commit([{ ...put('a', 'x'), ifRevision: 0 }])).rejects.toEqual(new StoreConflict('a', 1));
      await expect(store.commit([{ delete: 'a', ifRevision: 2 }])).rejects.toThrow(StoreConflict);
      expect(await store.commit([{ ...put('a', '2'), ifRevision: 1 }])).toBe(2);
      expect(await store.commit([{ delete: 'a', ifRevision: 2 }])).toBe(3);
      expect(await store.commit([{ delete: 'a', ifRevision: 0 }])).toBe(4);
      expect(store.get('a')).toBeUndefined();
    });

    it('that fail leave nothing of their commit, and no mark on the others of the same moment', async () => {
      const { store } = await open();
      const outcomes = await Promise.allSettled([
        store.commit([put('a', '1')]),
        store.commit([put('b'), put('c'), { ...put('a', 'x'), ifRevision: 0 }]),
        store.commit([put('d')]),
      ]);
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      expect(keysOf(store.list({ prefix: '', limit: 9 }))).toEqual(['a', 'd']);
      expect(store.revision).toBe(2);
    });

    it('are about what was there before the commit', async () => {
      const { store } = await open();
      await store.commit([put('a', '1'), { ...put('a', '2'), ifRevision: 0 }]);
      expect(store.get('a')?.value).toBe('2');
    });

    it('let one of many that race win', async () => {
      const { store } = await open();
      const races = await Promise.allSettled(
        Array.from({ length: 20 }, (_, n) => store.commit([{ ...put('lease', `${n}`), ifRevision: 0 }])),
      );
      expect(races.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      expect(store.get('lease')?.value).toBe('0');
    });
  });

  describe(`${name}: expiry`, () => {
    it('hides an entry from its time on, everywhere', async () => {
      const { store, clock } = await open();
      const expiresAt = clock.now() + 1000;
      await store.commit([{ ...put('a'), expiresAt }, put('b')]);
      expect(store.get('a')?.expiresAt).toBe(expiresAt);
      clock.advance(999);
      expect([store.count(''), store.list({ prefix: '', limit: 1 })[0]?.key]).toEqual([2, 'a']);
      clock.advance(1);
      expect(store.get('a')).toBeUndefined();
      expect([store.count(''), store.count('a'), store.count('b')]).toEqual([1, 0, 1]);
      expect(keysOf(store.list({ prefix: '', limit: 1 }))).toEqual(['b']);
    });

    it('makes an entry absent for conditions too', async () => {
      const { store, clock } = await open();
      await store.commit([{ ...put('a'), expiresAt: clock.now() + 10 }]);
      clock.advance(10);
      await expect(store.commit([{ ...put('a', 'x'), ifRevision: 1 }])).rejects.toEqual(new StoreConflict('a', 0));
      await store.commit([{ ...put('a', 'new'), ifRevision: 0 }]);
      expect(store.get('a')).toEqual({ key: 'a', value: 'new', revision: 2 });
    });

    it('goes with a put without expiry', async () => {
      const { store, clock } = await open();
      await store.commit([{ ...put('a'), expiresAt: clock.now() + 10 }]);
      await store.commit([put('a')]);
      clock.advance(10);
      expect(store.get('a')).toEqual({ key: 'a', value: 'a', revision: 2 });
    });
  });

  describeBeyond(name, open);

  describe(`${name}: end`, () => {
    it('writes what it accepted before it closes, and refuses what comes after', async () => {
      const { store } = await open();
      const early = [store.commit([put('a')]), store.commit([put('b')], { durability: 'later' })];
      const closing = store.close();
      await expect(store.commit([put('c')])).rejects.toThrow('closed');
      await closing;
      expect(await Promise.all(early)).toEqual([1, 2]);
      await store.close();
      expect(() => store.get('a')).toThrow();
    });
  });
};
