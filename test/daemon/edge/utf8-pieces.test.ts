import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type Stretch, Utf8Pieces } from '../../../src/daemon/edge/utf8-pieces.ts';

const bytesOf = (stretches: readonly Stretch[]): Buffer => Buffer.concat(stretches.map(({ bytes }) => bytes));

/** Cuts `bytes` at random places. */
const chunks = fc
  .tuple(
    fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.string({ unit: 'binary', maxLength: 100 }).map((text) => Buffer.from(text)),
    ),
    fc.array(fc.nat(40)),
  )
  .map(([bytes, sizes]) => {
    const pieces: Uint8Array[] = [];
    let at = 0;
    for (const size of sizes) {
      pieces.push(bytes.subarray(at, at + size));
      at += size;
    }
    return { bytes, pieces: [...pieces, bytes.subarray(at)] };
  });

describe('UTF-8 in pieces', () => {
  it('gives every byte once and in order, marks as text only what is text, and holds at most 3', () => {
    fc.assert(
      fc.property(chunks, ({ bytes, pieces }) => {
        const text = new Utf8Pieces();
        const out: Stretch[] = [];
        for (const piece of pieces) {
          out.push(...text.push(piece));
          expect(text.heldBytes).toBeLessThanOrEqual(3);
        }
        out.push(...text.flush());
        expect(bytesOf(out).equals(bytes)).toBe(true);
        for (const { bytes: part, isText } of out) {
          if (isText) expect(Buffer.from(Buffer.from(part).toString()).equals(part)).toBe(true);
        }
      }),
    );
  });

  it('keeps valid text as text wherever it is cut', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), fc.integer({ min: 1, max: 5 }), (whole, size) => {
        const bytes = Buffer.from(whole);
        const text = new Utf8Pieces();
        let joined = '';
        for (let at = 0; at < bytes.length; at += size) {
          for (const stretch of text.push(bytes.subarray(at, at + size))) {
            expect(stretch.isText).toBe(true);
            joined += Buffer.from(stretch.bytes).toString();
          }
        }
        expect(joined).toBe(whole);
        expect(text.heldBytes).toBe(0);
      }),
    );
  });

  it('keeps text behind the rest of a lost character as text', () => {
    const out = new Utf8Pieces().push(Buffer.concat([Buffer.from([0x82, 0xac]), Buffer.from(' and text')]));
    expect(out.map(({ isText, bytes }) => [isText, bytes.length])).toEqual([
      [false, 2],
      [true, 9],
    ]);
  });
});
