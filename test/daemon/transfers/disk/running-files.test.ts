import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { ENTRY, type Entry } from '../../../../src/daemon/transfers/format.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import {
  closeTarget,
  diskIn,
  errorOf,
  move,
  MTIME_MS,
  pictureOf,
  targetAt,
  whys,
  writeFiles,
  type TestDisk,
} from './setup.ts';

let home: string;
let disk: TestDisk;
const below = { mayWriteRunning: false };
const NAMES = ['.git', '.claude', '.mcp.json', '.codex', '.gemini', '.vscode', '.envrc', '.husky'];

beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  mkdirSync(join(home, 'tree/.git/hooks'), { recursive: true });
  mkdirSync(join(home, 'tree/sub'));
  writeFileSync(join(home, 'tree/.git/hooks/old'), 'old');
  writeFileSync(join(home, 'tree/.envrc'), 'old');
  disk = diskIn(home);
});

const openTree = async () => {
  const target = await targetAt(disk, '~/tree', below);
  target.places.roots = [await disk.around.guard.check('~/tree')];
  return target;
};

describe('below the level full', () => {
  it(
    verifies('transfers.running-files', 'nothing is written to them, made in them, finished, linked to or removed'),
    async () => {
      const before = pictureOf(join(home, 'tree'));
      const target = await openTree();
      const paths = NAMES.flatMap((name) => [
        name,
        `${name}/x`,
        `sub/${name}`,
        name.toUpperCase(),
        `${name}.`,
        `${name}/hooks/old`,
      ]);
      const entries = paths.flatMap((path): Entry[] => [
        [ENTRY.file, 0, path, 1, MTIME_MS, 0o755],
        [ENTRY.folder, 0, path, 0, MTIME_MS, 0o755],
        [ENTRY.link, 0, path, 0, MTIME_MS, 0o777, 'sub'],
        [ENTRY.link, 0, 'sub-link', 0, MTIME_MS, 0o777, path],
        [ENTRY.link, 0, 'sub/link', 0, MTIME_MS, 0o777, `../${path}`],
      ]);
      // One by one: what is in a folder that is refused is not looked at.
      for (const entry of entries) {
        const { failed, send } = await target.plan([entry]);
        expect([send, failed.map(([, error]) => error)], entry.join(' ')).toEqual([[], ['path_denied']]);
      }
      expect(
        (
          await writeFiles(
            target,
            paths.map((path) => [path, 'x', 0o755] as const),
          )
        ).done,
      ).toBe(0);
      for (const path of paths)
        expect(await errorOf(target.prepare([0, path, 2e6, 1, 0o755])), path).toBe('path_denied');
      expect((await target.finish([[ENTRY.end, 0, '.git', 0, 1, 0o777]])).failed).toHaveLength(1);
      for (const isEmptied of [true, false]) {
        const removed = await target.remove({ root: 0, paths: ['.git/hooks/old', '.git', '.envrc'], isEmptied });
        expect([removed.removed, removed.failed.every(([, error]) => error === 'path_denied')]).toEqual([0, true]);
      }
      expect(pictureOf(join(home, 'tree'))).toEqual(before);
      await closeTarget(disk, target);
    },
  );

  it(verifies('transfers.delete-kinds', 'is named before anything beside it is removed'), async () => {
    mkdirSync(join(home, 'tree/sub/.git'), { recursive: true });
    writeFileSync(join(home, 'tree/sub/y'), '');
    const target = await openTree();
    const { names, failed } = await target.extra(0, 'sub', { isJudged: true });
    expect([names, whys(failed)]).toEqual([
      [
        ['.git', true],
        ['y', false],
      ],
      ['tree/sub/.git path_denied'],
    ]);
    expect((await target.extra(0, 'sub')).failed).toEqual([]);
    await closeTarget(disk, target);
  });

  it('what lies in a folder that goes stays there with it, and the rest goes', async () => {
    mkdirSync(join(home, 'tree/sub/deep/.git'), { recursive: true });
    writeFileSync(join(home, 'tree/sub/deep/.git/x'), '');
    writeFileSync(join(home, 'tree/sub/deep/y'), '');
    writeFileSync(join(home, 'tree/sub/z'), '');
    const target = await openTree();
    const { removed, failed } = await target.remove({ root: 0, paths: ['sub'], isEmptied: false });
    expect([removed, whys(failed)]).toEqual([0, ['tree/sub/deep/.git path_denied']]);
    expect(Object.keys(pictureOf(join(home, 'tree/sub'))).map((path) => path.slice(home.length))).toEqual([
      '/tree/sub/deep/.git/x',
      '/tree/sub/deep/.git',
      '/tree/sub/deep',
    ]);
    await closeTarget(disk, target);
  });

  it(
    verifies(
      'transfers.running-files',
      'a destination in one of them is refused, also through a link, and for the file itself',
    ),
    async () => {
      symlinkSync('.git', join(home, 'tree/alias'));
      symlinkSync('alias', join(home, 'tree/alias2'));
      symlinkSync('../tree/.envrc', join(home, 'tree/env'));
      for (const dest of [
        '~/tree/.git',
        '~/tree/.git/',
        '~/tree/.git/hooks/new',
        '~/tree/alias/hooks/',
        '~/tree/alias2/x',
        '~/tree/env',
        '~/tree/.GIT/x',
        '~/tree/.claude',
      ])
        for (const isExact of [true, false])
          expect(await errorOf(targetAt(disk, dest, { ...below, isExact })), dest).toBe('path_denied');
      expect(await errorOf(targetAt(disk, '~/tree', { ...below, roots: [{ name: '.git', type: 'directory' }] }))).toBe(
        'path_denied',
      );
    },
  );

  it('a tree is moved without them; at full with them', async () => {
    const narrow = await move([disk, disk], [['~/tree'], '~/narrow'], below);
    expect(whys(narrow.failed).toSorted()).toEqual(
      expect.arrayContaining(['tree/.envrc path_denied', 'tree/.git path_denied']),
    );
    expect(() => statSync(join(home, 'narrow/.git'))).toThrow('ENOENT');
    expect((await move([disk, disk], [['~/tree'], '~/wide'])).failed).toEqual([]);
    expect(readFileSync(join(home, 'wide/.git/hooks/old'), 'utf8')).toBe('old');
  });
});
