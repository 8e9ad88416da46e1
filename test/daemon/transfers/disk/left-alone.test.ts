import * as fs from 'node:fs';
import { join } from 'node:path';

import { beforeEach, describe, expect, it, vi } from 'vitest';

import { PutSink } from '../../../../src/daemon/transfers/disk/incoming.ts';
import { ENTRY, SMALL_BYTES } from '../../../../src/daemon/transfers/format.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import { faults, meanwhile } from './failing-fs.ts';
import {
  closeTarget,
  diskIn,
  draftsIn,
  errorOf,
  MTIME_MS,
  targetAt,
  whys,
  writeFiles,
  type TestDisk,
} from './setup.ts';

vi.mock('node:fs', async (original) => (await import('./failing-fs.ts')).failingFs(await original<typeof fs>()));

const SIZE = SMALL_BYTES + 1;
let disk: TestDisk;
let tree: string;

beforeEach(async () => {
  faults.clear();
  meanwhile.clear();
  const home = join(await tempFolder(), 'home');
  tree = join(home, 'tree');
  fs.mkdirSync(tree, { recursive: true });
  disk = diskIn(home);
});

type Choices = Readonly<Partial<Record<'noClobber' | 'update', true>>>;

/** What comes with which time, what is told to the target, and which system call it does not have. */
interface Coming {
  readonly what: string;
  readonly choices: Choices;
  readonly mtimeMs?: number;
  readonly fault?: string;
}

/** A target of `tree/.`, which was told that nothing is there. */
const planned = async (choices: Choices) => {
  const target = await targetAt(disk, '~/tree', { roots: [{ name: 'tree/.', type: 'directory' }], ...choices });
  const plan = await target.plan([
    [ENTRY.folder, 0, '', 0, MTIME_MS, 0o755],
    [ENTRY.file, 0, 'small', 3, MTIME_MS, 0o644],
    [ENTRY.file, 0, 'large', SIZE, MTIME_MS, 0o644],
  ]);
  expect([plan.send, plan.compare]).toEqual([[1], [2]]);
  const sendLarge = async () => {
    const { file } = await target.prepare([0, 'large', SIZE, MTIME_MS, 0o644]);
    const put = new PutSink(target.large, { file, at: 0, to: SIZE, turn: 0 });
    put.take(Buffer.alloc(SIZE));
    await put.end();
    return target.large.commit(file, []);
  };
  return { target, sendSmall: () => writeFiles(target, [['small', 'new']]), sendLarge };
};

/** What somebody puts there while the bytes come. */
const come = (name: string, mtimeMs: number): void => {
  fs.writeFileSync(join(tree, name), 'mine');
  fs.utimesSync(join(tree, name), mtimeMs / 1000, mtimeMs / 1000);
};

const contents = (): string[] =>
  fs.readdirSync(tree).map((name) => `${name}: ${fs.readFileSync(join(tree, name), 'utf8').slice(0, 4)}`);

describe('what comes while bytes are on the way', () => {
  it.each<Coming>([
    { what: 'is there', choices: { noClobber: true }, mtimeMs: 0 },
    { what: 'is there, on a disk without hard links', choices: { noClobber: true }, mtimeMs: 0, fault: 'link' },
    { what: 'is newer', choices: { update: true }, mtimeMs: MTIME_MS + 1 },
  ])(
    verifies('transfers.left-alone', 'and $what, is left alone, and counts as there: no draft stays'),
    async ({ choices, mtimeMs = 0, fault }) => {
      const { target, sendSmall, sendLarge } = await planned(choices);
      for (const name of ['small', 'large']) come(name, mtimeMs);
      if (fault !== undefined) faults.set(fault, { skip: 0, code: 'EPERM' });
      expect(await sendSmall()).toMatchObject({ done: 0, bytes: 0, skipped: 1, skippedBytes: 3, failed: [] });
      expect(await sendLarge()).toEqual({ skipped: 1 });
      expect(contents()).toEqual(['large: mine', 'small: mine']);
      await closeTarget(disk, target);
      expect([fs.readdirSync(disk.around.journalDir), disk.locks.isFree]).toEqual([[], true]);
    },
  );

  it.each<Coming>([
    { what: 'nothing', choices: { noClobber: true } },
    { what: 'nothing, on a disk without hard links', choices: { noClobber: true }, fault: 'link' },
    { what: 'something older', choices: { update: true }, mtimeMs: MTIME_MS - 1 },
  ])(verifies('transfers.left-alone', 'and is $what, is no hindrance'), async ({ choices, mtimeMs, fault }) => {
    const { target, sendSmall, sendLarge } = await planned(choices);
    if (mtimeMs !== undefined) for (const name of ['small', 'large']) come(name, mtimeMs);
    if (fault !== undefined) faults.set(fault, { skip: 0, code: 'EPERM' });
    expect(await sendSmall()).toMatchObject({ done: 1, skipped: 0, failed: [] });
    expect(await sendLarge()).toEqual({});
    expect(contents()).toEqual(['large: \0\0\0\0', 'small: new']);
    expect(['small', 'large'].map((name) => fs.lstatSync(join(tree, name)).nlink)).toEqual([1, 1]);
    await closeTarget(disk, target);
    expect([fs.readdirSync(disk.around.journalDir), disk.locks.isFree]).toEqual([[], true]);
  });

  it.each<Choices>([{ noClobber: true }, { update: true }])('and is a folder, is said: %j', async (choices) => {
    const { target, sendSmall, sendLarge } = await planned(choices);
    for (const name of ['small', 'large']) fs.mkdirSync(join(tree, name));
    expect(whys((await sendSmall()).failed)).toEqual(['tree/small wrong_type']);
    expect(await errorOf(sendLarge())).toBe('wrong_type');
    await closeTarget(disk, target);
    expect([draftsIn(tree), fs.readdirSync(disk.around.journalDir), disk.locks.isFree]).toEqual([[], [], true]);
  });

  it(verifies('transfers.left-alone', 'at the place of a link stays, too'), async () => {
    const { target } = await planned({ noClobber: true });
    meanwhile.set('symlink', () => come('link', 0));
    const link = [ENTRY.link, 0, 'link', 0, MTIME_MS, 0o777, 'small'] as const;
    expect(await target.plan([[...link]])).toMatchObject({ links: 0, failed: [] });
    expect(contents()).toEqual(['link: mine']);
    fs.rmSync(join(tree, 'link'));
    expect(await target.plan([[...link]])).toMatchObject({ links: 1, failed: [] });
    expect([fs.readlinkSync(join(tree, 'link')), fs.lstatSync(join(tree, 'link')).mtimeMs]).toEqual([
      'small',
      MTIME_MS,
    ]);
    await closeTarget(disk, target);
    expect(fs.readdirSync(disk.around.journalDir)).toEqual([]);
  });
});
