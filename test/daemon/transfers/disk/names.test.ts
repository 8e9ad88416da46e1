import { lstatSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { fileError, fileFault } from '../../../../src/daemon/transfers/disk/faults.ts';
import { ENTRY, type Entry } from '../../../../src/daemon/transfers/format.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import {
  closeTarget,
  diskIn,
  errorOf,
  manifestOf,
  move,
  MTIME_MS,
  sourceOf,
  targetAt,
  writeFiles,
  type TestDisk,
} from './setup.ts';

let home: string;
let disk: TestDisk;

beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  mkdirSync(join(home, 'tree'), { recursive: true });
  disk = diskIn(home);
});

const file = (path: string): Entry => [ENTRY.file, 0, path, 1, MTIME_MS, 0o644];

describe('names', () => {
  it(
    verifies('transfers.names', 'any UTF-8 arrives as it is: both forms of é, 255 bytes, newlines, escapes, bidi'),
    async () => {
      const names = [
        'é',
        'e\u0301',
        'x'.repeat(255),
        'a\nb',
        '\u001b[2J',
        '\u202egpj',
        '-rf',
        '*',
        'CON',
        'x. ',
        'a\\b',
        '\ufffd',
        'A',
        'a',
      ];
      for (const name of names) writeFileSync(join(home, 'tree', name), name);
      expect(await move([disk, disk], [['~/tree'], '~/copy'])).toMatchObject({ failed: [], files: names.length });
      expect(readdirSync(join(home, 'copy')).toSorted()).toEqual(names.toSorted());
      for (const name of names) expect(readFileSync(join(home, 'copy', name), 'utf8')).toBe(name);
    },
  );

  it('a name that is no UTF-8 is reported, and its file is not sent under another name', async () => {
    writeFileSync(Buffer.from(`${home}/tree/\xff`, 'latin1'), 'x');
    mkdirSync(Buffer.from(`${home}/tree/dir\xfe`, 'latin1'));
    const { failed } = await move([disk, disk], [['~/tree'], '~/copy']);
    expect(failed.map(([, error]) => error)).toEqual(['name_unusable', 'name_unusable']);
    expect(readdirSync(join(home, 'copy'))).toEqual([]);
    const target = await targetAt(disk, '~/tree');
    target.places.roots = [await disk.around.guard.check('~/tree')];
    const { names, failed: left } = await target.extra(0, '', undefined);
    expect([names, left.length]).toEqual([[], 2]);
    await closeTarget(disk, target);
  });

  it('a path that is too long is said to be one, and not to have a name that is', () => {
    const faultOf = (path: string): { message: string; hint: string | undefined } => {
      try {
        lstatSync(path);
      } catch (thrown) {
        const { message, hint } = fileFault(thrown, 'shown');
        return { message, hint };
      }
      return { message: 'none', hint: undefined };
    };
    expect(faultOf('/name'.repeat(900))).toEqual({
      message: '"shown" has a path that is too long there',
      hint: 'give it, or its folders, shorter names, or send it to a folder further up',
    });
    expect(faultOf(`/${'n'.repeat(256)}`)).toEqual({
      message: '"shown" has a name that is too long there',
      hint: 'rename it, or leave it out with --exclude',
    });
  });

  it('a path of 4,096 bytes and more, and a name of 256, are errors of their own file', async () => {
    const deep = Array.from({ length: 20 }, () => 'd'.repeat(250));
    const target = await targetAt(disk, '~/tree', { dryRun: false });
    target.places.roots = [await disk.around.guard.check('~/tree')];
    const long = 'n'.repeat(256);
    const { failed } = await target.plan([file(long), [ENTRY.folder, 0, long, 0, 1, 0o755], file(deep.join('/'))]);
    expect(failed.map(([, error]) => error)).toEqual([
      'name_unusable',
      'name_unusable',
      expect.stringMatching(/name_unusable|file_not_found/),
    ]);
    const taken = await writeFiles(target, [
      [long, 'x'],
      ['fine', 'y'],
    ]);
    expect(taken).toMatchObject({ done: 1, failed: [[`tree/${long}`, 'name_unusable', expect.any(String)]] });
    await closeTarget(disk, target);
  });

  it('a draft of loopsy is counted, unless it was to be left out, and neither sent nor taken nor removed', async () => {
    const draft = '.loopsy-0123456789abcdef.part';
    writeFileSync(join(home, 'tree', draft), 'theirs');
    const { source } = await sourceOf(disk, ['~/tree']);
    const manifest = await manifestOf(source);
    expect([manifest.entries.map(([, , path]) => path), manifest.drafts]).toEqual([['', ''], 1]);
    const without = await sourceOf(disk, ['~/tree'], { exclude: ['*.part'] });
    expect((await manifestOf(without.source)).drafts).toBe(0);
    const target = await targetAt(disk, '~/tree');
    target.places.roots = [await disk.around.guard.check('~/tree')];
    expect((await target.extra(0, '', undefined)).names).toEqual([]);
    expect((await writeFiles(target, [[draft, 'x']])).failed).toEqual([
      [`tree/${draft}`, 'name_unusable', expect.any(String)],
    ]);
    expect((await target.remove({ root: 0, paths: [draft], isEmptied: false })).removed).toBe(0);
    expect(readFileSync(join(home, 'tree', draft), 'utf8')).toBe('theirs');
    await closeTarget(disk, target);
  });

  it('what Windows can not hold is an error of its file there', async () => {
    const names = ['a:b', 'a\\b', 'x.', 'x ', 'nul', 'COM1.txt', 'a?', 'a*', '\u0001', 'lpt¹'];
    const { join: joinWindows } = diskIn(home, { around: { platform: 'win32' } }).around;
    for (const name of names) expect(() => joinWindows('C:\\x', `ok/${name}`), name).toThrow('has a name that');
    expect(() => joinWindows('C:\\x', '../y')).toThrow('is no name of a file');
    expect(joinWindows('C:\\x', 'ö/comet/nullable/.hidden')).toBe('C:\\x\\ö\\comet\\nullable\\.hidden');
  });

  it(
    verifies('transfers.names', 'where a system takes two names for one, neither takes the place of the other'),
    async () => {
      // Here both names are there; the system says of one that it is really called otherwise.
      const spelled = new Map([['readme', 'README']]);
      const folding = diskIn(home, {
        around: {
          spelling: { folds: () => true, spelled: (_, name) => spelled.get(name) ?? name, learn: () => undefined },
        },
      });
      writeFileSync(join(home, 'tree/readme'), 'theirs');
      const target = await targetAt(folding, '~/tree');
      target.places.roots = [await folding.around.guard.check('~/tree')];
      const { failed } = await target.plan([file('readme')]);
      expect(failed).toMatchObject([['tree/readme', 'name_unusable', expect.stringContaining('"README"')]]);
      // Both come in one batch, or one after the other.
      const taken = await writeFiles(target, [
        ['Abc', '1'],
        ['aBC', '2'],
        ['readme', '3'],
      ]);
      expect(taken.failed.map(([path, error]) => [path, error])).toEqual([
        ['tree/aBC', 'name_unusable'],
        ['tree/readme', 'name_unusable'],
      ]);
      expect(taken.done).toBe(1);
      expect(readFileSync(join(home, 'tree/readme'), 'utf8')).toBe('theirs');
      expect(existsSync(join(home, 'tree/aBC'))).toBe(false);
      await closeTarget(folding, target);
      expect(folding.locks.isFree).toBe(true);
    },
  );

  it('messages show what could hide', () => {
    const { message } = fileError('wrong_type', 'a\u202eb\u200bc\nd', 'is odd');
    expect(message).toBe(String.raw`"a\u{202e}b\u{200b}c\nd" is odd`);
  });

  it('the names of roots are names, and no two are the same', async () => {
    const open = (names: string[]) =>
      targetAt(disk, '~/tree/', { roots: names.map((name) => ({ name, type: 'file' as const })) });
    for (const names of [
      ['..', 'x'],
      ['a/b', 'x'],
      ['', 'x'],
      ['\0', 'x'],
      ['../../etc', 'x'],
    ])
      expect(await errorOf(open(names)), names[0]).toMatch(/path_denied|name_unusable/);
    expect(await errorOf(open(['a', 'a']))).toBe('name_unusable');
  });

  it('where things go: into a folder, as a new name, and errors for the rest', async () => {
    writeFileSync(join(home, 'f'), '');
    const open = async (dest: string, names = ['x']): Promise<string> => {
      try {
        const target = await targetAt(disk, dest, {
          roots: names.map((name) => ({ name, type: 'file' as const })),
          dryRun: true,
        });
        const paths = target.places.roots.map((path) => path.slice(home.length));
        await closeTarget(disk, target);
        return paths.join(' ');
      } catch (thrown) {
        return thrown instanceof Error && 'error' in thrown ? String(thrown.error) : 'odd';
      }
    };
    expect(await open('~/tree')).toBe('/tree/x');
    expect(await open('~')).toBe('/x');
    expect(await open('~/new')).toBe('/new');
    expect(await open('~/new/')).toBe('/new/x');
    expect(await open('~/f')).toBe('/f');
    expect(await open('~/f/')).toBe('wrong_type');
    expect(await open('~/new', ['a', 'b'])).toBe('file_not_found');
    expect(await open('~/f', ['a', 'b'])).toBe('wrong_type');
    expect(await open('~/tree', ['a', 'b'])).toBe('/tree/a /tree/b');
    expect(await open('~/no/new')).toBe('file_not_found');
    expect(await open('~/no/new/')).toBe('file_not_found');
    // On Linux a backslash is a letter.
    expect(await open('~/new\\')).toBe('/new\\');
    expect(statSync(join(home, 'tree')).isDirectory()).toBe(true);
  });
});
