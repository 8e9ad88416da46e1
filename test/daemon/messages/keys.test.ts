import { describe, expect, it } from 'vitest';

import { messageDeliverSchema } from '../../../src/protocol/messages.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import { verifies } from '../../requirements.ts';
import { callBy, CI, type Desk, OWNER, peer, settle, twoDesks } from './desk.ts';

const FREE = { perMinute: 100_000, loopGuard: false };
const TEXT = 'x'.repeat(1000);
const key = (name: string): Caller => ({ kind: 'key', name, grant: grantOfLevel('collaborate', 'all') });

const fill = async (desk: Desk, to: string, { by, body = 'x' }: { by: Caller; body?: string }): Promise<string[]> => {
  const ids: string[] = [];
  for (;;) {
    const id = await desk.send(to, body, {}, by).catch(() => undefined);
    if (id === undefined) return ids;
    ids.push(id);
    await settle();
  }
};

describe('an attack with a named key', () => {
  it(verifies('message.identity', 'that speaks as the owner: both sides see that the key wrote it'), async () => {
    const { kai, maria } = await twoDesks();
    const id = await kai.send('maria', 'wire the money', {}, CI);
    const own = await kai.send('maria', 'good morning');
    const here = await kai.send('#codex', 'wire the money', {}, CI);
    await settle();
    expect(maria.waiting()).toMatchObject([
      { id, from: 'kai', by: 'key:ci' },
      { id: own, from: 'kai' },
    ]);
    expect(maria.waiting()[1]?.by).toBeUndefined();
    expect(kai.messages.show({ id }, callBy(OWNER)).by).toBe('key:ci');
    expect(kai.waiting(OWNER, 'codex')).toMatchObject([{ id: here, by: 'key:ci' }]);
    const received = maria.events.filter((event) => event.type === 'message.received').map(({ message }) => message);
    expect(received).toMatchObject([{ id, by: 'key:ci' }, { id: own }]);
    // A reply goes where it went before, and is nobody's but its writer's.
    const reply = await maria.send(undefined, 'no', { replyTo: id });
    await settle();
    expect(kai.waiting()).toMatchObject([{ id: reply, to: 'kai' }]);
    expect(kai.waiting()[0]?.by).toBeUndefined();
  });

  it('that uses up the minute of the owner: each has its own, on both nodes', async () => {
    const { kai, maria } = await twoDesks({ perMinute: 10, loopGuard: false });
    for (const by of [key('a'), key('ab'), OWNER]) {
      const ids = await fill(kai, 'maria', { by });
      expect(ids.length).toBe(10);
      expect(new Set(ids.map((id) => kai.state(id)))).toEqual(new Set(['delivered']));
    }
    await kai.restart();
    await expect(kai.send('maria', 'x', {}, key('a'))).rejects.toMatchObject({ details: { why: 'rate' } });
    expect(maria.messages.unread).toBe(30);
  });

  it('that writes too much to somebody: the owner need not rest, nor who writes to the owner', async () => {
    const { kai, maria } = await twoDesks();
    expect((await fill(kai, 'maria', { by: CI })).length).toBe(20);
    await settle();
    const id = await kai.send('maria', 'x');
    await maria.send('kai', 'x');
    await settle();
    expect(kai.state(id)).toBe('delivered');
    for (const { events } of [kai, maria]) expect(events.some(({ type }) => type === 'message.rest')).toBe(false);
  });

  it('over a node that does not guard: the owner there need not rest', async () => {
    const { kai, maria } = await twoDesks();
    kai.settings = { ...kai.settings, loopGuard: false };
    const ids: string[] = [];
    for (let n = 0; n < 30; n += 1) ids.push(await kai.send('maria', 'x', {}, CI));
    await settle();
    expect(ids.filter((id) => kai.state(id) === 'refused').length).toBe(10);
    kai.settings = { ...kai.settings, loopGuard: true };
    const own = await kai.send('maria', 'x');
    await maria.send('kai', 'x');
    await settle();
    expect(kai.state(own)).toBe('delivered');
  });

  it(verifies('message.full', 'that fills the boxes: half of them is left to the owner, all of it'), async () => {
    const { kai, maria } = await twoDesks({ ...FREE, maxBytes: 80_000 });
    const boxes = { out: 0, in: 0 };
    for (const side of ['out', 'in'] as const) {
      kai.way.online = side === 'in';
      if (side === 'in') kai.settings = { ...kai.settings, maxBytes: 10_000_000 };
      const counts = [];
      for (const name of ['a', 'ab', 'b', 'c']) {
        let arrived = 0;
        for (let n = 0; n < 30; n += 1) {
          const id = await kai.send('maria', TEXT, {}, key(name)).catch(() => undefined);
          await settle();
          if (id !== undefined && kai.state(id) !== 'refused') arrived += 1;
        }
        counts.push(arrived);
      }
      expect(counts[0]).toBeGreaterThan(4);
      expect(counts[0]).toBeLessThanOrEqual(10);
      expect(counts[1]).toBeGreaterThan(4);
      expect(counts.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(20);
      let arrived = 0;
      for (let n = 0; n < 15; n += 1) {
        const id = await kai.send('maria', TEXT);
        await settle();
        if (kai.state(id) !== 'refused') arrived += 1;
      }
      boxes[side] = arrived;
      if (side === 'out') {
        for (const { id } of kai.messages.list({ box: 'outbox', limit: 100 }, callBy(OWNER)).messages)
          await kai.messages.cancel({ id }, callBy(OWNER));
      }
    }
    expect(boxes).toEqual({ out: 15, in: 15 });
    expect(maria.messages.unread).toBeGreaterThan(15);
  });

  it('gets room made of what its keys have sent, and of what the owner has', async () => {
    const { kai, maria } = await twoDesks({ ...FREE, maxBytes: 80_000 });
    kai.settings = { ...kai.settings, maxBytes: 10_000_000 };
    for (let n = 0; n < 60; n += 1) {
      const id = await kai.send('maria', TEXT, {}, n % 2 === 0 ? key('a') : OWNER);
      await settle();
      expect(kai.state(id)).toBe('delivered');
      await maria.take(id);
    }
    expect(maria.store.usage('mail/in/').bytes).toBeLessThanOrEqual(80_000);
  });

  it('is no name that a peer can give to anything else', async () => {
    const { maria, kai } = await twoDesks();
    const message = {
      id: `${'0'.repeat(25)}1`,
      ts: 1,
      type: 'chat',
      body: 'x',
      hops: 0,
      ageMs: 0,
      leftMs: 1000,
    } as const;
    const batch = (by: string) => ({ epoch: 'e'.repeat(32), messages: [{ ...message, by }] });
    for (const by of ['owner', 'key:', 'key:a/b', 'agent:claude', 'key:a\n'])
      expect(messageDeliverSchema.safeParse(batch(by)).success).toBe(false);
    const parsed = messageDeliverSchema.parse(batch('key:a.b-C_d'));
    expect(await maria.messages.deliver(parsed, callBy(peer(kai.nodeId)))).toEqual({ results: [{ id: message.id }] });
    expect(maria.waiting()).toMatchObject([{ by: 'key:a.b-C_d' }]);
  });
});
