import { describe, expect, it } from 'vitest';

import { Guards } from '../../../src/daemon/messages/guards.ts';
import { verifies } from '../../requirements.ts';
import { agent, DEFAULTS, type Desk, settle, twoDesks } from './desk.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;

const guardsOf = (): Guards => new Guards(() => ({ perMinute: 1000, maxChain: 3, loopGuard: true }));
const came = (at: number, ageMs: number) => ({
  from: 'a',
  to: 'b',
  at,
  ageMs,
  sentAt: at - ageMs,
  length: 10,
  hops: 0,
});

/** Sends until a guard says no. @returns what was accepted. */
const sendUntilStopped = async (desk: Desk, to: string, most = 100): Promise<string[]> => {
  const ids: string[] = [];
  while (ids.length < most) {
    const id = await desk.send(to, 'x').catch(() => undefined);
    if (id === undefined) break;
    ids.push(id);
  }
  return ids;
};

const statesOf = (desk: Desk, ids: readonly string[]): Set<string> => new Set(ids.map((id) => desk.state(id)));

describe('what a node that guards has let out', () => {
  it(verifies('message.guards', 'is taken, where it had been sent before a rest began'), async () => {
    const { kai, maria, clock } = await twoDesks();
    kai.way.online = false;
    const ids = await sendUntilStopped(kai, 'maria');
    expect(ids.length).toBe(20);
    clock.advance(1000);
    kai.way.online = true;
    kai.messages.contact(maria.nodeId);
    await settle();
    expect(statesOf(kai, ids)).toEqual(new Set(['delivered']));
  });

  it('is taken on both sides, where both were away in turn and wrote too much together', async () => {
    const { kai, maria } = await twoDesks();
    for (const { way } of [kai, maria]) way.online = false;
    const one = await kai.send('maria', 'x');
    const many = await sendUntilStopped(maria, 'kai', 20);
    expect(many.length).toBe(20);
    for (const { way } of [kai, maria]) way.online = true;
    maria.messages.contact(kai.nodeId);
    await settle();
    kai.messages.contact(maria.nodeId);
    await settle();
    expect(statesOf(maria, many)).toEqual(new Set(['delivered']));
    expect(kai.state(one)).toBe('delivered');
    // And both rest now.
    for (const { events } of [kai, maria]) expect(events.some(({ type }) => type === 'message.rest')).toBe(true);
    await expect(kai.send('maria', 'x')).rejects.toMatchObject({ error: 'message_loop' });
  });

  it('is taken however old it is, whatever rests now, and is not counted with what is new', () => {
    const guards = guardsOf();
    guards.rest('b', 'a', { at: DAY_MS, untilMs: DAY_MS + 5 * MINUTE_MS });
    expect(guards.take(came(DAY_MS, DAY_MS))).toEqual({});
    const other = guardsOf();
    for (let n = 0; n < 20; n += 1)
      expect(other.pass({ from: 'b', to: 'a', at: DAY_MS + n, length: 10, hops: 0 })).toBeUndefined();
    expect(other.take(came(DAY_MS + 20, DAY_MS))).toEqual({});
    expect(other.take(came(DAY_MS + 20, MINUTE_MS))).toEqual({ restMs: 5 * MINUTE_MS });
  });

  it('is taken in spite of a rest that its sender could not know of', () => {
    const guards = guardsOf();
    for (let n = 0; n < 10; n += 1) expect(guards.take(came(n * 2, 0))).toEqual({});
    for (let n = 0; n < 10; n += 1)
      expect(guards.pass({ from: 'b', to: 'a', at: 21, length: 10, hops: 0 })).toBeUndefined();
    expect(guards.pass({ from: 'b', to: 'a', at: 22, length: 10, hops: 0 })).toMatchObject({ begins: true });
    for (let n = 0; n < 10; n += 1) expect(guards.take(came(23 + n, 0))).toEqual({});
    // What no node that guards would let out.
    expect(guards.take(came(40, 0)).stopped?.why).toBe('loop');
  });

  it('is taken behind a batch that could not be stored, and a rest that began with it', async () => {
    const { kai, maria, clock } = await twoDesks();
    for (const { way } of [kai, maria]) way.online = false;
    const ids = await sendUntilStopped(kai, 'maria', 20);
    await maria.send('kai', 'x');
    const commit = maria.store.commit.bind(maria.store);
    let fails = 3;
    maria.store.commit = async (...args) => {
      fails -= 1;
      if (fails >= 0) throw new Error('the disk is away');
      return commit(...args);
    };
    kai.way.online = true;
    for (let round = 0; round < 8; round += 1) {
      kai.messages.contact(maria.nodeId);
      await settle();
      clock.advance(2000);
    }
    expect(statesOf(kai, ids)).toEqual(new Set(['delivered']));
  });
});

