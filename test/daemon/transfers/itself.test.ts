import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { verifies } from '../../requirements.ts';
import { localNode } from './local-setup.ts';

const FILES = { 'w/release/release': '1', 'w/release/notes': '2', 'w/old/notes': '3', 'p/a': '4', 'to/p/q/b': '5' };

/** All that is in a home, but what is the node's own. */
const namesIn = async (home: string): Promise<string[]> =>
  (await readdir(home, { recursive: true })).filter((name) => !name.startsWith('data')).toSorted();

describe('a folder that holds what is sent to it', () => {
  it.each([
    ['a folder in it', ['w/release/.'], 'w'],
    ['a folder that goes into the one above it', ['p', 'to/p/q'], 'to'],
    ['a file that goes into the one above that', ['p', 'to/p/q/b'], 'to'],
    ['a folder far below', ['to/p/q/.'], 'to'],
  ])(
    verifies('transfers.itself', 'is never made its mirror, not even in a dry run: %s stays'),
    async (_, sources, dest) => {
      const { home, move, write } = await localNode();
      await write(FILES);
      const before = await namesIn(home);
      for (const choices of [{}, { dryRun: true }, { noClobber: true }]) {
        expect(await move({ sources, dest, delete: true, ...choices })).toMatchObject({
          outcome: 'failed',
          error: 'invalid_request',
          message: expect.stringContaining('--delete would remove it there'),
        });
      }
      expect(await namesIn(home)).toEqual(before);
    },
  );

  it(
    verifies('transfers.itself', 'takes it without --delete, and is a mirror of itself and of its neighbours'),
    async () => {
      const { home, move, write } = await localNode();
      await write(FILES);
      expect(await move({ sources: ['w/release/.'], dest: 'w/release', delete: true })).toMatchObject({
        outcome: 'done',
      });
      expect(await move({ sources: ['w/release/.'], dest: 'w/old', delete: true })).toMatchObject({ outcome: 'done' });
      expect(await move({ sources: ['to/p/q/.'], dest: 'to' })).toMatchObject({ outcome: 'done' });
      expect(await readdir(join(home, 'w/old'))).toEqual(['notes', 'release']);
      expect((await readdir(join(home, 'to'))).toSorted()).toEqual(['b', 'p']);
    },
  );
});
