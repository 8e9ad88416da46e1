import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { compareUtf8, prefixEnd } from '../../src/store/text.ts';

// Characters at the borders where UTF-16 and UTF-8 differ in order.
const text = fc.string({
  unit: fc.constantFrom('a', 'b', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{10ffff}', 'ä'),
});
const compareBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

describe('the order of texts', () => {
  it('is that of their UTF-8 bytes', () => {
    fc.assert(fc.property(text, text, (a, b) => Math.sign(compareUtf8(a, b)) === compareBytes(a, b)));
  });

  it('has the end of a prefix behind all texts with it, and before all others that are greater', () => {
    fc.assert(
      fc.property(text, text, (prefix, other) => {
        const end = prefixEnd(prefix);
        const isWithin = compareBytes(other, prefix) >= 0 && (end === undefined || compareBytes(other, end) < 0);
        expect(isWithin).toBe(other.startsWith(prefix));
        expect(end === undefined || compareBytes(prefix + other, end) < 0).toBe(true);
      }),
    );
  });
});
