import { chmodSync, mkdirSync, readdirSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { verifies } from '../../../requirements.ts';
import { diskIn, errorOf, move, quickFolder, sourceOf, targetAt, whys, type TestDisk } from './setup.ts';

let home: string;
let disk: TestDisk;

beforeEach(async () => {
  home = join(await quickFolder(), 'home');
  mkdirSync(join(home, 'tree', 'sub'), { recursive: true });
  writeFileSync(join(home, 'tree', 'sub', 'f'), 'x');
  writeFileSync(join(home, 'tree', '.hidden'), 'x');
  disk = diskIn(home);
});

const namesIn = (...path: string[]): string[] => readdirSync(join(home, ...path)).toSorted();

describe('what is in a folder', () => {
  it.each(['~/tree/.', '~/tree/./', '~/tree/sub/..', 'tree/.//', '~/tre[e]/.', '~/{tree,none}/.'])(
    verifies('transfers.folder-contents', 'goes into a folder that is there, as cp -r does it: %s'),
    async (source) => {
      mkdirSync(join(home, 'dest'));
      const first = await move([disk, disk], [[source], '~/dest']);
      expect(first).toMatchObject({ failed: [], files: 2, folders: 1, paths: [join(home, 'dest')] });
      expect(namesIn('dest')).toEqual(['.hidden', 'sub']);
      const again = await move([disk, disk], [[source], '~/dest/']);
      expect(again).toMatchObject({ failed: [], files: 0, skipped: 2, paths: [join(home, 'dest')] });
      expect(namesIn('dest')).toEqual(['.hidden', 'sub']);
    },
  );

  it.each(['~/new', '~/new/'])(
    verifies('transfers.folder-contents', 'makes the folder that is not there, as it is at the source: %s'),
    async (dest) => {
      chmodSync(join(home, 'tree'), 0o750);
      utimesSync(join(home, 'tree'), 1, 1_234_567_890);
      await move([disk, disk], [['~/tree/.'], dest]);
      expect(namesIn('new')).toEqual(['.hidden', 'sub']);
      const { mode, mtimeMs } = statSync(join(home, 'new'));
      expect([mode & 0o777, mtimeMs]).toEqual([0o750, 1_234_567_890_000]);
    },
  );

  it(verifies('transfers.folder-contents', 'leaves the folder that it goes into as it is'), async () => {
    mkdirSync(join(home, 'dest'), { mode: 0o700 });
    chmodSync(join(home, 'tree'), 0o777);
    await move([disk, disk], [['~/tree/.'], '~/dest']);
    expect(statSync(join(home, 'dest')).mode & 0o777).toBe(0o700);
  });

  it('is that of the folder that a link leads to', async () => {
    symlinkSync('tree', join(home, 'alias'));
    expect(await move([disk, disk], [['~/alias/.'], '~/new']).then(({ files }) => files)).toBe(2);
  });

  it(verifies('transfers.folder-contents', 'never makes a mirror of the home'), async () => {
    const roots = [{ name: 'tree/.', type: 'directory' as const }];
    for (const dest of ['~', '.', '~/tree/..'])
      expect(await errorOf(targetAt(disk, dest, { roots, delete: true })), dest).toBe('invalid_request');
    expect(await errorOf(targetAt(disk, '~', { roots }))).toBe('none');
    expect(await errorOf(targetAt(disk, '~/new', { roots, delete: true }))).toBe('none');
  });

  it('is no file', async () => {
    const { failed } = await sourceOf(disk, ['~/tree/.hidden/.']);
    expect(whys(failed)).toEqual(['~/tree/.hidden/. wrong_type']);
    const roots = [{ name: 'tree/.', type: 'directory' as const }];
    expect(await errorOf(targetAt(disk, '~/tree/.hidden', { roots }))).toBe('wrong_type');
  });

  it("goes alone: two trees in one place would get into each other's way", async () => {
    const roots = ['tree/.', 'other'].map((name) => ({ name, type: 'directory' as const }));
    expect(await errorOf(targetAt(disk, '~/new/', { roots }))).toBe('invalid_request');
    expect(namesIn('.')).toEqual(['tree']);
  });
});
