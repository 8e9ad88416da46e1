import { spawnSync } from 'node:child_process';

import { describe, expect, it } from 'vitest';

import { systemClock } from '../../src/kernel/clock.ts';
import { sleep, TIMED_OUT, withTimeLimit } from '../../src/kernel/sleep.ts';
import { bundleFixture } from '../helpers/bundle-fixture.ts';
import { FakeClock } from '../helpers/clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';

describe('waiting', () => {
  it('lasts as long as it was told', async () => {
    const clock = new FakeClock();
    let over = false;
    const slept = sleep(100, clock).then(() => (over = true));
    clock.advance(99);
    await new Promise(setImmediate);
    expect(over).toBe(false);
    clock.advance(1);
    await slept;
  });

  it('with a limit gives the result, the fault, or up', async () => {
    const clock = new FakeClock();
    expect(await withTimeLimit(Promise.resolve(1), 10, clock)).toBe(1);
    await expect(withTimeLimit(Promise.reject(new Error('no')), 10, clock)).rejects.toThrow('no');
    expect(clock.waiting).toBe(0);
    const waiting = withTimeLimit(new Promise(() => undefined), 10, clock);
    clock.advance(10);
    expect(await waiting).toBe(TIMED_OUT);
  });

  it('keeps a process alive that does nothing else, and not longer', async () => {
    const program = await bundleFixture('test/fixtures/sleeper.ts', await tempFolder());
    const begun = systemClock.monotonicMs();
    const { stdout } = spawnSync(process.execPath, [program], { encoding: 'utf8' });
    expect(stdout).toBe('slept\ntimed out\n');
    expect(systemClock.monotonicMs() - begun).toBeLessThan(5000);
  });
});
