import { describe, expect, it } from 'vitest';

import type { Call, StreamSource } from '../../../src/daemon/edge/call.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import type { Store } from '../../../src/store/store.ts';
import { verifies } from '../../requirements.ts';
import { allOf, callBy, deskOf, type Desk, KAI, MARIA, nextOf, OWNER } from './desk.ts';

const ME = callBy(OWNER);
const LARGE = { maxBytes: 1e9, maxBytesPerPeer: 1e9 };

const setAll = async ({ context }: Desk, keys: readonly string[], call: Call = ME): Promise<void> => {
  await Promise.all(keys.map((key) => context.set({ key, value: key }, call)));
};

describe('a watch', () => {
  it(verifies('context.watch', 'begins with how things are, and goes on with each change in its order'), async () => {
    const desk = await deskOf();
    const { context, clock } = desk;
    await setAll(desk, ['a/1', 'b/1', 'a/2']);
    const source = context.watch({ prefix: 'a/' }, ME);
    expect(await allOf(source)).toEqual(['snapshot', 'set a/1=a/1', 'set a/2=a/2', 'ready']);
    await context.set({ key: 'a/3', value: 'x', ttl: 1 }, ME);
    await context.set({ key: 'b/2', value: 'x' }, ME);
    await context.delete({ key: 'a/1' });
    clock.advance(1000);
    expect(await allOf(source)).toEqual(['set a/3=x', 'delete a/1', 'expire a/3']);
    source.close();
  });

  it('tells nothing older of a key than its picture shows: the disk has what is not told yet', async () => {
    // As it is with a file: another thread has committed both changes, this one has not heard of them.
    const untold: (() => void)[] = [];
    let isBehind = false;
    const desk = await deskOf(LARGE, (clock) => {
      const store = openMemoryStore({ clock });
      const follow: Store['follow'] = (prefix, told) =>
        store.follow(prefix, (seen) => void (isBehind ? untold.push(() => told(seen)) : told(seen)));
      return new Proxy(store, {
        get: (target, field) => {
          if (field === 'revision') return target.revision - untold.length;
          if (field === 'follow') return follow;
          const value: unknown = Reflect.get(target, field);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      });
    });
    isBehind = true;
    for (const value of ['1', '2']) await desk.context.set({ key: 'a', value }, ME);
    const source = desk.context.watch({}, ME);
    expect(await allOf(source)).toEqual(['snapshot', 'set a=2', 'ready']);
    for (const tell of untold.splice(0)) tell();
    expect(await allOf(source)).toEqual([]);
  });

  it('of one key hears of that key alone', async () => {
    const desk = await deskOf();
    await setAll(desk, ['a', 'ab']);
    const source = desk.context.watch({ key: 'a' }, ME);
    expect(await allOf(source)).toEqual(['snapshot', 'set a=a', 'ready']);
    await setAll(desk, ['ab', 'a', 'b']);
    expect(await allOf(source)).toEqual(['set a=a']);
    expect(await allOf(desk.context.watch({ key: 'none' }, ME))).toEqual(['snapshot', 'ready']);
  });

  it(
    verifies('context.watch-resume', 'goes on behind a cursor, with everything that was missed and nothing twice'),
    async () => {
      const desk = await deskOf();
      const { context } = desk;
      await setAll(desk, ['a', 'b']);
      const first = context.watch({}, ME);
      let cursor = 0;
      for (let event = await nextOf(first); event !== undefined; event = await nextOf(first)) ({ cursor } = event);
      expect(cursor).toBe(2);
      first.close();
      await setAll(desk, ['c', 'b']);
      await context.delete({ key: 'a' });
      const second = context.watch({ since: cursor }, ME);
      expect(await allOf(second)).toEqual(['set c=c', 'set b=b', 'delete a']);
      expect(await allOf(context.watch({ since: 5 }, ME))).toEqual([]);
    },
  );

  it(
    verifies('context.watch-compacted', 'says so where what was missed is not kept any more, and shows how things are'),
    async () => {
      const desk = await deskOf(LARGE);
      await setAll(desk, ['a']);
      for (let at = 0; at < 9000; at += 1000)
        await setAll(
          desk,
          Array.from({ length: 1000 }, (_, n) => `k${(at + n) % 10}`),
        );
      const words = await allOf(desk.context.watch({ since: 1 }, ME));
      expect(words.slice(0, 3)).toEqual(['compacted', 'snapshot', 'set a=a']);
      expect(words.at(-1)).toBe('ready');
      // Of a store that was made anew, or a clock that is ahead.
      expect((await allOf(desk.context.watch({ since: 1_000_000 }, ME))).slice(0, 2)).toEqual([
        'compacted',
        'snapshot',
      ]);
    },
  );

  it(
    verifies('context.watch-slow', 'that is not read costs the writer nothing, and misses nothing that is kept'),
    async () => {
      const desk = await deskOf(LARGE);
      const source = desk.context.watch({}, ME);
      expect(await allOf(source)).toEqual(['snapshot', 'ready']);
      const keys = Array.from({ length: 3000 }, (_, at) => `k${at}`);
      for (let at = 0; at < keys.length; at += 500) await setAll(desk, keys.slice(at, at + 500));
      expect(await allOf(source)).toEqual(keys.map((key) => `set ${key}=${key}`));
      for (let at = 0; at < 10_000; at += 1000)
        await setAll(
          desk,
          Array.from({ length: 1000 }, (_, n) => `again ${(at + n) % 5}`),
        );
      const words = await allOf(source);
      expect(words).toContain('compacted');
      expect(words.at(-1)).toBe('ready');
    },
  );

  it(
    verifies('context.watch-in-hand', 'holds back what is large while the caller’s other readers take nothing'),
    async () => {
      const desk = await deskOf(LARGE);
      const { context } = desk;
      for (const key of ['a', 'b', 'c']) await context.set({ key, value: key.repeat(1_000_000) }, ME);
      const sources = Array.from({ length: 60 }, () => context.watch({}, callBy(KAI)));
      const began = await Promise.all(sources.map((source) => nextOf(source)));
      expect(new Set(began.map((event) => event?.type))).toEqual(new Set(['snapshot']));
      const told = await Promise.all(sources.map((source) => nextOf(source)));
      const held = told.filter((event) => event?.type === 'set').length;
      expect(held).toBeGreaterThan(4);
      expect(held).toBeLessThanOrEqual(16);
      // Whoever else reads is told at once.
      expect((await allOf(context.watch({}, callBy(MARIA)))).length).toBe(5);
      // What was held back comes when others have read, or have gone.
      const [first, second, ...rest] = sources;
      expect(await allOf(first ?? context.watch({}, ME))).toHaveLength(told[0] === undefined ? 4 : 3);
      second?.close();
      const untilReady = async (source: StreamSource): Promise<void> => {
        for (let type: string | undefined; type !== 'ready';) type = (await nextOf(source))?.type;
        source.close();
      };
      await Promise.all(rest.map(untilReady));
    },
  );

  it(verifies('context.watch-slow', 'that is not read keeps no change that others do not have'), async () => {
    const desk = await deskOf(LARGE);
    const { context } = desk;
    const sources = Array.from({ length: 4 }, () => context.watch({ prefix: 'w' }, ME));
    for (const source of sources) expect(await allOf(source)).toEqual(['snapshot', 'ready']);
    for (let at = 0; at < 40; at += 1) await context.set({ key: 'w', value: `${at} `.repeat(250_000) }, ME);
    for (const source of sources) {
      const event = await nextOf(source);
      expect(event?.type).toBe('set');
      expect((await nextOf(source))?.type).toBe('compacted');
    }
  });

  it('of a large context shows no key as it was before, whatever changes while it is read', async () => {
    const desk = await deskOf(LARGE);
    const { context } = desk;
    const keys = Array.from({ length: 1000 }, (_, at) => `k${String(at).padStart(4, '0')}`);
    await setAll(desk, keys);
    const source = context.watch({}, ME);
    const state = new Map<string, { value: string; revision: number }>();
    let count = 0;
    for (let event = await nextOf(source); event !== undefined; event = await nextOf(source)) {
      if (event.type === 'delete') state.delete(event.key);
      if (event.type === 'set') {
        const { key, value, revision } = event.entry;
        expect(revision, key).toBeGreaterThan(state.get(key)?.revision ?? 0);
        state.set(key, { value, revision });
      }
      count += 1;
      if (count % 7 === 0 && count < 900) {
        await context.set({ key: keys[(count * 13) % 1000] ?? '', value: `new ${count}` }, ME);
        await context.delete({ key: keys[999 - count] ?? '' }).catch(() => undefined);
      }
    }
    const there = new Map<string, string>();
    for (let cursor: string | undefined; ;) {
      const page = context.list({ limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
      for (const { key, value } of page.entries) there.set(key, value);
      if (page.nextCursor === undefined) break;
      cursor = page.nextCursor;
    }
    expect(new Map([...state].map(([key, { value }]) => [key, value]))).toEqual(there);
  });

  it('ends with its reader, and with the node', async () => {
    const { context } = await deskOf();
    const source = context.watch({}, ME);
    expect(await allOf(source)).toEqual(['snapshot', 'ready']);
    const waiting = source.next();
    await context.stop();
    expect(await waiting).toBeUndefined();
  });

  it(verifies('attack.shares', 'of a peer is one of so many, and the owner’s are others'), async () => {
    const { context } = await deskOf();
    const sources = Array.from({ length: 256 }, () => context.watch({}, callBy(KAI)));
    expect(() => context.watch({}, callBy(KAI))).toThrow('256 watches of the context');
    context.watch({}, ME).close();
    sources[0]?.close();
    context.watch({}, callBy(KAI));
  });
});
