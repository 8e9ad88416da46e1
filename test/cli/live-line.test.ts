import { describe, expect, it } from 'vitest';

import { LiveLine, RecentRate } from '../../src/cli/live-line.ts';
import { FakeClock } from '../helpers/clock.ts';

const lines = (columns?: number) => {
  const clock = new FakeClock();
  const written: string[] = [];
  let text = 'one';
  const sink = { write: (one: string) => written.push(one), isTTY: true, columns };
  const line = new LiveLine({ sink, clock, compose: () => text });
  return { clock, written, line, set: (next: string) => (text = next) };
};

describe('a line that is drawn again in its place', () => {
  it('is drawn ten times a second at the most, and in the end as it is', () => {
    const { clock, written, line, set } = lines();
    line.changed();
    for (const text of ['two', 'three']) {
      set(text);
      line.changed();
    }
    expect(written).toEqual(['\r\u001B[Kone']);
    clock.advance(99);
    expect(written).toHaveLength(1);
    clock.advance(1);
    expect(written).toEqual(['\r\u001B[Kone', '\r\u001B[Kthree']);
  });

  it('leaves nothing behind, and no timer', () => {
    const { clock, written, line } = lines();
    line.clear();
    expect(written).toEqual([]);
    line.changed();
    line.changed();
    line.clear();
    line.clear();
    expect(written.slice(1)).toEqual(['\r\u001B[K']);
    expect(clock.waiting).toBe(0);
  });

  it('never wraps: wide characters count twice', () => {
    const { written, line, set } = lines(10);
    set('東京東京東京');
    line.changed();
    expect(written).toEqual(['\r\u001B[K東京東京…']);
  });
});

describe('a terminal that does not say how wide it is', () => {
  it.each([undefined, 0])('is taken for one of 80 columns: %s', (columns) => {
    const { written, line, set } = lines(columns);
    set('x'.repeat(100));
    line.changed();
    expect(written).toEqual([`\r\u001B[K${'x'.repeat(78)}…`]);
  });
});

describe('a rate', () => {
  it('is that of the last seconds', () => {
    const rate = new RecentRate();
    rate.add(0, 0);
    expect(rate.perSecond).toBe(0);
    rate.add(1000, 1000);
    expect(rate.perSecond).toBe(1000);
    for (let at = 2000; at <= 20_000; at += 1000) rate.add(at, 1000);
    expect(rate.perSecond).toBe(0);
  });

  it('keeps few samples, however many come', () => {
    const rate = new RecentRate();
    for (let at = 0; at < 4000; at += 1) rate.add(at, at * 2);
    expect(rate.perSecond).toBeCloseTo(2000);
  });
});
