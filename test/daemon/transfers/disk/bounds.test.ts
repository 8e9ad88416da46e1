import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { KeptNames } from '../../../../src/daemon/transfers/disk/kept-names.ts';
import { listFolder } from '../../../../src/daemon/transfers/disk/list.ts';
import { takeStep } from '../../../../src/daemon/transfers/disk/steps.ts';
import { ENTRY } from '../../../../src/daemon/transfers/format.ts';
import { FakeClock } from '../../../helpers/clock.ts';
import { verifies } from '../../../requirements.ts';
import {
  closeTarget,
  diskIn,
  errorOf,
  manifestOf,
  quickFolder,
  sourceOf,
  targetAt,
  whys,
  type TestDisk,
} from './setup.ts';

const kept = (): KeptNames => new KeptNames(new FakeClock());

const NAMES = process.env['LOOPSY_LONG'] === '1' ? 200_000 : 100_000;

let home: string;
let disk: TestDisk;

beforeEach(async () => {
  home = join(await quickFolder(), 'home');
  mkdirSync(join(home, 'tree'), { recursive: true });
  disk = diskIn(home);
});

const openTree = async (options = {}) => {
  const target = await targetAt(disk, '~/tree', options);
  target.places.roots = [await disk.around.guard.check('~/tree')];
  return target;
};

/** The longest time in which nobody else got a turn, ms, while something was done. */
const longestTurn = async (work: Promise<unknown>): Promise<number> => {
  let [longest, last, isOver] = [0, performance.now(), false];
  const look = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  await work;
  isOver = true;
  return longest;
};

describe(`a folder of ${NAMES} names (200,000 in test:long)`, () => {
  it(
    verifies('transfers.bounds', 'is walked, listed, asked about and removed in turns, and never held as a whole'),
    async () => {
      const count = NAMES;
      for (let index = 0; index < count; index += 1) symlinkSync('x', join(home, 'tree', `link-${index}`));
      const { source } = await sourceOf(disk, ['~/tree']);
      globalThis.gc?.();
      const before = process.memoryUsage().heapUsed;
      let peak = 0;
      let met = 0;
      const walk = async (): Promise<void> => {
        for (let at = 0; ; at += 1) {
          let text = '';
          for await (const chunk of source.read({ kind: 'group', at })) text += Buffer.from(chunk).toString();
          const group = JSON.parse(text) as { entries: unknown[]; last: boolean };
          met += group.entries.length;
          if (at % 20 === 0) peak = Math.max(peak, process.memoryUsage().heapUsed - before);
          if (group.last) return;
        }
      };
      expect(await longestTurn(walk())).toBeLessThan(500);
      expect(met).toBe(count + 2);
      source.close();
      // What is left out, too, gives others a turn.
      const silent = await sourceOf(disk, ['~/tree'], { exclude: ['link-*'] });
      expect(await longestTurn(manifestOf(silent.source))).toBeLessThan(500);

      const page = () =>
        listFolder(disk.around, { path: '~/tree', limits: {}, limit: 1000, cursor: 'link-15' }, kept());
      expect(await longestTurn(page())).toBeLessThan(500);
      const { files, nextCursor } = await page();
      expect([files.length, files[0]?.name, nextCursor]).toEqual([1000, 'link-150', files.at(-1)?.name]);

      const target = await openTree();
      const names: string[] = [];
      for (let after: string | undefined; ;) {
        const extra = await target.extra(0, '', { after });
        names.push(...extra.names.map(([name]) => name));
        after = extra.next;
        if (after === undefined) break;
      }
      expect(new Set(names).size).toBe(count);
      const removing = target.remove({ root: 0, paths: names.slice(0, 10_000), isEmptied: false });
      expect(await longestTurn(removing)).toBeLessThan(500);
      expect(await removing).toEqual({ removed: 10_000, failed: [] });
      await closeTarget(disk, target);
      console.log(`walked with ${Math.round(peak / 1_048_576)} MB`);
      expect(peak).toBeLessThan(60 * 1_048_576);
    },
    180_000,
  );
});

describe('removal', () => {
  it(
    verifies('transfers.delete', 'takes what is named and what is below it, in pages; a dry run takes nothing'),
    async () => {
      mkdirSync(join(home, 'tree/old/deep/er'), { recursive: true });
      for (const file of ['old/a', 'old/deep/b', 'old/deep/er/c', 'keep']) writeFileSync(join(home, 'tree', file), '');
      symlinkSync('/etc', join(home, 'tree/old/etc'));
      const dry = await openTree({ dryRun: true });
      expect(await dry.remove({ root: 0, paths: ['old'], isEmptied: false })).toEqual({
        removed: 1,
        would: [0],
        failed: [],
      });
      expect(readdirSync(join(home, 'tree/old')).length).toBe(3);
      const target = await openTree();
      expect((await target.extra(0, '', undefined)).names).toEqual([
        ['keep', false],
        ['old', true],
      ]);
      // Emptied: what is left in a folder stays, and is no failure.
      expect(await target.remove({ root: 0, paths: ['old/deep', 'old/a', 'gone'], isEmptied: true })).toEqual({
        removed: 1,
        failed: [],
      });
      expect(await target.remove({ root: 0, paths: ['old', 'gone'], isEmptied: false })).toMatchObject({ removed: 2 });
      expect(readdirSync(join(home, 'tree'))).toEqual(['keep']);
      expect(readdirSync('/etc').length).toBeGreaterThan(0);
      expect(
        whys((await target.remove({ root: 0, paths: ['', '..', 'a/../..', '/etc'], isEmptied: false })).failed),
      ).toEqual(['tree path_denied', 'tree/.. path_denied', 'tree/a/../.. path_denied', 'tree//etc path_denied']);
      expect(await target.extra(0, 'nothing/here', undefined)).toEqual({ names: [], failed: [] });
      await closeTarget(disk, target);
    },
  );

  it(verifies('transfers.delete', 'what is denied is not removed, and what it lies in stays'), async () => {
    mkdirSync(join(home, '.ssh'));
    writeFileSync(join(home, '.ssh/id'), '');
    const target = await targetAt(disk, '~', { roots: [{ name: 'tree', type: 'directory' }] });
    target.places.roots = [await disk.around.guard.check('~')];
    expect(whys((await target.remove({ root: 0, paths: ['.ssh', '.ssh/id'], isEmptied: false })).failed)).toEqual([
      'tree/.ssh path_denied',
      'tree/.ssh/id path_denied',
    ]);
    expect(await errorOf(target.extra(0, '.ssh', undefined))).toBe('path_denied');
    await closeTarget(disk, target);
  });
});

