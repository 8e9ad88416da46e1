import { describe, expect, it } from 'vitest';

import { asError, createOutput, errorLines } from '../../src/cli/output.ts';
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
