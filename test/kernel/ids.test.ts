import { describe, expect, it } from 'vitest';

import { randomHex, timeId } from '../../src/kernel/ids.ts';
import { jobIdSchema } from '../../src/protocol/ids.ts';
import { FakeClock } from '../helpers/clock.ts';

describe('ids', () => {
  it('random ones have two hex digits a byte and do not repeat', () => {
    expect(randomHex(16)).toMatch(/^[0-9a-f]{32}$/);
    expect(new Set(Array.from({ length: 1000 }, () => randomHex(8))).size).toBe(1000);
  });

  it('of time have the shape of a job id', () => {
    const clock = new FakeClock();
    for (let at = 0; at < 1000; at++) expect(jobIdSchema.safeParse(timeId(clock)).success).toBe(true);
    expect(jobIdSchema.safeParse(timeId(new FakeClock(2 ** 48 - 1))).success).toBe(true);
  });

  it('of time sort in the order they were made, within a ms too', () => {
    const clock = new FakeClock();
    const ids = Array.from({ length: 5000 }, (_, at) => {
      if (at % 50 === 0) clock.advance(1);
      return timeId(clock);
    });
    expect(ids.toSorted()).toEqual(ids);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('of time still rise after the clock was set back', () => {
    const clock = new FakeClock();
    const before = timeId(clock);
    clock.jump(-3_600_000);
    expect(timeId(clock) > before).toBe(true);
  });

  it('of time begin with the time', () => {
    expect(timeId(new FakeClock(1_469_918_176_385)).slice(0, 10)).toBe('01aryz6s41');
  });
});