describe('steps', () => {
  it.each([
    ['plan', {}],
    ['plan', { entries: [[0]] }],
    ['plan', { entries: 'x' }],
    ['plan', { entries: Array.from({ length: 10_001 }, () => [0, 0, 'x', 0, 0, 0]) }],
    ['prepare', { file: [0, 'x'] }],
    ['commit', { keep: [[0]] }],
    ['commit', { keep: [[-1, 2]] }],
    ['commit', { keep: [[0, 1e9]] }],
    ['finish', null],
    ['extra', { root: 'x', folder: '' }],
    ['extra', { root: 0 }],
    ['extra', { root: 0, folder: '', after: 7 }],
    ['remove', { root: 0, paths: [7] }],
    ['remove', { paths: [] }],
    ['remove', { root: -1, paths: [] }],
  ] as const)('%s refuses what has another form (%#)', async (step, value) => {
    const target = await openTree();
    expect(await errorOf(takeStep(target, { step, file: 0, value }))).toBe('invalid_request');
    await closeTarget(disk, target);
  });

  it('a root that is not there, and a file that is not open, are errors', async () => {
    const target = await openTree();
    expect(whys((await target.plan([[ENTRY.file, 7, 'x', 1, 1, 0]])).failed)).toEqual(['/x invalid_request']);
    expect(await errorOf(target.extra(7, '', undefined))).toBe('invalid_request');
    expect(await errorOf(takeStep(target, { step: 'commit', file: 9, value: { keep: [] } }))).toBe(
      'transfer_not_found',
    );
    expect(await errorOf(takeStep(target, { step: 'drop', file: 9, value: {} }))).toBe('transfer_not_found');
    await closeTarget(disk, target);
  });
});

describe('a list', () => {
  it('is a page by name, of a folder or of one file; what is closed is not in it', async () => {
    for (const name of ['b', 'a', 'é', 'a b']) writeFileSync(join(home, 'tree', name), name);
    symlinkSync('nowhere', join(home, 'tree/link'));
    mkdirSync(join(home, '.ssh'));
    const list = (path: string, more = {}) =>
      listFolder(disk.around, { path, limits: {}, limit: 1000, ...more }, kept());
    const all = await list('~/tree');
    expect(all.files.map(({ name, type }) => `${name} ${type}`)).toEqual([
      'a file',
      'a b file',
      'b file',
      'link symlink',
      'é file',
    ]);
    expect(all.files[3]).toMatchObject({ target: 'nowhere', path: join(home, 'tree/link') });
    const first = await list('~/tree', { limit: 2 });
    expect([first.files.length, first.nextCursor]).toEqual([2, 'a b']);
    const second = await list('~/tree', { limit: 3, cursor: first.nextCursor });
    expect([second.files.map(({ name }) => name), second.nextCursor]).toEqual([['b', 'link', 'é'], undefined]);
    expect((await list('~/tree/a')).files).toMatchObject([{ name: 'a', size: 1, type: 'file' }]);
    expect((await list('~')).files.map(({ name }) => name)).toEqual(['tree']);
    for (const path of ['~/.ssh', '~/no', '/etc', '~/tree/a/b'])
      expect(await errorOf(list(path)), path).toMatch(/path_denied|file_not_found|wrong_type/);
  });

  it('says that it reads no patterns, where one is not there', async () => {
    writeFileSync(join(home, 'tree', 'st*r'), '');
    const list = (path: string) => listFolder(disk.around, { path, limits: {}, limit: 9 }, kept());
    expect((await list('~/tree/st*r')).files).toHaveLength(1);
    await expect(list('~/tree/st*')).rejects.toMatchObject({
      error: 'file_not_found',
      message: '"~/tree/st*" is not there: a list takes no patterns, but the folder that they would look in',
    });
    await expect(list('~/tree/st')).rejects.toMatchObject({ message: '"~/tree/st" is not there' });
  });

  it('says how many names are no UTF-8, once: nobody takes a folder for empty that is not', async () => {
    const list = (more: object) => listFolder(disk.around, { path: '~/tree', limits: {}, limit: 2, ...more }, kept());
    expect(await list({})).not.toHaveProperty('unreadable');
    for (const name of ['\xff', 'a\xfe', '\xfe\xff']) writeFileSync(Buffer.from(`${home}/tree/${name}`, 'latin1'), 'x');
    expect(await list({})).toMatchObject({ files: [], unreadable: 3 });
    for (const name of ['a', 'b', 'c']) writeFileSync(join(home, 'tree', name), name);
    expect(await list({})).toMatchObject({ files: [{ name: 'a' }, { name: 'b' }], nextCursor: 'b', unreadable: 3 });
    expect(await list({ cursor: 'b' })).not.toHaveProperty('unreadable');
  });
});
