import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { BatchSink } from '../../../../src/daemon/transfers/disk/batch-sink.ts';
import { OpenFolder } from '../../../../src/daemon/transfers/disk/folders.ts';
import { PutSink } from '../../../../src/daemon/transfers/disk/incoming.ts';
import { Walk } from '../../../../src/daemon/transfers/disk/walk.ts';
import { ENTRY, type Entry } from '../../../../src/daemon/transfers/format.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import {
  batchOf,
  closeTarget,
  diskIn,
  draftsIn,
  errorOf,
  manifestOf,
  move,
  MTIME_MS,
  pictureOf,
  sourceOf,
  targetAt,
  whys,
  writeFiles,
  type TestDisk,
} from './setup.ts';

let home: string;
let outside: string;
let disk: TestDisk;

const linkEntry = (path: string, to: string): Entry => [ENTRY.link, 0, path, 0, MTIME_MS, 0o777, to];
const folderEntry = (path: string): Entry => [ENTRY.folder, 0, path, 0, MTIME_MS, 0o755];

beforeEach(async () => {
  const base = await tempFolder();
  [home, outside] = [join(base, 'home'), join(base, 'outside')];
  mkdirSync(join(home, 'tree/folder'), { recursive: true });
  mkdirSync(outside);
  writeFileSync(join(outside, 'victim'), 'outside');
  disk = diskIn(home);
});

describe('links at the source', () => {
  it(verifies('transfers.links', 'are kept inside the tree, and each that leads out is named'), async () => {
    const links = {
      a: 'folder',
      b: './folder/../x',
      c: '../tree',
      d: '/etc/passwd',
      e: 'loop',
      loop: 'e',
      f: 'nowhere',
    };
    for (const [name, to] of Object.entries(links)) symlinkSync(to, join(home, 'tree', name));
    symlinkSync('../a', join(home, 'tree/folder/up'));
    symlinkSync('../../x', join(home, 'tree/folder/out'));
    const { failed } = await move([disk, disk], [['~/tree'], '~/copy']);
    expect(failed.map(([path, error]) => `${path} ${error}`).toSorted()).toEqual(
      ['b', 'c', 'd', 'folder/out'].map((name) => `tree/${name} path_denied`),
    );
    const kept = ['a', 'e', 'loop', 'f', 'folder/up'];
    expect(kept.map((name) => readlinkSync(join(home, 'copy', name)))).toEqual([
      'folder',
      'loop',
      'e',
      'nowhere',
      '../a',
    ]);
  });

  it('a root that is a link is followed, where it may be; its tree is named as it was asked for', async () => {
    symlinkSync('tree', join(home, 'alias'));
    symlinkSync(outside, join(home, 'out'));
    writeFileSync(join(home, 'tree/folder/f'), 'x');
    const { failed, paths } = await move([disk, disk], [['~/alias', '~/out'], '~/into/']);
    expect(failed.map(([path, error]) => [path, error])).toEqual([['~/out', 'path_denied']]);
    expect(paths).toEqual([join(home, 'into/alias')]);
    expect(readFileSync(join(home, 'into/alias/folder/f'), 'utf8')).toBe('x');
  });

  it('a link whose text is no UTF-8 is reported', async () => {
    symlinkSync(Buffer.from([0x66, 0xff]), join(home, 'tree/bytes'));
    const { source } = await sourceOf(disk, ['~/tree']);
    expect(whys((await manifestOf(source)).failed)).toEqual(['tree/bytes name_unusable']);
  });

  it(verifies('transfers.links.race', 'a folder that becomes a link before it is read is not walked'), async () => {
    mkdirSync(join(home, 'tree/sub'));
    const walk = new Walk({ root: 0, real: join(home, 'tree'), name: 'tree', platform: 'linux', maxFileSize: 1 });
    walk.next();
    renameSync(join(home, 'tree/sub'), join(home, 'gone'));
    symlinkSync(outside, join(home, 'tree/sub'));
    const met = [];
    for (let next = walk.next(); next !== undefined; next = walk.next()) met.push(next);
    expect(JSON.stringify(met)).not.toContain('victim');
    // One that is open stays the same folder, whatever is put in its place.
    const again = new Walk({ root: 0, real: join(home, 'gone'), name: 'gone', platform: 'linux', maxFileSize: 9 });
    writeFileSync(join(home, 'gone/mine'), '');
    again.next();
    renameSync(join(home, 'gone'), join(home, 'away'));
    symlinkSync(outside, join(home, 'gone'));
    expect(again.next()).toMatchObject({ entry: expect.arrayContaining([ENTRY.file, 'mine']) });
    again.close();
    walk.close();
  });
});

