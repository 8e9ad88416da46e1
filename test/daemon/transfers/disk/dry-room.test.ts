import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import type { TargetOptions } from '../../../../src/daemon/transfers/disk/target.ts';
import { ENTRY, type Entry, type Failed } from '../../../../src/daemon/transfers/format.ts';
import { mountSmallDisk } from '../../../helpers/small-disk.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import { closeTarget, diskIn, targetAt } from './setup.ts';

const file = (path: string, size: number): Entry => [ENTRY.file, 0, path, size, 1, 0o644];

describe('a dry run on a disk that is nearly full', () => {
  /** Plans these groups one behind the other in `x` on a disk of 1 MiB. @returns what would fail; undefined without such a disk. */
  const planned = async (
    groups: readonly (readonly Entry[])[],
    { there = {}, ...options }: Partial<TargetOptions> & { there?: Readonly<Record<string, number>> } = {},
  ): Promise<Failed[] | undefined> => {
    const small = await mountSmallDisk(1024);
    if (small === undefined) return undefined;
    const folder = realpathSync(small.folder);
    mkdirSync(join(folder, 'x'));
    for (const [name, size] of Object.entries(there)) writeFileSync(join(folder, 'x', name), Buffer.alloc(size));
    const disk = diskIn(join(await tempFolder(), 'home'), { rules: { allowed: [folder] } });
    const target = await targetAt(disk, folder, {
      roots: [{ name: 'x', type: 'directory' }],
      dryRun: true,
      ...options,
    });
    const failed: Failed[] = [];
    for (const group of groups) failed.push(...(await target.plan(group)).failed);
    await closeTarget(disk, target);
    return failed;
  };
  const NO_DISK = 'only root on Linux may mount a disk';

  it(verifies('transfers.dry-run', 'says what would not fit, in the words of the real one'), async ({ skip }) => {
    const group = [file('big', 10e6), file('a', 400_000), file('b', 700_000), file('c', 400_000)];
    const would = await planned([group]);
    skip(would === undefined, NO_DISK);
    expect(would).toEqual(await planned([group], { dryRun: false }));
    expect(would).toEqual([
      ['x/big', 'disk_full', '"x/big" does not fit: it has 10000000 bytes, and 1048576 are free'],
      ['x/b', 'disk_full', '"x/b" does not fit: it has 700000 bytes, and 648576 are free'],
    ]);
  });

  it(verifies('transfers.dry-run', 'counts what would have been written before'), async ({ skip }) => {
    const would = await planned([[file('a', 600_000)], [file('b', 600_000)], [file('c', 400_000)]]);
    skip(would === undefined, NO_DISK);
    expect(would?.map(([path]) => path)).toEqual(['x/b']);
  });

  it(verifies('transfers.dry-run', 'counts no more than differs of what is there'), async ({ skip }) => {
    const there = { a: 409_600, b: 409_600 };
    const again = [[file('a', 200_000)], [file('b', 200_000)], [file('c', 600_000)], [file('d', 200_000)]];
    const would = await planned(again, { there });
    skip(would === undefined, NO_DISK);
    expect(would?.map(([path]) => path)).toEqual(['x/d']);
    const alike = Array.from({ length: 12 }, () => [file('a', 102_400)]);
    expect(await planned(alike, { there: { a: 102_400 }, checksum: true })).toEqual([]);
  });
});
