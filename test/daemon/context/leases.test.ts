import { describe, expect, it } from 'vitest';

import type { Call } from '../../../src/daemon/edge/call.ts';
import { verifies } from '../../requirements.ts';
import { callBy, CLAUDE, deskOf, KAI, MARIA, OWNER } from './desk.ts';

const ME = callBy(OWNER);

describe('a lease', () => {
  it(verifies('context.lease', 'is held by one, for its time, and each holder has a greater fence'), async () => {
    const { leases, clock } = await deskOf();
    const first = await leases.acquire({ name: 'db', ttl: 60 }, callBy(KAI, 'agent:claude'));
    expect(first).toMatchObject({ owner: `peer:${'k'.repeat(32)} agent:claude`, expiresAt: clock.now() + 60_000 });
    const until = new Date(clock.now() + 60_000).toISOString();
    await expect(leases.acquire({ name: 'db', ttl: 60 }, callBy(MARIA))).rejects.toMatchObject({
      error: 'lease_held',
      message: `the lease "db" is held by kai agent:claude, until ${until}`,
      details: { owner: first.owner, expiresAt: first.expiresAt },
    });
    clock.advance(60_000);
    const second = await leases.acquire({ name: 'db', ttl: 1 }, callBy(MARIA));
    expect(second.fence).toBeGreaterThan(first.fence);
    clock.advance(1000);
    expect(leases.list({})).toEqual({ leases: [] });
  });

  it(verifies('context.lease-events', 'is told on the bus, whatever becomes of it'), async () => {
    const { leases, clock, events } = await deskOf();
    const { fence } = await leases.acquire({ name: 'db', ttl: 10 }, callBy(CLAUDE));
    await leases.renew({ name: 'db', ttl: 20, fence }, callBy(CLAUDE));
    await leases.release({ name: 'db', fence }, callBy(CLAUDE));
    await leases.acquire({ name: 'db', ttl: 1 }, callBy(CLAUDE));
    for (let step = 0; step < 5; step += 1) {
      clock.advance(1000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const changes = events.flatMap((event) => (event.type === 'lease.changed' ? [event] : []));
    expect(changes.map(({ change }) => change)).toEqual(['acquired', 'renewed', 'released', 'acquired', 'expired']);
    expect(changes[1]).toMatchObject({ name: 'db', owner: 'agent:claude', fence });
    expect(changes[2]).not.toHaveProperty('owner');
  });

  it('is renewed by its holder alone, and keeps its fence', async () => {
    const { leases, clock } = await deskOf();
    const { fence } = await leases.acquire({ name: 'db', ttl: 10 }, callBy(CLAUDE));
    clock.advance(9000);
    for (let round = 0; round < 3; round += 1) {
      const renewed = await leases.renew({ name: 'db', ttl: 10, fence }, callBy(CLAUDE));
      expect(renewed).toMatchObject({ fence, expiresAt: clock.now() + 10_000 });
      clock.advance(9000);
    }
    await expect(leases.renew({ name: 'db', ttl: 10, fence }, ME)).rejects.toMatchObject({ error: 'lease_held' });
    clock.advance(1000);
    await expect(leases.renew({ name: 'db', ttl: 10, fence }, callBy(CLAUDE))).rejects.toMatchObject({
      error: 'lease_lost',
    });
  });

  it('that is held names the machine of who holds it, to whoever asks', async () => {
    const { leases } = await deskOf();
    const askedBy = async (name: string, call: Call): Promise<unknown> =>
      leases.acquire({ name, ttl: 60 }, call).catch((thrown: unknown) => thrown);
    await leases.acquire({ name: 'a', ttl: 60 }, callBy(OWNER));
    await leases.acquire({ name: 'b', ttl: 60 }, callBy(CLAUDE));
    await leases.acquire({ name: 'c', ttl: 60 }, callBy(MARIA));
    const held = (who: string) => ({
      error: 'lease_held',
      message: expect.stringContaining(`is held by ${who}, until 2`),
    });
    expect(await askedBy('a', callBy(KAI))).toMatchObject(held('the owner of here'));
    expect(await askedBy('b', callBy(KAI))).toMatchObject(held('agent:claude of here'));
    expect(await askedBy('c', callBy(KAI))).toMatchObject(held('a machine that is no peer now (mmmmmmmm…)'));
  });

  it('that is held says to who may end it how, and shows nobody a name that a shell would carry out', async () => {
    const { leases } = await deskOf();
    const evil = 'x $(reboot)';
    for (const name of ['db', evil]) await leases.acquire({ name, ttl: 60 }, callBy(MARIA));
    const asked = (name: string, call: Call) => leases.acquire({ name, ttl: 60 }, call);
    const hint = (words: string) => ({ error: 'lease_held', hint: words });
    await expect(asked('db', ME)).rejects.toMatchObject(
      hint(expect.stringContaining('where that is gone, `loopsy context lease release db --force`')),
    );
    await expect(asked(evil, ME)).rejects.toMatchObject(hint(expect.not.stringContaining('reboot')));
    for (const caller of [KAI, CLAUDE])
      await expect(asked('db', callBy(caller))).rejects.toMatchObject(hint('try again then, or ask its holder'));
  });

  it(verifies('context.lease-twins', 'of two that are one caller is held by the one that has its fence'), async () => {
    const { leases, clock } = await deskOf();
    const { fence } = await leases.acquire({ name: 'db', ttl: 1 }, ME);
    await expect(leases.acquire({ name: 'db', ttl: 1 }, ME)).rejects.toThrow('the owner of here, as you are');
    clock.advance(1000);
    await leases.acquire({ name: 'db', ttl: 10 }, ME);
    await expect(leases.renew({ name: 'db', ttl: 10, fence }, ME)).rejects.toMatchObject({ error: 'lease_lost' });
    await expect(leases.release({ name: 'db', fence }, ME)).rejects.toMatchObject({ error: 'lease_lost' });
  });

  it('is given back by its holder, and may be broken by the owner of the node, but not by accident', async () => {
    const { leases } = await deskOf();
    const { fence } = await leases.acquire({ name: 'db', ttl: 60 }, callBy(KAI));
    for (const input of [
      { name: 'db', fence },
      { name: 'db', force: true },
    ])
      await expect(leases.release(input, callBy(MARIA))).rejects.toMatchObject({ error: 'lease_held' });
    expect(await leases.release({ name: 'db', fence }, callBy(KAI))).toEqual({ success: true, name: 'db' });
    await expect(leases.release({ name: 'db', fence }, callBy(KAI))).rejects.toMatchObject({ error: 'lease_lost' });
    await leases.acquire({ name: 'db', ttl: 60 }, callBy(KAI));
    await leases.release({ name: 'db', force: true }, callBy(KAI));
    await leases.acquire({ name: 'db', ttl: 60 }, callBy(KAI));
    await expect(leases.release({ name: 'db', fence, force: true }, ME)).rejects.toMatchObject({ error: 'lease_lost' });
    await leases.release({ name: 'db', force: true }, ME);
    await leases.acquire({ name: 'db', ttl: 60 }, callBy(MARIA));
  });

  it('of another is ended by nobody by accident: the owner of the node says so, or names the hold', async () => {
    const { leases } = await deskOf();
    const { fence } = await leases.acquire({ name: 'db', ttl: 60 }, callBy(KAI));
    await expect(leases.release({ name: 'db' }, ME)).rejects.toMatchObject({ error: 'lease_held' });
    await leases.release({ name: 'db', fence }, ME);
    // What one holds oneself is meant where nothing else is said.
    await leases.acquire({ name: 'db', ttl: 60 }, ME);
    await leases.renew({ name: 'db', ttl: 60 }, ME);
    expect(await leases.release({ name: 'db' }, ME)).toEqual({ success: true, name: 'db' });
  });

  it('is taken by one of many that race', async () => {
    const { leases } = await deskOf();
    const races = await Promise.allSettled(
      [KAI, MARIA, CLAUDE, OWNER].map((caller) => leases.acquire({ name: 'db', ttl: 60 }, callBy(caller))),
    );
    expect(races.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('takes no more room than a peer has', async () => {
    const { leases } = await deskOf();
    const name = (at: number): string => `${at}${'x'.repeat(500)}`;
    let taken = 0;
    const all = Promise.all(
      Array.from({ length: 2500 }, async (_, at) => {
        await leases.acquire({ name: name(at), ttl: 60 }, callBy(KAI));
        taken += 1;
      }),
    );
    await expect(all).rejects.toMatchObject({ error: 'context_full' });
    await leases.acquire({ name: 'mine', ttl: 60 }, ME);
    expect(taken).toBeLessThan(2500);
  });
});
