import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { RingBuffer } from '../../src/kernel/ring-buffer.ts';

describe('a ring buffer', () => {
  it('holds the newest bytes of a stream, each at its place', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 20 }),
        fc.nat(500),
        (capacity, pieces, since) => {
          const ring = new RingBuffer(capacity);
          for (const piece of pieces) ring.append(piece);
          const all = Buffer.concat(pieces);
          expect(ring.end).toBe(all.length);
          expect(ring.start).toBe(Math.max(0, all.length - capacity));
          const { cursor, bytes } = ring.read(since);
          expect(cursor).toBe(Math.min(Math.max(since, ring.start), ring.end));
          expect(Buffer.from(bytes).equals(all.subarray(cursor))).toBe(true);
          expect(Buffer.from(ring.read(since, 3).bytes).equals(all.subarray(cursor, cursor + 3))).toBe(true);
        },
      ),
    );
  });
});
