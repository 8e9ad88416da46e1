import { execFileSync } from 'node:child_process';
import { mkdir, readdir, readFile, rename, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import type { TargetEnd } from '../../../src/daemon/transfers/ends.ts';
import type { Marks } from '../../../src/daemon/transfers/known-folders.ts';
import { localSource, localTarget } from '../../../src/daemon/transfers/make-ends.ts';
import { Mover } from '../../../src/daemon/transfers/mover.ts';
import { Progress } from '../../../src/daemon/transfers/progress.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { mountSmallDisk, type SmallDisk } from '../../helpers/small-disk.ts';
import { verifies } from '../../requirements.ts';
import { localNode, type LocalNode } from './local-setup.ts';

const NO_DISK = 'only root on Linux may mount a disk';
const CALLER = { kind: 'owner' } as const;

/** What a disk is mounted on has to be there. */
const mountAt = async ({ home }: LocalNode, folder: string): Promise<SmallDisk | undefined> => {
  await mkdir(join(home, folder), { recursive: true });
  return mountSmallDisk(1024, join(home, folder));
};

/** What a movement is about, and what becomes of it when its files are there. */
interface Cut {
  readonly sources: readonly string[];
  readonly dest: string;
  readonly between: () => Promise<unknown>;
  readonly why: LoopsyError;
  readonly marks?: Marks;
  readonly onMarks?: (marks: Marks) => void;
}

/** Moves on a node's own disk, as from one node to another, with --delete. */
const moveCut = async ({ transfers }: LocalNode, cut: Cut): Promise<Progress> => {
  const { between, why, marks, onMarks, dest } = cut;
  let attempts = 0;
  const target = (signal: AbortSignal): TargetEnd => {
    const isFirst = (attempts += 1) === 1;
    const end = localTarget(transfers.ends, { name: 'there', nodeId: 'there' }, { caller: CALLER, signal });
    const write: TargetEnd['write'] = async (step, ...rest) => {
      const answer = await end.write(step, ...rest);
      if (!isFirst || step !== 'batch') return answer;
      await between();
      throw why;
    };
    return { ...end, write };
  };
  const progress = new Progress(() => undefined);
  const mover = new Mover({
    ends: {
      source: (signal) => localSource(transfers.ends, { name: 'here', nodeId: 'here' }, { caller: CALLER, signal }),
      target,
    },
    input: { sources: [...cut.sources], dest, delete: true },
    progress,
    clock: systemClock,
    boot: 'b',
    signal: new AbortController().signal,
    patienceMs: 60_000,
    throttle: undefined,
    marks,
    onMarks: async (all) => onMarks?.(all),
  });
  await mover.run();
  return progress;
};

const FORGOTTEN = new LoopsyError('transfer_not_found');
const another = (path: string, at: string): unknown =>
  expect.objectContaining({
    message: `${JSON.stringify(path)} is another folder than when this transfer began: it was not gone on with`,
    hint: expect.stringContaining('the disk'),
    details: { path, at },
  });

describe('a movement that begins anew', () => {
  it(
    verifies('transfers.delete-disks', 'removes nothing for a disk that was taken away below its source'),
    async ({ skip }) => {
      const node = await localNode();
      const disk = await mountAt(node, 'tree/n');
      skip(disk === undefined, NO_DISK);
      await node.write({ 'tree/a': 'a', 'tree/n/i': 'i', 'to/n/i': 'i', 'to/extra': 'x' });
      const moving = moveCut(node, {
        sources: ['tree/.'],
        dest: 'to',
        why: FORGOTTEN,
        between: async () => disk?.takeAway(),
      });
      await expect(moving).rejects.toEqual(another(join(node.home, 'tree/n'), 'source'));
      expect([await readdir(join(node.home, 'to')), await readdir(join(node.home, 'to/n'))]).toEqual([
        ['a', 'extra', 'n'],
        ['i'],
      ]);
    },
  );

  it(
    verifies('transfers.delete-disks', 'knows it where the folder of the disk went too, and over a restart'),
    async ({ skip }) => {
      const node = await localNode();
      const disk = await mountAt(node, 'tree/n');
      skip(disk === undefined, NO_DISK);
      await node.write({ 'tree/a': 'a', 'tree/n/i': 'i', 'to/n/i': 'i' });
      let marks: Marks = {};
      const what = { sources: ['tree/.'], dest: 'to', onMarks: (all: Marks): void => void (marks = all) };
      const between = async (): Promise<void> => undefined;
      const cut = { ...what, why: new LoopsyError('internal'), between };
      await expect(moveCut(node, cut)).rejects.toMatchObject({ error: 'internal' });
      await disk?.takeAway();
      await rmdir(join(node.home, 'tree/n'));
      const later = { ...what, marks, why: FORGOTTEN, between };
      await expect(moveCut(node, later)).rejects.toEqual(another(join(node.home, 'tree/n'), 'source'));
      expect(await readdir(join(node.home, 'to/n'))).toEqual(['i']);
    },
  );

  it(verifies('transfers.delete-disks', 'goes on where all disks are there'), async ({ skip }) => {
    const node = await localNode();
    const [from, to] = [await mountAt(node, 'tree/n'), await mountAt(node, 'to')];
    skip(from === undefined || to === undefined, NO_DISK);
    await node.write({ 'tree/a': 'a', 'tree/n/i': 'i', 'tree/n/deep/j': 'j', 'to/n/extra': 'x' });
    const between = async (): Promise<void> => undefined;
    const { removed } = await moveCut(node, { sources: ['tree/.'], dest: 'to', why: FORGOTTEN, between });
    expect([removed, await readdir(join(node.home, 'to/n'))]).toEqual([1, ['deep', 'i']]);
  });

  it(
    verifies('transfers.delete-disks', 'writes and removes nothing under the mount point that was its target'),
    async ({ skip }) => {
      const node = await localNode();
      const disk = await mountAt(node, 'to');
      skip(disk === undefined, NO_DISK);
      await node.write({ 'tree/a': 'a' });
      const between = async (): Promise<void> => {
        await disk?.takeAway();
        await writeFile(join(node.home, 'to/own'), 'mine');
      };
      const moving = moveCut(node, { sources: ['tree/.'], dest: 'to', why: FORGOTTEN, between });
      await expect(moving).rejects.toEqual(another(join(node.home, 'to'), 'target'));
      expect(await readdir(join(node.home, 'to'))).toEqual(['own']);
    },
  );

  it.for([
    [['tree'], 'disk/new'],
    [['tree'], 'disk/'],
    [['tree', 'more'], 'disk'],
    [['tree/a'], 'disk/b'],
  ] as const)(
    verifies('transfers.delete-disks', 'makes nothing under the mount point that its target lay in (%j)'),
    async ([sources, dest], { skip }) => {
      const node = await localNode();
      const disk = await mountAt(node, 'disk');
      skip(disk === undefined, NO_DISK);
      await node.write({ 'tree/a': 'a', 'more/b': 'b' });
      const between = async (): Promise<unknown> => disk?.takeAway();
      const moving = moveCut(node, { sources, dest, why: FORGOTTEN, between });
      await expect(moving).rejects.toMatchObject({ error: 'file_not_found', details: { at: 'target' } });
      expect(await readdir(join(node.home, 'disk'))).toEqual([]);
    },
  );

  it(verifies('transfers.delete-disks', 'knows the folder that it made itself'), async () => {
    const node = await localNode();
    await node.write({ 'tree/a': 'a' });
    const between = async (): Promise<void> => {
      await rename(join(node.home, 'to'), join(node.home, 'moved'));
      await node.write({ 'to/own': 'mine' });
    };
    const moving = moveCut(node, { sources: ['tree/.'], dest: 'to', why: FORGOTTEN, between });
    await expect(moving).rejects.toEqual(another(join(node.home, 'to'), 'target'));
    expect(await readFile(join(node.home, 'to/own'), 'utf8')).toBe('mine');
    expect(await readdir(join(node.home, 'to'))).toEqual(['own']);
  });
});

describe('a disk that is mounted in a mirror', () => {
  it.for<[{ exclude?: string[] }]>([[{}], [{ exclude: ['*.log'] }]])(
    verifies('transfers.delete-disks', 'is left alone with what is on it, where the source has no such folder (%j)'),
    async ([choices], { skip }) => {
      const node = await localNode();
      const disk = await mountAt(node, 'to/mt/disk');
      skip(disk === undefined, NO_DISK);
      await node.write({ 'tree/a': 'a', 'to/mt/disk/f': 'f', 'to/mt/disk/deep/g': 'g', 'to/mt/x': '', 'to/old': '' });
      const what = { sources: ['tree/.'], dest: 'to', delete: true, ...choices };
      for (const dryRun of [true, false]) {
        const { failures, removed } = await node.move({ ...what, dryRun });
        expect(failures).toMatchObject([
          {
            path: 'tree/mt/disk',
            message: '"tree/mt/disk" is mounted there as a disk of its own, and stays with all that is on it',
            hint: 'take that disk away there, or leave its folder out with --exclude',
            at: 'target',
          },
        ]);
        expect(removed).toBe('exclude' in choices ? 2 : 1);
      }
      expect(await readdir(join(node.home, 'to'))).toEqual(['a', 'mt']);
      expect(await readdir(join(node.home, 'to/mt'))).toEqual(['disk']);
      expect((await readdir(join(node.home, 'to/mt/disk'), { recursive: true })).toSorted()).toEqual([
        'deep',
        'deep/g',
        'f',
      ]);
      const left = await node.move({ ...what, exclude: ['disk/'] });
      expect(left).toMatchObject({ outcome: 'done', failures: [] });
    },
  );

  it(verifies('transfers.delete-disks', 'keeps all that is in the way of a file with it'), async ({ skip }) => {
    const node = await localNode();
    const disk = await mountAt(node, 'to/x/disk');
    skip(disk === undefined, NO_DISK);
    await node.write({ 'tree/x': 'x', 'to/x/disk/f': 'f', 'to/x/deep/k': 'k' });
    for (const dryRun of [true, false]) {
      const row = await node.move({ sources: ['tree/.'], dest: 'to', delete: true, dryRun });
      expect(row.failures[0]?.message).toContain('is mounted there as a disk of its own');
      expect([row.files.done, row.removed]).toEqual([0, 0]);
    }
    expect((await readdir(join(node.home, 'to/x'), { recursive: true })).toSorted()).toEqual([
      'deep',
      'deep/k',
      'disk',
      'disk/f',
    ]);
  });

  it(verifies('transfers.delete-disks', 'may be a folder that is bound there'), async ({ skip }) => {
    const node = await localNode();
    const folder = join(node.home, 'to/bound');
    skip((await mountAt(node, 'other')) === undefined, NO_DISK);
    await node.write({ 'tree/a': 'a', 'mine/f': 'f' });
    await mkdir(folder, { recursive: true });
    execFileSync('mount', ['--bind', join(node.home, 'mine'), folder]);
    onTestFinished(() => void execFileSync('umount', ['-l', folder]));
    const { failures } = await node.move({ sources: ['tree/.'], dest: 'to', delete: true });
    expect(failures).toMatchObject([{ message: expect.stringContaining('is mounted there as a disk of its own') }]);
    expect(await readdir(join(node.home, 'mine'))).toEqual(['f']);
  });

  it('is a folder as others where the source has it, too', async ({ skip }) => {
    const node = await localNode();
    const disk = await mountAt(node, 'to/disk');
    skip(disk === undefined, NO_DISK);
    await node.write({ 'tree/disk/a': 'a', 'to/disk/old/x': '' });
    const row = await node.move({ sources: ['tree/.'], dest: 'to', delete: true });
    expect(row).toMatchObject({ outcome: 'done', removed: 1 });
    expect(await readdir(join(node.home, 'to/disk'))).toEqual(['a']);
  });
});
