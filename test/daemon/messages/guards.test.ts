import { describe, expect, it } from 'vitest';

import { Guards, type GuardSettings } from '../../../src/daemon/messages/guards.ts';
import { verifies } from '../../requirements.ts';
import { agent, callBy, DEFAULTS, settle, twoDesks } from './desk.ts';

const MINUTE_MS = 60_000;

const guardsOf = (settings: Partial<GuardSettings> = {}) => {
  const guards = new Guards(() => ({ perMinute: 5, maxChain: 3, loopGuard: true, ...settings }));
  return (at: number, { from = 'a', to = 'b', length = 10, hops = 0 } = {}): string | undefined =>
    guards.pass({ from, to, at, length, hops })?.why;
};

describe('a guard', () => {
  it('lets so many pass in a minute of one sender, whomever they are for', () => {
    const pass = guardsOf({ loopGuard: false });
    for (let at = 0; at < 5; at += 1) expect(pass(at, { to: `b${at}` })).toBeUndefined();
    expect(pass(5)).toBe('rate');
    expect(pass(5, { from: 'c' })).toBeUndefined();
    expect(pass(MINUTE_MS + 1)).toBeUndefined();
    expect(pass(MINUTE_MS + 1)).toBeUndefined();
    expect(pass(MINUTE_MS + 1)).toBe('rate');
  });

  it('ends a chain', () => {
    const pass = guardsOf();
    expect(pass(0, { hops: 3 })).toBeUndefined();
    expect(pass(0, { hops: 4 })).toBe('chain');
  });

  it('lets two rest who write short messages to and fro', () => {
    const pass = guardsOf({ perMinute: 1000 });
    const turn = (at: number) => (at % 2 === 0 ? { from: 'a', to: 'b' } : { from: 'b', to: 'a' });
    for (let at = 0; at < 20; at += 1) expect(pass(at, turn(at))).toBeUndefined();
    expect(pass(20)).toBe('loop');
    expect(pass(21, { length: 100_000 })).toBe('loop');
    expect(pass(21, { from: 'b', to: 'a' })).toBe('loop');
    expect(pass(21, { to: 'c' })).toBeUndefined();
    expect(pass(20 + 5 * MINUTE_MS - 1)).toBe('loop');
    expect(pass(20 + 5 * MINUTE_MS)).toBeUndefined();
  });

  it('has nothing against long messages, nor against few', () => {
    const pass = guardsOf({ perMinute: 1000 });
    for (let at = 0; at < 100; at += 1) expect(pass(at, { length: 280 })).toBeUndefined();
    for (let at = 0; at < 100; at += 1) expect(pass(at * 6001)).toBeUndefined();
  });

  it('keeps no more than it has room for', () => {
    const pass = guardsOf();
    for (let at = 0; at < 10_000; at += 1) pass(0, { from: `a${at}` });
    expect(pass(0, { from: 'a9999' })).toBeUndefined();
  });
});

describe('guards between two nodes', () => {
  it(verifies('message.guards', 'stop a loop, and both sides are told'), async () => {
    const { kai, maria } = await twoDesks();
    const [claude, codex] = [agent('claude'), agent('codex')];
    let last = await kai.send('maria#codex', 'thanks!', {}, claude);
    await settle();
    const stopped = async (): Promise<unknown> => {
      for (let turn = 0; ; turn += 1) {
        const [desk, by] = turn % 2 === 0 ? [maria, codex] : [kai, claude];
        try {
          last = await desk.send(undefined, 'no, thank YOU!', { replyTo: last }, by);
        } catch (thrown) {
          expect(turn).toBe(19);
          return thrown;
        }
        await settle();
      }
    };
    expect(await stopped()).toMatchObject({ error: 'message_loop', details: { why: 'loop', retryAfterMs: 300_000 } });
    await settle();
    for (const { events } of [kai, maria]) expect(events.filter(({ type }) => type === 'message.rest').length).toBe(1);
    expect(maria.events.find(({ type }) => type === 'message.rest')).toEqual({
      type: 'message.rest',
      from: 'maria#codex',
      to: 'kai#claude',
      restMs: 300_000,
    });
    await expect(maria.send('kai#claude', 'and more', {}, codex)).rejects.toMatchObject({ error: 'message_loop' });
    // Others may talk.
    await maria.send('kai', 'hello');
  });

  it('refuse what a sender without guards hands over, with the reason', async () => {
    const { kai } = await twoDesks();
    kai.settings = { ...DEFAULTS, loopGuard: false, perMinute: 100_000 };
    const ids: string[] = [];
    for (let at = 0; at < 30; at += 1) ids.push(await kai.send('maria', 'x'));
    await settle();
    const ends = ids.map((id) => kai.messages.show({ id }, callBy({ kind: 'owner' })));
    expect(ends.filter(({ state }) => state === 'delivered').length).toBe(20);
    expect(ends.at(-1)?.history.at(-1)?.note).toContain('rest for five minutes');
    expect(kai.events.some(({ type }) => type === 'message.rest')).toBe(true);
  });

  it('count what waited when it was sent, not when it came', async () => {
    const { kai, maria, clock } = await twoDesks();
    kai.way.online = false;
    const ids: string[] = [];
    for (let at = 0; at < 100; at += 1) {
      ids.push(await kai.send('maria', 'x'));
      clock.advance(10_000);
    }
    kai.way.online = true;
    kai.messages.contact(maria.nodeId);
    await settle();
    expect(new Set(ids.map((id) => kai.state(id)))).toEqual(new Set(['delivered']));
  });

  it('do not count a batch twice that could not be stored', async () => {
    const { kai, maria, clock } = await twoDesks();
    const commit = maria.store.commit.bind(maria.store);
    let fails = 3;
    maria.store.commit = async (...args) => {
      fails -= 1;
      if (fails >= 0) throw new Error('the disk is away');
      return commit(...args);
    };
    const ids: string[] = [];
    kai.way.online = false;
    for (let at = 0; at < 15; at += 1) ids.push(await kai.send('maria', 'x'));
    kai.way.online = true;
    for (let round = 0; round < 10; round += 1) {
      kai.messages.contact(maria.nodeId);
      await settle();
      clock.advance(2000);
    }
    expect(new Set(ids.map((id) => kai.state(id)))).toEqual(new Set(['delivered']));
  });
});
