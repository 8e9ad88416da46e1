import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { verifies } from '../../requirements.ts';
import { localNode } from './local-setup.ts';

describe('sources that are left out', () => {
  it(verifies('transfers.ignored', 'are neither sent nor mirrored'), async () => {
    const { home, move, write } = await localNode();
    await write({ 'aa/ge/cache/new': '', 'aa/ge/site/a': '', 'ge/cache/old': '', 'ge/site/gone': '' });
    const done = await move({ sources: ['aa/ge/*'], dest: 'ge/', delete: true, exclude: ['cache'] });
    expect(done).toMatchObject({ outcome: 'done', files: { found: 1, done: 1 }, removed: 1 });
    expect(await readdir(join(home, 'ge/cache'))).toEqual(['old']);
    expect(await readdir(join(home, 'ge/site'))).toEqual(['a']);
  });

  it(verifies('transfers.ignored', 'are no reason to refuse what goes into one of them'), async () => {
    const { home, move, write } = await localNode();
    await write({ 'aa/a': '', 'aa/b': '', 'aa/backup/x': '' });
    expect(await move({ sources: ['aa/*'], dest: 'aa/backup/', exclude: ['backup'] })).toMatchObject({
      outcome: 'done',
    });
    expect(await readdir(join(home, 'aa/backup'))).toEqual(['a', 'b', 'x']);
  });

  it(
    verifies('transfers.ignored', 'leave nothing to be done where there are no others, and that is an error'),
    async () => {
      const { home, move, write } = await localNode();
      await write({ 'aa/cache/new': '', 'ge/cache/old': '', 'ge/x': '' });
      expect(await move({ sources: ['aa/*'], dest: 'ge/', delete: true, exclude: ['cache'] })).toMatchObject({
        outcome: 'failed',
        error: 'invalid_request',
        message: 'all that was to be moved is left out by --exclude: nothing was moved, and nothing removed',
        removed: 0,
      });
      expect(await readdir(join(home, 'ge'))).toEqual(['cache', 'x']);
    },
  );
});
