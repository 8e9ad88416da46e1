import { lstatSync, readdirSync, utimesSync } from 'node:fs';
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
});
