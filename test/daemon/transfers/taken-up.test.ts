import { mkdir, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import type { TransferInput } from '../../../src/protocol/transfers.ts';
import { verifies } from '../../requirements.ts';
import { localNode, type LocalNode } from './local-setup.ts';

const what = { sources: ['docs'], dest: 'backup' };

/** A run that makes `backup` and comes to its end without one link; then the owner puts own things into it. */
const withFailed = async (choices: Partial<TransferInput>): Promise<LocalNode> => {
  const node = await localNode();
  await node.write({ 'docs/a': 'a', 'docs/sub/b': 'b' });
  await symlink('/etc', join(node.home, 'docs/out'));
  expect(await node.move({ ...what, ...choices })).toMatchObject({
    outcome: 'failed',
    path: join(node.home, 'backup'),
  });
  await node.write({ 'backup/mine': 'mine' });
  return node;
};

describe('a folder that another command has made', () => {
  it(verifies('transfers.same-place', 'is gone into by a mirror: what is in it already stays'), async () => {
    const { home, move } = await withFailed({});
    expect(await move({ ...what, delete: true, exclude: ['out'] })).toMatchObject({
      outcome: 'done',
      removed: 0,
      path: join(home, 'backup/docs'),
    });
    expect(await readFile(join(home, 'backup/mine'), 'utf8')).toBe('mine');
  });

  it(verifies('transfers.same-place', 'is gone into where that was a mirror, and this is none'), async () => {
    const { home, move } = await withFailed({ delete: true });
    expect(await move({ ...what, exclude: ['out'] })).toMatchObject({ path: join(home, 'backup/docs') });
  });
});

describe('a folder that the same command has made', () => {
  it(verifies('transfers.same-place', 'is gone on with, also where all but one thing had arrived'), async () => {
    const { home, move } = await withFailed({});
    await rm(join(home, 'docs/out'));
    expect(await move({ ...what, checksum: true })).toMatchObject({ outcome: 'done', path: join(home, 'backup') });
    expect((await readdir(join(home, 'backup'))).toSorted()).toEqual(['a', 'mine', 'sub']);
  });

  it(
    verifies('transfers.delete', 'as a mirror keeps what may have come since, and it is said what to do'),
    async () => {
      const { home, move, write } = await withFailed({ delete: true });
      await write({ 'backup/own/x': 'x' });
      await rm(join(home, 'docs/out'));
      const mirror = { ...what, delete: true };
      for (const dryRun of [true, false]) {
        const again = await move({ ...mirror, dryRun });
        expect(again).toMatchObject({ outcome: 'failed', removed: 0, path: join(home, 'backup') });
        expect(again.failures).toMatchObject([
          {
            path: 'docs/mine',
            message:
              '"docs/mine" is not at the source, and stays: an earlier run has made this folder, and it may have come since',
            hint: 'move it away there; or, where it may go, name the source "docs/.": then "backup" becomes a mirror of it',
          },
          { path: 'docs/own' },
        ]);
      }
      expect((await readdir(join(home, 'backup'))).toSorted()).toEqual(['a', 'mine', 'own', 'sub']);
      await rm(join(home, 'backup/own'), { recursive: true });
      await rm(join(home, 'backup/mine'));
      expect(await move(mirror)).toMatchObject({ outcome: 'done', failures: [], path: join(home, 'backup') });
    },
  );

  it(verifies('transfers.delete-kinds', 'as a mirror keeps what is of another kind, too'), async () => {
    const { home, move, write } = await withFailed({ delete: true });
    await rm(join(home, 'docs/out'));
    await write({ 'docs/mine/c': 'c', 'docs/new': 'new' });
    await mkdir(join(home, 'backup/new'));
    for (const dryRun of [true, false])
      expect(await move({ ...what, delete: true, dryRun })).toMatchObject({
        outcome: 'failed',
        removed: 0,
        failures: expect.arrayContaining([
          expect.objectContaining({ path: 'docs/mine', error: 'wrong_type' }),
          expect.objectContaining({ path: 'docs/new', error: 'wrong_type' }),
        ]),
      });
    expect(await readFile(join(home, 'backup/mine'), 'utf8')).toBe('mine');
  });

  it(verifies('transfers.delete', 'becomes a mirror where it is named as one'), async () => {
    const { home, move } = await withFailed({ delete: true });
    await rm(join(home, 'docs/out'));
    expect(await move({ sources: ['docs/.'], dest: 'backup', delete: true })).toMatchObject({
      outcome: 'done',
      removed: 1,
    });
    expect((await readdir(join(home, 'backup'))).toSorted()).toEqual(['a', 'sub']);
  });
});
