import { describe, expect, it } from 'vitest';

import { exitOf } from '../../src/cli/run-hook.ts';

describe('a command that is run for a message', () => {
  it('ended with its code, with 128 + n of a signal, or did not start', () => {
    expect(exitOf(3, null)).toBe(3);
    expect(exitOf(0, null)).toBe(0);
    expect(exitOf(null, 'SIGKILL')).toBe(137);
    expect(exitOf(null, 'SIGTERM')).toBe(143);
    expect(exitOf(null, null)).toBe(127);
  });
});
