import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { arrivedBytes } from '../../../src/cli/transfer-words.ts';
import { verifies } from '../../requirements.ts';
import { localNode } from './local-setup.ts';

describe('bytes that are at the destination', () => {
  it(
    verifies('cli.transfer.summary', 'are counted apart where they were there before, as files and as parts of one'),
    async () => {
      const { home, move, write } = await localNode();
      const small = (text: string) => Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`tree/s${at}`, text]));
      await write({ ...small('1'), 'tree/same': 'x'.repeat(3_000_000), 'tree/grows': 'y'.repeat(2 * 4_194_304) });
      await move({ sources: ['tree/.'], dest: 'copy' });
      await write(small('22'));
      await appendFile(join(home, 'tree/grows'), 'more');
      const ended = await move({ sources: ['tree/.'], dest: 'copy' });
      expect(ended).toMatchObject({
        files: { done: 51, skipped: 1 },
        bytes: { done: 11_388_712, skipped: 11_388_608 },
      });
      expect(arrivedBytes(ended)).toBe(104);
    },
  );
});
