import { describe, expect, it } from 'vitest';

import { nearest } from '../../src/kernel/nearest.ts';

describe('did you mean', () => {
  const words = ['exec', 'peers', 'status', 'execution', 'port'];
  it.each([
    ['exce', 'exec'],
    ['prot', 'port'],
    ['peer', 'peers'],
    ['pers', 'peers'],
    ['satus', 'status'],
    ['exection', 'execution'],
    ['EXECUTION', 'execution'],
    ['stauts', 'status'],
  ])('%s is near to %s', (word, meant) => expect(nearest(word, words)).toBe(meant));

  it.each(['', 'x', 'list', 'statistics', 'xyzzy'])('%j is near to nothing', (word) => {
    expect(nearest(word, words)).toBeUndefined();
  });

  it('the first of two that are as near is meant', () => expect(nearest('ab', ['aa', 'bb'])).toBe('aa'));
});
