import { describe, expect, it } from 'vitest';

import { asError, createOutput, errorLines, fitted, spent } from '../../src/cli/output.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';

const { paint } = createOutput(
  { stdout: { write: () => true }, stderr: { write: () => true } },
  { json: false, colour: false },
);
const linesOf = (error: LoopsyError): string[] => errorLines(error.toBody(), paint);

describe('an error for people', () => {
  it('has what is to be compared on lines of its own', () => {
    const error = new LoopsyError('peer_handshake', {
      message: 'another fingerprint',
      hint: 'look again',
      details: { expected: 'aa', shown: 'bb' },
    });
    expect(linesOf(error)).toEqual(['loopsy: another fingerprint', '  expected  aa', '  shown     bb', '  look again']);
  });

  it('has the last lines of a program on lines of their own, made harmless', () => {
    const error = new LoopsyError('internal', {
      message: 'it ended',
      hint: 'see its log',
      details: { said: ['one', 'two\u001b[2J'] },
    });
    expect(linesOf(error)).toEqual(['loopsy: it ended', '    one', '    two\\u{1b}[2J', '  see its log']);
  });

  it('is one line where it is unexpected', () => {
    expect(asError(new Error('first\n    and more')).message).toBe('first');
  });
});

describe('what something took', () => {
  it.each([
    [0.4, '0 ms'],
    [999, '999 ms'],
    [1400, '1.4 s'],
    [12_900, '12 s'],
    [60_000, '1 min'],
    [185_000, '3 min 5 s'],
    [3_700_000, '1 h 1 min'],
    [90_000_000, '1 d 1 h'],
  ])('is said as exactly as people care: %d → %s', (ms, text) => {
    expect(spent(ms)).toBe(text);
  });
});

describe('a text that must fit', () => {
  it.each([
    ['abc', 3, 'abc'],
    ['abcd', 3, 'ab…'],
    ['東京', 4, '東京'],
    ['東京x', 4, '東…'],
    ['abc', 1, '…'],
    ['abc', 0, ''],
  ])('takes no more columns than there are: %s in %d', (text, columns, shown) => {
    expect(fitted(text, columns)).toBe(shown);
  });
});
