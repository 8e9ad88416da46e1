import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { BucketTable, TokenBucket } from '../../src/kernel/token-bucket.ts';
import { FakeClock } from '../helpers/clock.ts';

const drain = (bucket: TokenBucket): number => {
  let taken = 0;
  while (bucket.take().ok) taken += 1;
  return taken;
};

describe('a token bucket', () => {
  it('gives its size at once, then refuses and says when to come back', () => {
    const bucket = new TokenBucket(30, new FakeClock());
    expect(drain(bucket)).toBe(30);
    expect(bucket.take()).toEqual({ ok: false, retryAfterMs: 2000 });
  });

  it('has a token whenever it said so, and none before', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), fc.array(fc.nat(5000), { maxLength: 20 }), (size, waits) => {
        const clock = new FakeClock();
        const bucket = new TokenBucket(size, clock);
        for (const wait of waits) {
          clock.advance(wait);
          drain(bucket);
          const refused = bucket.take();
          if (refused.ok) throw new Error('not drained');
          clock.advance(refused.retryAfterMs - 1);
          if (refused.retryAfterMs > 1) expect(bucket.take().ok).toBe(false);
          clock.advance(1);
          expect(bucket.take().ok).toBe(true);
        }
      }),
    );
  });

  it('gives its size a minute, evenly, and never saves up more', () => {
    const clock = new FakeClock();
    const bucket = new TokenBucket(60, clock);
    drain(bucket);
    let taken = 0;
    for (let second = 0; second < 60; second++) {
      clock.advance(1000);
      taken += drain(bucket);
    }
    expect(taken).toBe(60);
    clock.advance(3_600_000);
    expect(drain(bucket)).toBe(60);
  });

  it('does not care for jumps of the wall clock', () => {
    const clock = new FakeClock();
    const bucket = new TokenBucket(5, clock);
    drain(bucket);
    clock.jump(86_400_000);
    expect(bucket.take().ok).toBe(false);
  });

  it('can be made larger and smaller while it is used', () => {
    const bucket = new TokenBucket(10, new FakeClock());
    for (let at = 0; at < 5; at++) bucket.take();
    bucket.resize(20);
    expect(drain(bucket)).toBe(15);
    bucket.resize(2);
    expect(drain(bucket)).toBe(0);
  });
});

describe('a table of buckets', () => {
  it('counts each key for itself', () => {
    const table = new BucketTable({ size: 1, clock: new FakeClock() });
    expect(table.take('a').ok).toBe(true);
    expect(table.take('a').ok).toBe(false);
    expect(table.take('b').ok).toBe(true);
    table.resize(3);
    expect(table.take('a').ok).toBe(true);
  });

  it('stays within its bound: what is as good as new goes first, then the least used', () => {
    const clock = new FakeClock();
    const table = new BucketTable({ size: 1, clock, maxKeys: 3 });
    table.take('a');
    table.take('b');
    clock.advance(60_000);
    table.take('b');
    table.take('c');
    table.take('d');
    expect(table.keys).toBe(3);
    expect(table.take('b').ok).toBe(false);
    table.take('e');
    expect(table.keys).toBe(3);
    expect(table.take('b').ok).toBe(false);
    expect(table.take('d').ok).toBe(false);
  });
});
