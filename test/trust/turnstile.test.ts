import { randomInt } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../src/protocol/errors.ts';
import { sourceOf, Turnstile } from '../../src/trust/turnstile.ts';
import { FakeClock } from '../helpers/clock.ts';

const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A turnstile, and the order in which it let sources through. */
const setUp = (options: { roomAtMs?: () => number; random?: (limit: number) => number } = {}) => {
  const clock = new FakeClock();
  const turnstile = new Turnstile({ clock, spacingMs: 200, sourceSpacingMs: 1000, random: () => 0, ...options });
  const log: string[] = [];
  const enter = (source: string): void => {
    turnstile.turn(source).then(
      () => log.push(source),
      (error: unknown) =>
        log.push(`${source} ${error instanceof LoopsyError ? JSON.stringify(error.details) : 'broke'}`),
    );
  };
  const pass = async (ms: number): Promise<string[]> => {
    await soon();
    for (let left = ms; left > 0; left -= 10) {
      clock.advance(10);
      await soon();
    }
    return log.splice(0);
  };
  return { clock, turnstile, enter, pass };
};

describe('a turnstile', () => {
  it('lets the first through at once, the others one after the other', async () => {
    const { enter, pass } = setUp();
    for (const source of ['a', 'b', 'c']) enter(source);
    expect(await pass(0)).toEqual(['a']);
    expect(await pass(190)).toEqual([]);
    expect(await pass(10)).toEqual(['b']);
    expect(await pass(200)).toEqual(['c']);
  });

  it('tells a source that was here just now when to come back', async () => {
    const { enter, pass } = setUp();
    enter('a');
    await pass(300);
    enter('a');
    expect(await pass(0)).toEqual(['a {"retryAfterMs":700}']);
    await pass(700);
    enter('a');
    expect(await pass(0)).toEqual(['a']);
  });

  it('lets a source wait once at a time', async () => {
    const { enter, pass } = setUp();
    for (const source of ['a', 'b', 'b']) enter(source);
    expect(await pass(0)).toEqual(['a', 'b {"retryAfterMs":1000}']);
    expect(await pass(200)).toEqual(['b']);
  });

  it('prefers those that had the fewest turns, and draws lots among them', async () => {
    const draws: number[] = [];
    const { enter, pass } = setUp({
      random: (limit) => {
        draws.push(limit);
        return limit - 1;
      },
    });
    for (const source of ['a', 'b', 'c']) {
      enter(source);
      await pass(1000);
    }
    draws.length = 0;
    for (const source of ['x', 'a', 'b', 'c', 'new-1', 'new-2']) enter(source);
    expect(await pass(1000)).toEqual(['x', 'new-2', 'new-1', 'c', 'b', 'a']);
    expect(draws).toEqual([2, 1, 3, 2, 1]);
  });

  it('waits for room, too', async () => {
    let roomAtMs = 0;
    const { clock, enter, pass } = setUp({ roomAtMs: () => roomAtMs });
    roomAtMs = clock.monotonicMs() + 500;
    enter('a');
    expect(await pass(490)).toEqual([]);
    expect(await pass(20)).toEqual(['a']);
  });

  it('gives up after 8 s, keeps 256 waiting, and leaves no timer behind', async () => {
    const { clock, enter, pass } = setUp({ roomAtMs: () => Number.POSITIVE_INFINITY });
    for (let count = 0; count < 257; count += 1) enter(`s${count}`);
    expect(await pass(0)).toEqual(['s256 {"retryAfterMs":1000}']);
    const gone = await pass(8000);
    expect(gone.length).toBe(256);
    expect(gone[0]).toBe('s0 {"retryAfterMs":1000}');
    expect(clock.waiting).toBeLessThanOrEqual(1);
  });

  it('sends a punished source away, and all when it is closed', async () => {
    const { clock, turnstile, enter, pass } = setUp();
    for (const source of ['a', 'b', 'c', 'd']) enter(source);
    await pass(0);
    turnstile.penalise('b', 10_000);
    expect(await pass(0)).toEqual(['b {"retryAfterMs":10000}']);
    turnstile.clear(new LoopsyError('pair_busy'));
    expect(await pass(0)).toEqual(['c undefined', 'd undefined']);
    expect(clock.waiting).toBe(0);
    await pass(5000);
    enter('b');
    expect(await pass(0)).toEqual(['b {"retryAfterMs":5000}']);
  });

  it('lets nobody through where the only one that waited was sent away', async () => {
    const { turnstile, enter, pass } = setUp({ random: (limit) => randomInt(limit) });
    for (const source of ['a', 'b']) enter(source);
    turnstile.penalise('b', 10_000);
    expect(await pass(200)).toEqual(['a', 'b {"retryAfterMs":10000}']);
    enter('c');
    expect(await pass(0)).toEqual(['c']);
  });
});

describe('a source', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['1::5:6:7:1.2.3.4', '1:0:0:5::/64'],
    [undefined, 'unknown'],
    ['', 'unknown'],
    ['not an address', 'unknown'],
  ])('%s is %s', (address, source) => {
    expect(sourceOf(address)).toBe(source);
  });
});
