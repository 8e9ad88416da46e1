import { describe, expect, it } from 'vitest';

import { RateLimits } from '../../../src/daemon/edge/rate-limit.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import type { Grant } from '../../../src/protocol/grants.ts';
import type { LimitCategory } from '../../../src/protocol/operation.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';

const grant: Grant = { level: 'full', scopes: [], reach: 'all' };
const peer = (machineId: string, nodeId = machineId): Caller => ({ kind: 'peer', machineId, nodeId, grant });
const key = (name: string): Caller => ({ kind: 'key', name, grant });
const SIZES = { execute: 3, transfer: 10, context: 60 };

const refusal = (rates: RateLimits, caller: Caller, category: LimitCategory = 'execute'): LoopsyError | undefined => {
  try {
    rates.take(caller, category);
    return undefined;
  } catch (error) {
    if (error instanceof LoopsyError) return error;
    throw error;
  }
};

describe('rate limits', () => {
  it(
    verifies(
      ['edge.rate', 'config.rateLimits'],
      'refuse the 4th of three a minute, say when to come again, and let that come through',
    ),
    () => {
      const clock = new FakeClock();
      const rates = new RateLimits(clock, () => SIZES);
      for (let i = 0; i < 3; i += 1) rates.take(peer('a'), 'execute');
      const refused = refusal(rates, peer('a'));
      expect(refused).toMatchObject({ error: 'rate_limited', status: 429, details: { retryAfterMs: 20_000 } });
      clock.advance(20_000);
      expect(refusal(rates, peer('a'))).toBeUndefined();
      expect(refusal(rates, peer('a'))).toBeDefined();
    },
  );

  it(
    verifies('config.rateLimits', 'count the sessions of a machine together, and machines, keys and categories apart'),
    () => {
      const rates = new RateLimits(new FakeClock(), () => SIZES);
      for (const session of ['a', 'a1', 'a2']) rates.take(peer('a', session), 'execute');
      expect(refusal(rates, peer('a', 'a3'))).toBeDefined();
      expect(refusal(rates, peer('b'))).toBeUndefined();
      expect(refusal(rates, key('a'))).toBeUndefined();
      expect(refusal(rates, peer('a'), 'context')).toBeUndefined();
    },
  );

  it('count a repeat with its request, for ten minutes, and never with another caller or a refused one', () => {
    const clock = new FakeClock();
    const rates = new RateLimits(clock, () => SIZES);
    const refused = (caller: Caller, id: string): boolean => {
      try {
        return rates.take(caller, 'execute', id) !== undefined;
      } catch {
        return true;
      }
    };
    for (const id of ['r1', 'r2', 'r3']) expect(refused(peer('a'), id)).toBe(false);
    for (let i = 0; i < 1000; i += 1) expect(refused(peer('a'), 'r1')).toBe(false);
    for (let i = 0; i < 2; i += 1) expect(refused(peer('a'), 'r4')).toBe(true);
    for (const id of ['r4', 'r5', 'r6']) expect(refused(peer('b'), id)).toBe(false);
    expect(refused(peer('b'), 'r1')).toBe(true);
    clock.advance(600_000);
    for (let i = 0; i < 3; i += 1) expect(refused(peer('a'), `s${i}`)).toBe(false);
    expect(refused(peer('a'), 'r1')).toBe(true);
  });

  it(verifies('config.rateLimits', 'exempt the owner and the agents of this machine'), () => {
    const rates = new RateLimits(new FakeClock(), () => SIZES);
    const exempt: Caller[] = [{ kind: 'owner' }, { kind: 'agent', label: 'claude', grant }];
    for (const caller of exempt) for (let i = 0; i < 100; i += 1) expect(refusal(rates, caller)).toBeUndefined();
  });

  it('change at once with the config, without forgetting what was taken', () => {
    let sizes = SIZES;
    const rates = new RateLimits(new FakeClock(), () => sizes);
    for (let i = 0; i < 3; i += 1) rates.take(key('ci'), 'execute');
    sizes = { ...SIZES, execute: 5 };
    expect(refusal(rates, key('ci'))).toBeUndefined();
    expect(refusal(rates, key('ci'))).toBeUndefined();
    expect(refusal(rates, key('ci'))?.message).toContain('5');
  });

  it('hold a bounded number of callers', () => {
    const rates = new RateLimits(new FakeClock(), () => SIZES);
    for (let i = 0; i < 10_000; i += 1) rates.take(key(`k${i}`), 'execute');
    for (let i = 0; i < 3; i += 1) rates.take(key('last'), 'execute');
    expect(refusal(rates, key('last'))).toBeDefined();
  });
});
