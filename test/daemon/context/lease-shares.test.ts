import { describe, expect, it } from 'vitest';

import type { Call } from '../../../src/daemon/edge/call.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { grantOfLevel } from '../../../src/trust/grants.ts';
import { verifies } from '../../requirements.ts';
import { callBy, CLAUDE, deskOf, type Desk, KAI, MARIA, OWNER } from './desk.ts';

const key = (name: string): Caller => ({ kind: 'key', name, grant: grantOfLevel('collaborate') });
const CI = key('ci');

/** Takes leases with long names until it is refused, or has `most`. @returns why, and how many it got. */
const grab = async ({ leases }: Desk, call: Call, most = 20_000): Promise<{ taken: number; why: unknown }> => {
  const who = JSON.stringify(call.caller).slice(0, 60);
  for (let taken = 0; taken < most; taken += 100) {
    const some = Array.from({ length: 100 }, (_, at) => `${who} ${taken + at} `.padEnd(500, 'x'));
    const got = await Promise.allSettled(some.map((name) => leases.acquire({ name, ttl: 86_400 }, call)));
    const refused = got.find((one) => one.status === 'rejected');
    if (refused !== undefined) return { taken, why: refused.reason };
  }
  return { taken: most, why: undefined };
};

describe('the room for leases', () => {
  it(
    verifies('context.lease-share', 'can not be taken by one key: the owner, a peer and another key go on'),
    async () => {
      const desk = await deskOf();
      const { why } = await grab(desk, callBy(CI));
      expect(why).toMatchObject({
        error: 'context_full',
        message: expect.stringContaining('this peer or key'),
        hint: expect.stringContaining('loopsy context lease list'),
      });
      for (const caller of [OWNER, CLAUDE, KAI, key('ci2'), key('c')])
        await desk.leases.acquire({ name: `of ${JSON.stringify(caller)}`, ttl: 60 }, callBy(caller));
    },
  );

  it(
    'can not be taken from the owner and the agents here by all keys and peers together',
    { timeout: 60_000 },
    async () => {
      const desk = await deskOf();
      for (let at = 0, taken = 1; taken > 0; at += 1) ({ taken } = await grab(desk, callBy(key(`k${at}`))));
      await expect(desk.leases.acquire({ name: 'peer', ttl: 60 }, callBy(KAI))).rejects.toMatchObject({
        error: 'context_full',
        message: expect.stringContaining('all peers and keys together'),
      });
      for (const caller of [OWNER, CLAUDE])
        await desk.leases.acquire({ name: JSON.stringify(caller), ttl: 60 }, callBy(caller));
      // The owner has still so much that only a program gone wrong takes it all.
      expect((await grab(desk, callBy(OWNER), 1000)).why).toBeUndefined();
    },
  );

  it('is there again for a key whose leases have ended', async () => {
    const desk = await deskOf();
    await grab(desk, callBy(CI));
    await desk.leases.endOf((caller) => caller === 'key:ci');
    await desk.leases.acquire({ name: 'again', ttl: 60 }, callBy(CI));
  });
});

describe('leases of who is nobody any more', () => {
  it(verifies('context.lease-gone', 'are released, with their events, and no others'), async () => {
    const { leases, events } = await deskOf();
    await leases.acquire({ name: 'a', ttl: 86_400 }, callBy(KAI));
    await leases.acquire({ name: 'b', ttl: 86_400 }, callBy(KAI, 'agent:claude'));
    await leases.acquire({ name: 'c', ttl: 86_400 }, callBy(MARIA, 'agent:peer:k'));
    await leases.acquire({ name: 'd', ttl: 86_400 }, callBy(CI));
    await leases.acquire({ name: 'e', ttl: 86_400 }, callBy(OWNER));
    const { fence } = await leases.acquire({ name: 'f', ttl: 86_400 }, callBy(CI));
    // What is renewed at that moment is released all the same.
    const renewing = leases.renew({ name: 'f', ttl: 86_400, fence }, callBy(CI)).catch(() => undefined);
    const late = leases.acquire({ name: 'g', ttl: 86_400 }, callBy(CI));
    const asked: string[] = [];
    expect(
      await leases.endOf((caller) => {
        asked.push(caller);
        return caller === `peer:${'k'.repeat(32)}` || caller === 'key:ci';
      }),
    ).toBe(5);
    await Promise.all([renewing, late]);
    expect(leases.list({}).leases.map(({ name }) => name)).toEqual(['c', 'e']);
    expect(new Set(asked)).toContain(`peer:${'m'.repeat(32)}`);
    const released = events.flatMap((event) => (event.type === 'lease.changed' ? [event] : []));
    expect(released.filter(({ change }) => change === 'released').map(({ name }) => name)).toEqual(
      expect.arrayContaining(['a', 'b', 'd', 'f', 'g']),
    );
    await leases.acquire({ name: 'a', ttl: 60 }, callBy(MARIA));
  });
});
