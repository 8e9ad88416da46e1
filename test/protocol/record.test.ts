import { describe, expect, it } from 'vitest';

import { isRecord, parseFields } from '../../src/protocol/record.ts';

describe('a JSON object in a text', () => {
  it('is read; anything else that somebody may have written is none', () => {
    expect(parseFields('{"a":[1]}')).toEqual({ a: [1] });
    for (const text of ['', '{', '[]', '[{}]', 'null', '"{}"', '1', '{"a":1} x'])
      expect(parseFields(text)).toBeUndefined();
  });

  it('is told from lists and from nothing', () => {
    expect([{}, { a: 1 }].every(isRecord)).toBe(true);
    expect([[], null, undefined, 'a', 1, () => undefined].some(isRecord)).toBe(false);
  });
});