describe('a node that starts', () => {
  it(verifies('message.guards', 'goes on counting: it lets out no more in a minute than before'), async () => {
    const { kai, clock } = await twoDesks({ perMinute: 10, loopGuard: false });
    const ids = await sendUntilStopped(kai, 'maria');
    await settle();
    await kai.restart();
    ids.push(...(await sendUntilStopped(kai, 'maria')));
    await settle();
    expect(ids.length).toBe(10);
    expect(statesOf(kai, ids)).toEqual(new Set(['delivered']));
    clock.advance(MINUTE_MS);
    expect((await sendUntilStopped(kai, 'maria')).length).toBe(10);
  });

  it('knows how much two have written to each other, and of long messages that they were long', async () => {
    const { kai, clock } = await twoDesks();
    for (let n = 0; n < 30; n += 1) await kai.send('maria', 'x'.repeat(280));
    await sendUntilStopped(kai, 'maria', 10);
    await kai.restart();
    expect((await sendUntilStopped(kai, 'maria', 10)).length).toBe(10);
    clock.advance(MINUTE_MS);
    await kai.restart();
    await expect(kai.send('maria', 'x')).rejects.toMatchObject({ details: { why: 'loop' } });
    await kai.send('maria#other', 'x');
  });

  it(verifies('message.guards', 'goes on resting, whoever of the two began it'), async () => {
    const { kai, maria, clock } = await twoDesks();
    await sendUntilStopped(kai, 'maria');
    await expect(kai.send('maria', 'x')).rejects.toMatchObject({ error: 'message_loop' });
    await settle();
    clock.advance(MINUTE_MS * 3);
    for (const [one, other] of [
      [kai, 'maria'],
      [maria, 'kai'],
    ] as const) {
      await one.restart();
      await expect(one.send(other, 'x')).rejects.toMatchObject({ details: { retryAfterMs: 2 * MINUTE_MS } });
    }
    clock.advance(2 * MINUTE_MS);
    for (const [one, other] of [
      [kai, 'maria'],
      [maria, 'kai'],
    ] as const) {
      await one.restart();
      await one.send(other, 'x');
    }
  });
});

describe('a rest', () => {
  it('ends at the same time on both sides, however late the other one hears of it', async () => {
    const { kai, maria, clock } = await twoDesks();
    kai.way.online = false;
    await sendUntilStopped(kai, 'maria');
    await expect(kai.send('maria', 'x')).rejects.toMatchObject({ error: 'message_loop' });
    clock.advance(4 * MINUTE_MS);
    await settle();
    kai.way.online = true;
    kai.messages.contact(maria.nodeId);
    await settle();
    await expect(maria.send('kai', 'x')).rejects.toMatchObject({ details: { retryAfterMs: MINUTE_MS } });
    clock.advance(MINUTE_MS);
    await maria.send('kai', 'x');
    await kai.send('maria', 'x');
  });

  it('is told of each pair, whatever dashes their labels have', async () => {
    const { kai, maria } = await twoDesks();
    kai.way.online = false;
    const pairs = [
      ['x-y', 'z'],
      ['x', 'y-z'],
    ] as const;
    for (const [mine, theirs] of pairs)
      for (let n = 0; n < 21; n += 1) await kai.send(`maria#${theirs}`, 'x', {}, agent(mine)).catch(() => undefined);
    await settle();
    kai.way.online = true;
    kai.messages.contact(maria.nodeId);
    await settle();
    for (const [mine, theirs] of pairs)
      await expect(maria.send(`kai#${mine}`, 'x'.repeat(500), {}, agent(theirs))).rejects.toMatchObject({
        details: { why: 'loop' },
      });
  });

  it(verifies('message.guards', 'holds for a sender whose node does not guard, long messages too'), async () => {
    const { kai, maria, clock } = await twoDesks();
    kai.settings = { ...DEFAULTS, loopGuard: false };
    const ids: string[] = [];
    const more = async (count: number, body: string): Promise<void> => {
      for (let n = 0; n < count; n += 1) ids.push(await kai.send('maria', body));
      await settle();
    };
    await more(25, 'x');
    clock.advance(4 * MINUTE_MS);
    await more(5, 'x'.repeat(1000));
    expect(ids.filter((id) => kai.state(id) === 'delivered')).toEqual(ids.slice(0, 20));
    expect(ids.slice(20).every((id) => kai.state(id) === 'refused')).toBe(true);
    await expect(maria.send('kai', 'x')).rejects.toMatchObject({ error: 'message_loop' });
    clock.advance(MINUTE_MS);
    await more(1, 'x');
    expect(kai.state(ids.at(-1) ?? '')).toBe('delivered');
  });

  it('ends a talk of two agents soon, where the node of one of them does not guard, too', async () => {
    const { kai, maria } = await twoDesks();
    kai.settings = { ...DEFAULTS, loopGuard: false };
    const [claude, codex] = [agent('claude'), agent('codex')];
    let last = await kai.send('maria#codex', 'thanks!', {}, claude);
    let sent = 1;
    await expect(
      (async () => {
        for (; sent < 100; sent += 1) {
          await settle();
          const [desk, by] = sent % 2 === 1 ? [maria, codex] : [kai, claude];
          last = await desk.send(undefined, 'thank YOU', { replyTo: last }, by);
        }
      })(),
    ).rejects.toMatchObject({ error: 'message_loop' });
    expect(sent).toBeLessThanOrEqual(21);
  });
});
