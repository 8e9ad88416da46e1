import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { draftNameOf } from '../../../../src/daemon/transfers/disk/draft-names.ts';
import type { Target } from '../../../../src/daemon/transfers/disk/target.ts';
import { SMALL_BYTES } from '../../../../src/daemon/transfers/format.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import { closeTarget, diskIn, targetAt, whys, type TestDisk } from './setup.ts';

let home: string;
let folder: string;
let disk: TestDisk;

beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  folder = join(home, 'tree/folder');
  mkdirSync(folder, { recursive: true });
  disk = diskIn(home);
});

const open = (dest = '~'): Promise<Target> => targetAt(disk, dest);
/** Begins a large file in the folder. */
const begin = async (target: Target): Promise<void> => {
  await target.prepare([0, 'folder/large', 2 * SMALL_BYTES, 1, 0o644]);
  writeFileSync(join(folder, draftNameOf('large', disk.around.nodeId)), 'half of it');
};
/** The drafts that are written down. */
const written = (): string =>
  readdirSync(disk.around.journalDir)
    .map((name) => readFileSync(join(disk.around.journalDir, name), 'utf8'))
    .join('');

describe('a draft in a folder that is to go', () => {
  it.each([true, false])(
    verifies('transfers.delete', 'goes with it, where nobody writes it any more (only what is emptied: %s)'),
    async (isEmptied) => {
      const cut = await open();
      await begin(cut);
      await closeTarget(disk, cut, false);
      expect(written()).toContain('.part');
      const target = await open();
      expect(await target.remove({ root: 0, paths: ['folder'], isEmptied })).toEqual({ removed: 1, failed: [] });
      expect(existsSync(folder)).toBe(false);
      await closeTarget(disk, target, false);
      expect(readdirSync(disk.around.journalDir)).toEqual([]);
    },
  );

  it(verifies('transfers.delete', 'stays while it is written, and then the folder does'), async () => {
    const [writing, target] = [await open('~/'), await open()];
    await begin(writing);
    const { removed, failed } = await target.remove({ root: 0, paths: ['folder'], isEmptied: false });
    expect([removed, whys(failed)]).toEqual([0, ['tree/folder wrong_type']]);
    expect(readdirSync(folder)).toEqual([draftNameOf('large', disk.around.nodeId)]);
    await closeTarget(disk, writing, false);
    expect((await target.remove({ root: 0, paths: ['folder'], isEmptied: false })).removed).toBe(1);
    await closeTarget(disk, target);
    expect(disk.locks.isFree).toBe(true);
  });

  it(verifies('transfers.delete', 'stays with what is left out, and is none where it is a folder'), async () => {
    writeFileSync(join(folder, 'left-out'), '');
    writeFileSync(join(folder, draftNameOf('large', 'n')), 'half of it');
    mkdirSync(join(home, 'tree/other', draftNameOf('large', 'n')), { recursive: true });
    const target = await open();
    const answer = await target.remove({ root: 0, paths: ['folder', 'other'], isEmptied: true });
    expect(answer).toEqual({ removed: 0, failed: [] });
    expect(readdirSync(folder)).toHaveLength(2);
    expect(readdirSync(join(home, 'tree/other'))).toHaveLength(1);
    await closeTarget(disk, target);
  });
});
