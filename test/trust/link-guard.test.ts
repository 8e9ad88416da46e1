import * as fc from 'fast-check';
import { posix } from 'node:path';
import { describe, expect, it } from 'vitest';

import { staysInTree } from '../../src/trust/link-guard.ts';
import { seedOfRun } from '../helpers/seed.ts';
import { verifies } from '../requirements.ts';

describe('links that stay in a tree', () => {
  it.each([
    ['x', 0],
    ['./x', 0],
    ['a/b/c', 0],
    ['..', 1],
    ['../x', 1],
    ['../../x', 2],
    ['.././x', 1],
    ['...', 0],
    ['a..', 0],
    ['x/', 0],
    ['../', 1],
  ])('%s, from %d folders deep', (link, depth) => {
    expect(staysInTree(link, depth, 'linux')).toBe(true);
  });

  it.each([
    ['', 0],
    ['/', 5],
    ['/x', 5],
    ['//x', 5],
    ['..', 0],
    ['../..', 1],
    ['a/../b', 5],
    ['../a/..', 5],
    ['x\0', 1],
    ['./..', 0],
    ['.//../..', 1],
  ])(verifies('transfers.links', 'not %j, from %d folders deep'), (link, depth) => {
    expect(staysInTree(link, depth, 'linux')).toBe(false);
  });

  it.each([
    'C:x',
    'C:\\x',
    '\\x',
    '\\\\s\\x',
    '..\\..\\x',
    'a\\..\\b',
    'x:y',
    '.. /x',
    '..  ',
    '... ',
    'a/.. /b',
    'nul',
    'a/CON',
    'x.',
  ])(verifies('transfers.links', 'not %j on Windows'), (link) => {
    expect(staysInTree(link, 1, 'win32')).toBe(false);
  });

  it('on Windows its own separator counts, on Linux it is a letter', () => {
    expect(staysInTree('..\\x', 1, 'win32')).toBe(true);
    expect(staysInTree('..\\..\\x', 0, 'linux')).toBe(true);
  });

  it(verifies('transfers.links', 'property: what stays, by the text alone, never ends above the root'), () => {
    const word = fc.constantFrom('..', '.', '', 'a', 'b', '...');
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), fc.integer({ min: 0, max: 4 }), (words, depth) => {
        const link = words.join('/');
        if (!staysInTree(link, depth, 'linux')) return;
        const at = posix.join('/r', ...Array.from({ length: depth }, () => 'd'), link);
        expect(at === '/r' || at.startsWith('/r/') || at === '/r/').toBe(true);
      }),
      { seed: seedOfRun('links'), numRuns: 5000 },
    );
  });
});
