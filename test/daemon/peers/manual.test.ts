import { describe, expect, it } from 'vitest';

import { PeerFactsBook } from '../../../src/daemon/peers/facts.ts';
import type { SeenMachine } from '../../../src/daemon/peers/look.ts';
import { LONGEST_PAUSE_MS, ManualPeers } from '../../../src/daemon/peers/manual.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import { inspectLeaf } from '../../../src/trust/leaf.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { makeMachine } from '../../helpers/trust-desk.ts';
import { silentLog } from '../edge/listening.ts';

const AT = { address: '10.0.0.7', port: 19_532 };
const HOUR_MS = 3_600_000;

const seenMachine = async (): Promise<SeenMachine> => {
  const { id, certificate, fingerprint } = await makeMachine();
  const leaf = inspectLeaf(certificate);
  if (leaf === undefined) throw new Error('no leaf');
  return { nodeId: id, certificate, fingerprint, leaf, localAddress: '10.0.0.2' };
};

const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
};

/** Addresses that are looked for, by a clock of the test's own. */
const watchFor = (listed: readonly (typeof AT)[]) => {
  const clock = new FakeClock();
  const world = { there: undefined as SeenMachine | undefined, awaited: false, listed, trusted: true };
  const looks: number[] = [];
  const met: string[] = [];
  let atOnce = 0;
  let most = 0;
  const manual = new ManualPeers({
    facts: new PeerFactsBook(openMemoryStore({ clock }), silentLog),
    clock,
    log: silentLog,
    listed: () => world.listed,
    look: async () => {
      looks.push(clock.monotonicMs());
      most = Math.max(most, (atOnce += 1));
      await new Promise(setImmediate);
      atOnce -= 1;
      if (world.there === undefined) throw new Error('nobody is there');
      return world.there;
    },
    meet: ({ nodeId }) => {
      if (world.trusted) met.push(nodeId);
    },
    isMet: () => met.length > 0,
    isAwaited: () => world.awaited,
  });
  const pass = async (ms: number, stepMs = 250): Promise<void> => {
    for (let passed = 0; passed < ms; passed += stepMs) {
      clock.advance(stepMs);
      await settled();
    }
  };
  return { manual, clock, world, looks, met, pass, mostAtOnce: () => most };
};

describe('an address where nobody is', () => {
  it('is looked at again and again, more and more rarely, and at least once a minute', async () => {
    const { manual, looks, pass } = watchFor([AT]);
    manual.refresh();
    await settled();
    await pass(HOUR_MS / 6, 1000);
    const pauses = looks.slice(1).map((time, at) => time - (looks[at] ?? 0));
    expect(pauses.slice(0, 7)).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000]);
    expect(Math.max(...pauses)).toBe(LONGEST_PAUSE_MS);
    expect(looks.length).toBeLessThan(20);
  });

  it('is met within 3 s of its return where somebody who is trusted is missing, and then left alone', async () => {
    const { manual, world, looks, met, pass } = watchFor([AT]);
    world.awaited = true;
    manual.refresh();
    await pass(60_000);
    world.there = await seenMachine();
    await pass(1500);
    expect(met).toEqual([world.there.nodeId]);
    const before = looks.length;
    await pass(10 * LONGEST_PAUSE_MS, 10_000);
    expect(looks).toHaveLength(before);
  });

  it('is looked at at once when trust or the list changes', async () => {
    const { manual, world, looks, pass } = watchFor([AT]);
    manual.refresh();
    await pass(HOUR_MS, 60_000);
    const before = looks.length;
    world.listed = [AT, { ...AT, port: 1 }];
    manual.refresh();
    await settled();
    expect(looks).toHaveLength(before + 2);
  });
});

describe('an address', () => {
  it('of somebody who is not trusted is looked at once a minute, and shows who is there', async () => {
    const { manual, world, looks, pass } = watchFor([AT]);
    world.trusted = false;
    world.awaited = true;
    world.there = await seenMachine();
    manual.refresh();
    await settled();
    await pass(LONGEST_PAUSE_MS * 3, 1000);
    expect(looks).toHaveLength(4);
    expect(manual.entries()).toEqual([
      { v: 1, address: { host: AT.address, port: AT.port }, inConfig: true, nodeId: world.there.nodeId },
    ]);
  });

  it('that is no longer listed is forgotten; none is looked at after the stop', async () => {
    const { manual, clock, world, looks, pass } = watchFor([AT]);
    manual.refresh();
    await settled();
    world.listed = [];
    manual.refresh();
    await pass(LONGEST_PAUSE_MS, 1000);
    expect(looks).toHaveLength(1);
    expect([manual.entries(), clock.waiting]).toEqual([[], 0]);
    world.listed = [AT];
    manual.refresh();
    manual.stop();
    await pass(LONGEST_PAUSE_MS, 1000);
    expect(looks).toHaveLength(2);
    expect(clock.waiting).toBe(0);
  });

  it('is one of a thousand: eight of them are looked at at once', async () => {
    const { manual, looks, pass, mostAtOnce } = watchFor(
      Array.from({ length: 1000 }, (_, at) => ({ ...AT, port: at + 1 })),
    );
    manual.refresh();
    for (let turn = 0; looks.length < 1000 && turn < 2000; turn += 1) await new Promise(setImmediate);
    await pass(500);
    expect([looks.length, mostAtOnce()]).toEqual([1000, 8]);
  });
});
