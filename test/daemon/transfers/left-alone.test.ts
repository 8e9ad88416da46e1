import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { isDraftName } from '../../../src/daemon/transfers/disk/draft-names.ts';
import { until } from '../../helpers/process-facts.ts';
import { verifies } from '../../requirements.ts';
import { localNode } from './local-setup.ts';

describe('a file that comes to the destination while one is sent there', () => {
  it.each([
    ['noClobber', 900_000],
    ['noClobber', 5_000_000],
    ['update', 900_000],
    ['update', 5_000_000],
  ] as const)(verifies('transfers.left-alone', 'stays, and counts as there: %s, %d bytes'), async (choice, size) => {
    const { home, transfers, call, write } = await localNode();
    await write({ big: 'b'.repeat(size) });
    const input = { sources: ['big'], dest: 'copy', [choice]: true, limit: size };
    const { transferId } = await transfers.begin(input, call);
    await until(async () => (await readdir(home)).some(isDraftName), 10_000);
    await writeFile(join(home, 'copy'), 'mine');
    const row = () => transfers.get({ transferId }, { kind: 'owner' });
    await until(() => row().state === 'ended', 10_000);
    expect(row()).toMatchObject({
      outcome: 'done',
      files: { found: 1, done: 0, skipped: 1, failed: 0 },
      bytes: { done: size, skipped: size },
      failures: [],
    });
    expect(row()).not.toHaveProperty('checksum');
    expect(await readFile(join(home, 'copy'), 'utf8')).toBe('mine');
    expect((await readdir(home)).filter(isDraftName)).toEqual([]);
  });
});
