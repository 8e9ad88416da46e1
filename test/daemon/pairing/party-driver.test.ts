import { describe, expect, it } from 'vitest';

import { PartyDriver } from '../../../src/daemon/pairing/party-driver.ts';
import type { PairingEffect } from '../../../src/trust/pairing-party.ts';
import { TwoMachines } from '../../trust/two-machines.ts';
import { silentLog } from '../edge/listening.ts';

const SECOND_MS = 1000;

/** The host's part of a pairing, over a disk that takes nothing while it is full. */
const onDisk = async () => {
  const two = new TwoMachines();
  const { host: party, joiner } = await two.pair();
  const disk = { isFull: true };
  const tried: PairingEffect['kind'][] = [];
  const logged: unknown[] = [];
  const driver = new PartyDriver(party, {
    clock: two.clock,
    log: { ...silentLog, warn: (text: string) => logged.push(text) },
    carryOut: async ({ kind }) => {
      tried.push(kind);
      if (disk.isFull) throw new Error('the disk is full');
      return {};
    },
    expect: () => undefined,
    paired: () => undefined,
    kept: () => undefined,
    changed: () => undefined,
  });
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 100) {
      two.clock.advance(100);
      await new Promise(setImmediate);
    }
  };
  return { party, joiner, driver, disk, tried, logged, pass };
};

describe('a driver whose disk is full', () => {
  it('tries what is due every two seconds, also when all is late, and logs it once', async () => {
    const { party, driver, disk, tried, logged, pass } = await onDisk();
    await expect(driver.say({}, undefined)).rejects.toThrow('your yes could not be kept');
    expect(tried).toEqual(['store']);
    await pass(301 * SECOND_MS);
    const before = tried.length;
    expect(party.isOver).toBe(false);
    await pass(20 * SECOND_MS);
    expect(new Set(tried.slice(before))).toEqual(new Set(['forget']));
    expect(tried.length - before).toBeLessThanOrEqual(11);
    expect(tried.length - before).toBeGreaterThanOrEqual(9);
    expect(logged).toHaveLength(1);
    disk.isFull = false;
    await pass(3 * SECOND_MS);
    expect(party.stage).toBe('expired');
  });

  it('keeps a yes that was said again before the next try was due', async () => {
    const { party, driver, disk, pass } = await onDisk();
    await expect(driver.say({}, undefined)).rejects.toThrow('your yes could not be kept');
    disk.isFull = false;
    const said = driver.say({}, undefined);
    await pass(3 * SECOND_MS);
    await said;
    expect(party.stage).toBe('pending');
  });
});
