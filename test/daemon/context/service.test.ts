import { describe, expect, it } from 'vitest';

import { contextSetSchema } from '../../../src/protocol/context.ts';
import { utf8Length } from '../../../src/protocol/text.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import { verifies } from '../../requirements.ts';
import { callBy, CLAUDE, deskOf, HERE, KAI, MARIA, OWNER } from './desk.ts';

const ME = callBy(OWNER);

describe('an entry', () => {
  it(verifies('context.entry', 'says what it is, who wrote it and when, and which change it was'), async () => {
    const { context, clock } = await deskOf();
    const set = await context.set({ key: 'a', value: 'one' }, ME);
    expect(set).toMatchObject({ key: 'a', value: 'one', fromNodeId: HERE, createdAt: clock.now(), revision: 1 });
    clock.advance(1000);
    const again = await context.set({ key: 'a', value: 'two', ttl: 60 }, callBy(CLAUDE));
    expect(again).toMatchObject({
      agent: 'claude',
      createdAt: set.createdAt,
      updatedAt: clock.now(),
      ttl: 60,
      revision: 2,
    });
    expect(context.get({ key: 'a' })).toEqual({ ...again, expiresAt: clock.now() + 60_000 });
    await context.set({ key: 'b', value: '' }, callBy(KAI, 'agent:codex'));
    expect(context.get({ key: 'b' })).toMatchObject({ fromNodeId: 'k'.repeat(32), agent: 'codex', value: '' });
    await context.set({ key: 'b', value: '' }, callBy(KAI, 'owner'));
    expect(context.get({ key: 'b' }).agent).toBeUndefined();
  });

  it('holds any text, and its key any but a NUL', async () => {
    const { context } = await deskOf();
    for (const text of ['\0', '\ud800', '"\\\n\u2028', '👋 東京', '__proto__', 'x'.repeat(512)]) {
      await context.set({ key: 'any', value: text }, ME);
      expect(context.get({ key: 'any' }).value).toBe(text);
    }
    for (const key of ['..', '/', '%2e', '👋'.repeat(128), '__proto__', ' ', 'a\u202eb']) {
      await context.set({ key, value: key }, ME);
      expect(context.get({ key }).value).toBe(key);
    }
  });

  it.each([
    [{ key: '', value: 'x' }, 'key'],
    [{ key: 'a\0b', value: 'x' }, 'key'],
    [{ key: '\ud800', value: 'x' }, 'key'],
    [{ key: 'ä'.repeat(257), value: 'x' }, 'key'],
    [{ key: 'a', value: 7 }, 'value'],
    [{ key: 'a' }, 'value'],
    [{ key: 'a', value: 'x', ttl: 0 }, 'ttl'],
    [{ key: 'a', value: 'x', ttl: -1 }, 'ttl'],
    [{ key: 'a', value: 'x', ttl: 'soon' }, 'ttl'],
    [{ key: 'a', value: 'x', ttl: 1.5 }, 'ttl'],
    [{ key: 'a', value: 'x', ifRevision: -1 }, 'ifRevision'],
  ])('%j is refused for its %s', (input, field) => {
    const { error } = contextSetSchema.safeParse(input);
    expect(error?.issues.map(({ path }) => path[0])).toContain(field);
  });

  it('has a key as long as its bytes', () => {
    for (const text of ['', 'a', 'ä', '€', '👋', '\ud800', 'x👋\udc00y', 'a\ud83d'])
      expect(utf8Length(text)).toBe(Buffer.byteLength(text));
  });

  it('of more than 1 MiB is refused, and one of 1 MiB is not', async () => {
    const { context } = await deskOf({ maxBytes: 4_000_000, maxBytesPerPeer: 4_000_000 });
    await context.set({ key: 'a', value: 'ä'.repeat(524_288) }, ME);
    await expect(context.set({ key: 'a', value: `${'ä'.repeat(524_288)}x` }, ME)).rejects.toMatchObject({
      error: 'context_too_large',
      details: { bytes: 1_048_577 },
    });
    expect(context.get({ key: 'a' }).value).toHaveLength(524_288);
  });
});

