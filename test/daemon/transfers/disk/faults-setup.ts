import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { beforeEach, expect } from 'vitest';

import type { Target } from '../../../../src/daemon/transfers/disk/target.ts';
import { CHUNK_BYTES } from '../../../../src/daemon/transfers/format.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { faults } from './failing-fs.ts';
import { closeTarget, diskIn, draftsIn, MTIME_MS, targetAt, writeFiles, type TestDisk } from './setup.ts';

/** A tree with one old file, and a target that writes into it; the test's file has `node:fs` replaced by `failingFs`. */
export class FaultTree {
  home = '';
  disk!: TestDisk;
  target!: Target;

  /** Another target of the same tree. */
  async open(): Promise<Target> {
    const opened = await targetAt(this.disk, '~/tree');
    opened.places.roots = [await this.disk.around.guard.check('~/tree')];
    await opened.places.judge([0]);
    return opened;
  }

  /** Opens a large file. @returns its number. */
  async prepareLarge(path: string, size = CHUNK_BYTES + 5): Promise<number> {
    return (await this.target.prepare([0, path, size, MTIME_MS, 0o644])).file;
  }

  /** The old file is as it was, nothing is left, and the next transfer of it works. */
  async expectUntouched(): Promise<void> {
    faults.clear();
    const old = join(this.home, 'tree/old');
    expect(readFileSync(old, 'utf8')).toBe('old');
    expect(draftsIn(this.home)).toEqual([]);
    expect(this.disk.locks.isFree).toBe(true);
    expect(await writeFiles(this.target, [['old', 'new']])).toMatchObject({ done: 1, failed: [] });
    expect(readFileSync(old, 'utf8')).toBe('new');
    await closeTarget(this.disk, this.target);
    expect(readdirSync(this.disk.around.journalDir)).toEqual([]);
  }
}

/** One that is made anew before each test, with no fault. */
export const useFaultTree = (): FaultTree => {
  const tree = new FaultTree();
  beforeEach(async () => {
    faults.clear();
    tree.home = join(await tempFolder(), 'home');
    mkdirSync(join(tree.home, 'tree'), { recursive: true });
    writeFileSync(join(tree.home, 'tree/old'), 'old');
    tree.disk = diskIn(tree.home);
    tree.target = await tree.open();
  });
  return tree;
};
