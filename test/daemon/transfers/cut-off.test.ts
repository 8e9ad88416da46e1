import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { isDraftName } from '../../../src/daemon/transfers/disk/draft-names.ts';
import { until } from '../../helpers/process-facts.ts';
import { verifies } from '../../requirements.ts';
import { localNode, type LocalNode } from './local-setup.ts';

const OWNER = { kind: 'owner' } as const;
const namesIn = (folder: string): Promise<string[]> => readdir(folder, { recursive: true });

/** Begins to move two large files, and breaks off while one comes. */
const cutOff = async (
  { home, transfers, call, write }: LocalNode,
  input: { sources: string[]; dest: string },
  folder = 'tree',
) => {
  await write({ [`${folder}/a`]: 'a'.repeat(6_000_000), [`${folder}/b`]: 'b'.repeat(6_000_000) });
  const { transferId } = await transfers.begin({ ...input, limit: 4_000_000 }, call);
  await until(async () => (await namesIn(home)).some((name) => isDraftName(name.split('/').at(-1) ?? '')), 10_000);
  await transfers.cancel({ transferId }, OWNER);
};

describe('what was cut off', () => {
  it(verifies('transfers.same-place', 'goes on where it was, whatever a dry run has asked meanwhile'), async () => {
    const node = await localNode();
    const what = { sources: ['tree'], dest: 'new' };
    await cutOff(node, what);
    expect(await node.move({ ...what, dryRun: true })).toMatchObject({ path: join(node.home, 'new') });
    expect(await node.move(what)).toMatchObject({ outcome: 'done', path: join(node.home, 'new') });
    expect((await namesIn(join(node.home, 'new'))).toSorted()).toEqual(['a', 'b']);
  });

  it(verifies('transfers.same-place', 'makes no mirror of a folder that it has not made'), async () => {
    const node = await localNode();
    const what = { sources: ['tree'], dest: 'new', delete: true };
    await cutOff(node, what);
    await rm(join(node.home, 'new'), { recursive: true });
    await mkdir(join(node.home, 'new/other'), { recursive: true });
    await node.write({ 'new/other/precious': 'mine' });
    expect(await node.move(what)).toMatchObject({
      outcome: 'done',
      removed: 0,
      path: join(node.home, 'new/tree'),
    });
    expect(await readFile(join(node.home, 'new/other/precious'), 'utf8')).toBe('mine');
  });

  it.each([
    { what: 'where the source does not have it any more', noClobber: false, gone: ['a', 'b'] },
    { what: 'where it is there by now, and is left alone', noClobber: true, gone: [] },
  ])(verifies('transfers.leftovers', 'leaves no draft behind what is done, $what'), async ({ noClobber, gone }) => {
    const node = await localNode();
    const what = { sources: ['tree'], dest: 'new' };
    await cutOff(node, what);
    for (const name of gone) await rm(join(node.home, 'tree', name));
    if (noClobber) await node.write({ 'new/a': 'mine', 'new/b': 'mine' });
    expect((await namesIn(join(node.home, 'new'))).some(isDraftName)).toBe(true);
    expect(await node.move({ ...what, noClobber })).toMatchObject({ outcome: 'done', path: join(node.home, 'new') });
    expect((await namesIn(join(node.home, 'new'))).filter(isDraftName)).toEqual([]);
    expect(await readdir(join(node.home, 'data/transfers'))).toEqual([]);
  });

  it(verifies('transfers.delete', 'does not keep a folder that the source does not have any more'), async () => {
    for (const becomesFile of [false, true]) {
      const node = await localNode();
      const what = { sources: ['tree/.'], dest: 'mirror' };
      await mkdir(join(node.home, 'mirror'));
      await cutOff(node, what, 'tree/big');
      await rm(join(node.home, 'tree/big'), { recursive: true });
      await node.write({ [becomesFile ? 'tree/big' : 'tree/small']: '' });
      expect(await node.move({ ...what, delete: true })).toMatchObject({ outcome: 'done', failures: [] });
      expect(await namesIn(join(node.home, 'mirror'))).toEqual([becomesFile ? 'big' : 'small']);
    }
  });
});
