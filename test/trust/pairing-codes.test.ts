import { describe, expect, it } from 'vitest';

import { newDigits, newInvitation, parseCode } from '../../src/trust/pairing-codes.ts';

const NODE = 'abcdefghijklmnopqrstuvwxyz234567';

describe('a code', () => {
  it('has six random digits, or nine, and keeps its zeros', () => {
    expect(newDigits(6, () => 7)).toBe('000007');
    expect(newDigits(9, () => 42)).toBe('000000042');
    const limits: number[] = [];
    newDigits(6, (limit) => limits.push(limit));
    newDigits(9, (limit) => limits.push(limit));
    expect(limits).toEqual([1_000_000, 1_000_000_000]);
    const codes = Array.from({ length: 100 }, () => newDigits(6));
    expect(codes.every((code) => /^[0-9]{6}$/.test(code))).toBe(true);
    expect(new Set(codes).size).toBeGreaterThan(95);
  });

  it('is read as people type it', () => {
    for (const typed of ['482913', ' 482 913\n', '482-913', '48 29 13'])
      expect(parseCode(typed)).toEqual({ kind: 'digits', secret: Buffer.from('482913') });
    expect(parseCode('123 456 789')).toEqual({ kind: 'digits', secret: Buffer.from('123456789') });
    for (const wrong of ['', '48291', '4829133', '48291a', '12345678', '1234567890', '４８２９１３', 'loopsy-', '-'])
      expect(parseCode(wrong)).toBeUndefined();
  });

  it('is an invitation: 128 bits, and whom it leads to', () => {
    const secret = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
    const text = newInvitation(NODE, () => secret);
    expect(text).toBe(`loopsy-${NODE}-aaisem2ekvthpcezvk54zxpo74`);
    expect(parseCode(text)).toEqual({ kind: 'invitation', secret, nodeId: NODE });
    expect(parseCode(` ${text.toUpperCase()} `)).toEqual({ kind: 'invitation', secret, nodeId: NODE });
    for (let count = 0; count < 200; count += 1) {
      const one = newInvitation(NODE);
      const read = parseCode(one);
      expect(one).toMatch(/^loopsy-[a-z2-7]{32}-[a-z2-7]{26}$/);
      expect(read?.secret.length).toBe(16);
      expect(newInvitation(NODE, () => read?.secret ?? secret)).toBe(one);
    }
  });

  it('has one form: other ends, lengths and letters are none', () => {
    const text = newInvitation(NODE, () => Buffer.alloc(16));
    expect(text.endsWith('a')).toBe(true);
    for (const end of ['b', 'c', 'd']) expect(parseCode(text.slice(0, -1) + end)).toBeUndefined();
    for (const wrong of [`${text}a`, text.slice(0, -1), text.replace('loopsy', 'loops'), text.replace('a', '1')])
      expect(parseCode(wrong)).toBeUndefined();
    expect(() => newInvitation('too-short')).toThrow();
  });
});
