import { describe, expect, it } from 'vitest';

import { createClient } from '../../../src/client/client.ts';
import { mismatch, type SelftestCheck } from '../../../src/cli/selftest/check.ts';
import { runChecks, type CheckResult } from '../../../src/cli/selftest/run.ts';
import { FakeClock } from '../../helpers/clock.ts';

const bench = (clock = new FakeClock()) => ({
  client: createClient({ transport: () => Promise.reject(new Error('nothing is asked here')) }),
  peer: undefined,
  platform: 'linux',
  local: { home: '/nowhere', platform: 'linux' } as const,
  clock,
  hadToWait: () => false,
});
const good = (name: string): SelftestCheck => ({ name, run: async () => ({ detail: 'well', figures: { ms: 1 } }) });
const bad = (name: string, more: Partial<SelftestCheck> = {}): SelftestCheck => ({
  name,
  run: () => Promise.reject(mismatch('not the same')),
  ...more,
});
const statesOf = (results: readonly CheckResult[]): string[] => results.map(({ name, state }) => `${name} ${state}`);

describe('a self-test', () => {
  it('goes on behind a check that fails, and tells each result as it is there', async () => {
    const told: string[] = [];
    const results = await runChecks([good('a'), bad('b'), good('c')], bench(), ({ name }) => told.push(name));
    expect(statesOf(results)).toEqual(['a passed', 'b failed', 'c passed']);
    expect(told).toEqual(['a', 'b', 'c']);
    expect(results[0]).toMatchObject({ detail: 'well', figures: { ms: 1 } });
    expect(results[1]).toMatchObject({ detail: 'not the same', error: 'internal' });
  });

  it('tries nothing more where the first check fails', async () => {
    const results = await runChecks([bad('way', { first: true }), good('b')], bench(), () => undefined);
    expect(statesOf(results)).toEqual(['way failed', 'b skipped']);
  });

  it('ends a check that hangs, and goes on', async () => {
    const clock = new FakeClock();
    let ended = false;
    const hangs: SelftestCheck = {
      name: 'hangs',
      run: ({ signal }) =>
        new Promise(() => {
          signal.addEventListener('abort', () => (ended = true));
          setImmediate(() => clock.advance(30_000));
        }),
    };
    const results = await runChecks([hangs, good('b')], bench(clock), () => undefined);
    expect(statesOf(results)).toEqual(['hangs failed', 'b passed']);
    expect(results[0]).toMatchObject({ error: 'request_timeout', detail: 'did not end within 30 s' });
    expect(ended).toBe(true);
  });
});
