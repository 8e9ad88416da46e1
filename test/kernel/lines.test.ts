import fc from 'fast-check';
import { expect, it } from 'vitest';

import { LineReader } from '../../src/kernel/lines.ts';

it('a line reader gives back the lines that were written, however they are cut', () => {
  const line = fc.string({ unit: 'binary', maxLength: 40 }).filter((text) => !text.includes('\n'));
  const property = fc.property(
    fc.array(line, { maxLength: 20 }),
    fc.array(fc.nat(60), { maxLength: 30 }),
    (lines, cuts) => {
      const bytes = Buffer.from(lines.map((one) => `${one}\n`).join(''));
      const reader = new LineReader(() => 1_000);
      const places = [0, ...cuts.map((cut) => Math.min(cut * 20, bytes.length)).sort((a, b) => a - b), bytes.length];
      const read = places.slice(1).flatMap((end, at) => [...reader.read(bytes.subarray(places[at], end))]);
      expect(read).toEqual(lines.map((one) => Buffer.from(one).toString()));
    },
  );
  fc.assert(property);
});

it('and refuses one that is longer than allowed, before its end', () => {
  const reader = new LineReader(() => 10);
  expect([...reader.read(Buffer.from('0123456789\n012345'))]).toEqual(['0123456789']);
  expect(() => [...reader.read(Buffer.from('6789a'))]).toThrow('a line has more than 10 bytes');
});