describe('a condition', () => {
  it(verifies('context.if-revision', 'lets a change through only where the entry has that revision'), async () => {
    const { context } = await deskOf();
    await context.set({ key: 'a', value: '1', ifRevision: 0 }, ME);
    const wrong = { error: 'context_conflict', details: { key: 'a', revision: 1 } };
    await expect(context.set({ key: 'a', value: 'x', ifRevision: 0 }, ME)).rejects.toMatchObject(wrong);
    await expect(context.set({ key: 'a', value: 'x', ifRevision: 7 }, ME)).rejects.toMatchObject(wrong);
    await expect(context.delete({ key: 'a', ifRevision: 7 })).rejects.toMatchObject(wrong);
    expect(await context.set({ key: 'a', value: '2', ifRevision: 1 }, ME)).toMatchObject({ revision: 2 });
    expect(await context.delete({ key: 'a', ifRevision: 2 })).toEqual({ success: true, key: 'a', revision: 3 });
    await expect(context.set({ key: 'a', value: 'x', ifRevision: 2 }, ME)).rejects.toMatchObject({
      message: '"a" is not there any more: it does not have revision 2',
    });
  });

  it('lets one of many that race win', async () => {
    const { context } = await deskOf();
    const races = await Promise.allSettled(
      Array.from({ length: 20 }, (_, at) => context.set({ key: 'a', value: `${at}`, ifRevision: 0 }, ME)),
    );
    expect(races.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });
});

describe('what is not there', () => {
  it('is said with its key', async () => {
    const { context } = await deskOf();
    expect(() => context.get({ key: 'x' })).toThrow('there is no key "x"');
    await expect(context.delete({ key: 'x' })).rejects.toMatchObject({ error: 'context_not_found' });
  });
});

describe('a time to live', () => {
  it(verifies('context.ttl', 'ends in its time, whatever the clock is set to, and is shown by the clock'), async () => {
    const { context, clock } = await deskOf();
    const { expiresAt } = await context.set({ key: 'a', value: '1', ttl: 60 }, ME);
    expect(expiresAt).toBe(clock.now() + 60_000);
    clock.jump(-86_400_000);
    expect(context.get({ key: 'a' }).expiresAt).toBe(clock.now() + 60_000);
    clock.advance(59_999);
    expect(context.get({ key: 'a' }).value).toBe('1');
    clock.jump(2 * 86_400_000);
    expect(context.get({ key: 'a' }).value).toBe('1');
    clock.advance(1);
    expect(() => context.get({ key: 'a' })).toThrow('no key');
    expect(context.entries).toBe(0);
  });
});

describe('a list', () => {
  it(verifies('context.list', 'is in the order of the keys, by prefix, page by page, with an end'), async () => {
    const { context } = await deskOf();
    for (const key of ['b/2', 'a', 'b/1', 'b/10', 'c']) await context.set({ key, value: key }, ME);
    const keys = (prefix: string, limit: number): string[][] => {
      const pages: string[][] = [];
      for (let cursor: string | undefined; ;) {
        const page = context.list({ prefix, limit, ...(cursor === undefined ? {} : { cursor }) });
        pages.push(page.entries.map(({ key }) => key));
        if (page.nextCursor === undefined) return pages;
        cursor = page.nextCursor;
      }
    };
    expect(keys('', 10).flat()).toEqual(['a', 'b/1', 'b/10', 'b/2', 'c']);
    expect(keys('b/', 2)).toEqual([['b/1', 'b/10'], ['b/2'], []]);
    expect(keys('none', 2)).toEqual([[]]);
  });

  it('holds no more than an answer may, however large its values are', async () => {
    const { context } = await deskOf({ maxBytes: 1e8, maxBytesPerPeer: 1e8 });
    for (let at = 0; at < 6; at += 1) await context.set({ key: `k${at}`, value: '"'.repeat(1_000_000) }, ME);
    const page = context.list({ limit: 1000 });
    expect(page.entries.map(({ key }) => key)).toEqual(['k0', 'k1']);
    expect(page.nextCursor).toBe('k1');
    expect(context.list({ limit: 1000, cursor: 'k4' }).entries).toHaveLength(1);
  });
});

describe('the budget', () => {
  it(
    verifies('context.budget', 'is for all, and within it each peer has its own; what is full says whose and why'),
    async () => {
      const { context, store } = await deskOf({ maxBytes: 3000, maxBytesPerPeer: 1500 });
      const value = 'x'.repeat(1000);
      await context.set({ key: 'kai', value }, callBy(KAI));
      await expect(context.set({ key: 'kai 2', value }, callBy(KAI))).rejects.toMatchObject({
        error: 'context_full',
        details: { key: 'context.maxBytesPerPeer', most: 1500 },
        hint: expect.stringMatching(/can raise context\.maxBytesPerPeer$/),
      });
      await context.set({ key: 'maria', value }, callBy(MARIA));
      await expect(context.set({ key: 'mine', value }, ME)).rejects.toMatchObject({
        error: 'context_full',
        message: expect.stringContaining('of 3000 bytes (context.maxBytes)'),
        hint: expect.stringMatching(/can raise context\.maxBytes$/),
      });
      expect(() => context.get({ key: 'mine' })).toThrow('no key');
      // What makes room goes on: a smaller value, and a delete.
      await context.set({ key: 'kai', value: 'small' }, callBy(KAI));
      await context.delete({ key: 'maria' });
      await context.set({ key: 'mine', value }, ME);
      expect(store.usage('ctx/').entries).toBe(2);
    },
  );

  it('counts for whoever wrote it last', async () => {
    const { context } = await deskOf({ maxBytes: 10_000, maxBytesPerPeer: 1500 });
    const value = 'x'.repeat(1000);
    await context.set({ key: 'a', value }, callBy(KAI));
    await context.set({ key: 'a', value }, callBy(MARIA));
    await context.set({ key: 'b', value }, callBy(KAI));
    await expect(context.set({ key: 'c', value }, callBy(MARIA))).rejects.toMatchObject({ error: 'context_full' });
  });

  it('of a named key is its own, too', async () => {
    const { context } = await deskOf({ maxBytes: 10_000, maxBytesPerPeer: 1500 });
    const value = 'x'.repeat(1000);
    const key = (name: string) => callBy({ kind: 'key', name, grant: grantOfLevel('full') });
    for (const name of ['ci', 'ci2']) {
      await context.set({ key: name, value }, key(name));
      await expect(context.set({ key: `${name} 2`, value }, key(name))).rejects.toMatchObject({
        error: 'context_full',
      });
    }
    await context.set({ key: 'mine', value: 'x'.repeat(5000) }, ME);
  });
});

describe('each change', () => {
  it(verifies('context.events', 'is told on the bus, without its value'), async () => {
    const { context, clock, events } = await deskOf();
    await context.set({ key: 'a', value: 'secret', ttl: 1 }, callBy(KAI, 'agent:codex'));
    clock.advance(1000);
    await context.set({ key: 'b', value: 'secret' }, ME);
    await context.delete({ key: 'b' });
    expect(events.map((event) => (event.type === 'context.changed' ? `${event.change} ${event.key}` : ''))).toEqual([
      'set a',
      'expired a',
      'set b',
      'deleted b',
    ]);
    expect(events[0]).toMatchObject({ fromNodeId: 'k'.repeat(32), agent: 'codex', revision: 1 });
    expect(JSON.stringify(events)).not.toContain('secret');
  });
});
