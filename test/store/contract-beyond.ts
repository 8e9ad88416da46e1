import { describe, expect, it } from 'vitest';

import { StoreOverBudget, type Change, type CommitOptions, type Store } from '../../src/store/store.ts';
import type { FakeClock } from '../helpers/clock.ts';
import { verifies } from '../requirements.ts';

const put = (key: string, value = key): { put: string; value: string } => ({ put: key, value });

/** What every store does beyond keeping keys and values: budgets, followers, time. */
export const describeBeyond = (name: string, open: () => Promise<{ store: Store; clock: FakeClock }>): void => {
  describe(`${name}: budgets`, () => {
    const of = (account: string, key: string, value: string): Change => ({ put: key, value, account });
    const hold = (accounts: string, maxBytes: number): CommitOptions => ({ within: [{ accounts, maxBytes }] });

    it('count the bytes of keys and values for each account, however they come and go', async () => {
      const { store, clock } = await open();
      await store.commit([of('x/a', 'k1', 'ää'), of('x/b', 'k2', '12'), put('k3', 'nobody')]);
      expect([store.usage('x/a'), store.usage('x/b'), store.usage('x/'), store.usage('y')]).toEqual([
        { entries: 1, bytes: 6 },
        { entries: 1, bytes: 4 },
        { entries: 2, bytes: 10 },
        { entries: 0, bytes: 0 },
      ]);
      await store.commit([of('x/b', 'k1', '1'), { delete: 'k2' }, of('x/a', 'k3', ''), of('x/a', 'k3', '123')]);
      expect([store.usage('x/a'), store.usage('x/b')]).toEqual([
        { entries: 1, bytes: 5 },
        { entries: 1, bytes: 3 },
      ]);
      await store.commit([put('k1'), { ...of('x/a', 'k3', '1'), expiresAt: clock.now() + 10 }]);
      expect(store.usage('x/')).toEqual({ entries: 1, bytes: 3 });
      await store.commit([of('x/a', 'gone', '1'), { delete: 'gone' }]);
      expect(store.usage('x/')).toEqual({ entries: 1, bytes: 3 });
    });

    it('refuse what would make them more, whole, and no change that makes them less', async () => {
      const { store } = await open();
      await store.commit([of('x/a', 'k1', '12345678')], hold('x/', 10));
      await expect(store.commit([put('k2'), of('x/b', 'k3', '')], hold('x/', 11))).rejects.toEqual(
        new StoreOverBudget({ accounts: 'x/', maxBytes: 11 }, 10),
      );
      expect([store.count(''), store.revision, store.usage('x/').bytes]).toEqual([1, 1, 10]);
      expect(await store.commit([of('x/b', 'k3', '')], hold('x/', 12))).toBe(2);
      // A budget that was made smaller keeps nobody from giving back.
      expect(await store.commit([of('x/a', 'k1', '1234')], hold('x/', 1))).toBe(3);
      expect(await store.commit([of('x/a', 'k1', '4321')], hold('x/', 1))).toBe(4);
      await expect(store.commit([of('x/a', 'k1', '54321')], hold('x/', 1))).rejects.toThrow(StoreOverBudget);
      expect(await store.commit([{ delete: 'k1' }], hold('x/', 0))).toBe(5);
    });

    it('hold for commits of one moment, too', async () => {
      const { store } = await open();
      const outcomes = await Promise.allSettled(
        Array.from({ length: 10 }, (_, n) => store.commit([of('x/a', `k${n}`, '12')], hold('x/', 12))),
      );
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
      expect(store.usage('x/')).toEqual({ entries: 3, bytes: 12 });
    });
  });

  describe(`${name}: followers`, () => {
    const seenBy = (store: Store, prefix: string): unknown[][] => {
      const seen: unknown[][] = [];
      store.follow(prefix, ({ key, revision, entry, expired, isLast }) => {
        seen.push([key, revision, expired ? 'expired' : entry?.value, isLast]);
      });
      return seen;
    };

    it('hear of each change in its order, before its commit resolves', async () => {
      const { store } = await open();
      const seen = seenBy(store, 'a');
      await Promise.allSettled([
        store.commit([put('a1'), put('b'), put('a2')]),
        store.commit([{ ...put('a1', 'x'), ifRevision: 0 }]),
        store.commit([{ delete: 'a1' }]).then(() => seen.push(['resolved'])),
      ]);
      expect(seen).toEqual([['a1', 1, 'a1', false], ['a2', 1, 'a2', true], ['a1', 2, undefined, true], ['resolved']]);
    });

    it('hear of what has expired, once, with a revision of its own, and that what replaced it is there', async () => {
      const { store, clock } = await open();
      const seen = seenBy(store, 'a');
      await store.commit([
        { ...put('a1'), expiresAt: clock.now() + 1000 },
        { ...put('a2'), expiresAt: clock.now() + 1000 },
      ]);
      await store.commit([{ ...put('a2', 'later'), expiresAt: clock.now() + 100_000 }]);
      clock.advance(1000);
      for (let turn = 0; seen.length < 4 && turn < 1000; turn += 1) {
        await new Promise((resolve) => setTimeout(resolve, 2));
        clock.advance(1);
      }
      expect(seen.slice(2)).toEqual([
        ['a2', 2, 'later', true],
        ['a1', 3, 'expired', true],
      ]);
      expect(store.revision).toBe(3);
    });
  });

  describe(`${name}: time`, () => {
    it(verifies('store.steady-time', 'goes on evenly, wherever the wall clock is set to'), async () => {
      const { store, clock } = await open();
      const begin = store.now();
      await store.commit([{ ...put('a'), expiresAt: begin + 1000 }]);
      clock.jump(-86_400_000);
      clock.advance(999);
      expect([store.now(), store.get('a')?.value]).toEqual([begin + 999, 'a']);
      clock.jump(2 * 86_400_000);
      expect(store.get('a')?.value).toBe('a');
      clock.advance(1);
      expect(store.get('a')).toBeUndefined();
    });

    it('goes on in the sleep of the machine', async () => {
      const { store, clock } = await open();
      await store.commit([{ ...put('a'), expiresAt: store.now() + 3_600_000 }]);
      clock.sleep(3_600_000);
      clock.advance(10_000);
      expect(store.get('a')).toBeUndefined();
    });
  });
};
