import { lstatSync, readdirSync, utimesSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { verifies } from '../../requirements.ts';
import { localNode } from './local-setup.ts';

describe('a mirror', () => {
  it.each([[{}], [{ exclude: ['*.log'] }]])(
    verifies('transfers.delete', 'has the times of its source, also of folders in which something went (%j)'),
    async (choices) => {
      const { home, move, write } = await localNode();
      await write({
        'tree/a/x': 'x',
        'tree/b/deep/x': 'x',
        'to/tree/a/old': '',
        'to/tree/a/gone/x': '',
        'to/tree/b/deep/old': '',
        'to/tree/old': '',
      });
      const folders = ['tree/a', 'tree/b/deep', 'tree/b', 'tree'];
      for (const [index, folder] of folders.entries()) utimesSync(join(home, folder), 1e9, 1e9 + index);
      const row = await move({ sources: ['tree'], dest: 'to', delete: true, ...choices });
      expect(row).toMatchObject({ outcome: 'done', failures: [] });
      expect(readdirSync(join(home, 'to/tree/a'))).toEqual(['x']);
      const times = folders.map((folder) => lstatSync(join(home, 'to', folder)).mtimeMs / 1000 - 1e9);
      expect(times).toEqual([0, 1, 2, 3]);
    },
  );

  it(verifies('transfers.delete', 'does not look into folders that are left out'), async () => {
    const { home, move, write } = await localNode({ denied: ['~/to/priv', '~/to/sub/priv'] });
    await write({ 'tree/a': 'a', 'tree/sub/b': 'b', 'to/priv/x': 'x', 'to/sub/priv/x': 'x', 'to/old': '' });
    const row = await move({ sources: ['tree/.'], dest: 'to', delete: true, exclude: ['priv/'] });
    expect(row).toMatchObject({ outcome: 'done', failures: [], removed: 1 });
    expect(await readdir(join(home, 'to'))).toEqual(['a', 'priv', 'sub']);
  });

  it(verifies('transfers.delete', 'leaves out what has a name that is no text'), async ({ skip }) => {
    skip(process.platform !== 'linux', 'only Linux has names that are no text');
    const { home, move, write } = await localNode();
    const writeBad = (folder: string): Promise<void> =>
      writeFile(Buffer.concat([Buffer.from(join(home, folder, 'bad')), Buffer.of(0xff, 0xfe)]), '');
    await write({ 'tree/a': 'a', 'to/cache/x': 'x', 'to/old': '' });
    await mkdir(join(home, 'tree/cache'));
    for (const folder of ['tree', 'tree/cache', 'to/cache']) await writeBad(folder);
    const what = { sources: ['tree/.'], dest: 'to', delete: true };
    const { failures } = await move({ ...what, exclude: ['cache/'] });
    expect(failures[0]).toMatchObject({
      error: 'name_unusable',
      hint: expect.stringContaining('with --exclude: there'),
    });
    const row = await move({ ...what, exclude: ['cache/', 'bad*'] });
    expect(row).toMatchObject({ outcome: 'done', failures: [], removed: 1 });
    // At the target only the folder that it is in can be left out.
    const seen = await move({ ...what, exclude: ['bad*'] });
    expect(seen.failures.map(({ path, hint }) => [path, hint])).toEqual([
      ['tree/cache/bad\ufffd\ufffd', 'rename or remove it there, or leave out the folder that it is in with --exclude'],
    ]);
  });
});