describe('links at the target', () => {
  it(verifies('transfers.links', 'a source that lies about where links lead is refused'), async () => {
    const target = await targetAt(disk, '~/tree/');
    const entries = [
      ['root', '', 'x'],
      ['abs', 'abs', '/etc'],
      ['up', 'up', '..'],
      ['up2', 'folder/up', '../../x'],
      ['down-up', 'du', 'folder/../../x'],
      ['empty', 'e', ''],
      ['nul', 'n', 'a\0b'],
    ] as const;
    target.places.roots = [await disk.around.guard.check('~/tree')];
    const { failed, links } = await target.plan(entries.map(([, path, to]) => linkEntry(path, to)));
    expect([links, failed.length]).toEqual([0, entries.length]);
    expect(new Set(failed.map(([, error]) => error))).toEqual(new Set(['path_denied']));
    await closeTarget(disk, target);
  });

  it('a link in the place of a folder is never followed, and one in the place of a file is replaced', async () => {
    symlinkSync(outside, join(home, 'tree/folder2'));
    symlinkSync(join(outside, 'victim'), join(home, 'tree/file'));
    const before = pictureOf(outside);
    const target = await targetAt(disk, '~/tree');
    target.places.roots = [await disk.around.guard.check('~/tree')];
    const folder = await target.plan([folderEntry('folder2')]);
    const { failed } = await target.plan([folderEntry('folder2/sub'), linkEntry('folder2/l', 'x')]);
    expect([...folder.failed, ...failed].map(([, error]) => error)).toEqual([
      'wrong_type',
      'path_denied',
      'path_denied',
    ]);
    const taken = await writeFiles(target, [
      ['folder2/victim', 'new'],
      ['file', 'new'],
    ]);
    expect(taken).toMatchObject({ done: 1, failed: [['tree/folder2/victim', 'path_denied', expect.any(String)]] });
    expect(lstatSync(join(home, 'tree/file')).isFile()).toBe(true);
    expect(await errorOf(target.extra(0, 'folder2', undefined))).toBe('path_denied');
    const removed = await target.remove({ root: 0, paths: ['folder2/victim', 'folder2'], isEmptied: false });
    expect(removed).toMatchObject({ removed: 1, failed: [['tree/folder2/victim', 'path_denied', expect.any(String)]] });
    expect(existsSync(join(home, 'tree/folder2'))).toBe(false);
    expect(pictureOf(outside)).toEqual(before);
    await closeTarget(disk, target);
  });

  it(
    verifies('transfers.links.race', 'a folder that is exchanged for a link after it was checked leads nobody out'),
    async () => {
      const before = pictureOf(outside);
      const target = await targetAt(disk, '~/tree');
      target.places.roots = [await disk.around.guard.check('~/tree')];
      // Every step once, so that the folder is known.
      await target.plan([folderEntry('folder')]);
      await writeFiles(target, [['folder/known', 'x']]);
      const exchange = (): void => {
        renameSync(join(home, 'tree/folder'), join(home, 'moved'));
        symlinkSync(outside, join(home, 'tree/folder'));
      };
      const restore = (): void => {
        rmSync(join(home, 'tree/folder'));
        renameSync(join(home, 'moved'), join(home, 'tree/folder'));
      };
      exchange();
      const paths = ['folder/victim', 'folder/new'];
      const planned = await target.plan([folderEntry('folder/sub'), ...paths.map((path) => linkEntry(path, 'x'))]);
      expect(planned.failed.map(([, error]) => error)).toEqual(['path_denied', 'path_denied', 'path_denied']);
      expect(
        (
          await writeFiles(
            target,
            paths.map((path) => [path, 'x'] as const),
          )
        ).failed,
      ).toHaveLength(2);
      expect((await target.remove({ root: 0, paths, isEmptied: true })).failed).toHaveLength(2);
      expect((await target.finish([[ENTRY.end, 0, 'folder', 0, 5, 0o777]])).failed).toHaveLength(1);
      expect(await errorOf(target.prepare([0, 'folder/victim', 2e6, 5, 0o600]))).toBe('path_denied');
      restore();
      // Between the first byte and the name: small, and large.
      await target.places.judge([0]);
      const batch = new BatchSink(target);
      const { bytes } = batchOf([['folder/victim', 'changed']]);
      batch.take(bytes.subarray(0, bytes.length - 2));
      const { file } = await target.prepare([0, 'folder/large', 2_000_000, 5, 0o600]);
      const put = new PutSink(target.large, { file, at: 0, to: 2_000_000, turn: 0 });
      exchange();
      batch.take(bytes.subarray(bytes.length - 2));
      expect(await batch.end()).toMatchObject({
        done: 0,
        failed: [['tree/folder/victim', 'path_denied', expect.any(String), expect.any(String)]],
      });
      put.take(new Uint8Array(2_000_000));
      await put.end();
      expect(await errorOf(target.large.commit(file, []))).toBe('path_denied');
      expect(pictureOf(outside)).toEqual(before);
      await closeTarget(disk, target);
      expect(disk.locks.isFree).toBe(true);
    },
  );

  it(verifies('transfers.links.race', 'a draft that is exchanged for another file gets no name'), async () => {
    const target = await targetAt(disk, '~/tree');
    target.places.roots = [await disk.around.guard.check('~/tree')];
    await target.places.judge([0]);
    const batch = new BatchSink(target);
    batch.take(batchOf([['mine', 'good']]).bytes);
    const [draft = ''] = draftsIn(home);
    rmSync(join(home, draft));
    writeFileSync(join(home, draft), 'evil');
    expect(whys((await batch.end()).failed)).toEqual(['tree/mine path_denied']);
    expect(existsSync(join(home, 'tree/mine'))).toBe(false);
    await closeTarget(disk, target);
  });

  it('a root that becomes a link is not the root any more', async () => {
    const target = await targetAt(disk, '~/tree');
    target.places.roots = [await disk.around.guard.check('~/tree')];
    rmSync(join(home, 'tree'), { recursive: true });
    symlinkSync(outside, join(home, 'tree'));
    expect((await writeFiles(target, [['victim', 'new']])).failed).toEqual([
      ['tree/victim', 'path_denied', expect.any(String)],
    ]);
    expect(readFileSync(join(outside, 'victim'), 'utf8')).toBe('outside');
    expect(draftsIn(outside)).toEqual([]);
    await closeTarget(disk, target);
  });

  it('an open folder that is gone, or is none, is told from one behind a link', () => {
    expect(() => OpenFolder.open(join(home, 'no'), 'no')).toThrow('ENOENT');
    expect(() => OpenFolder.open(join(outside, 'victim'), 'no')).toThrow('ENOTDIR');
    symlinkSync(outside, join(home, 'l'));
    expect(() => OpenFolder.open(join(home, 'l'), 'no')).toThrow('behind a link');
  });
});
