import * as fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { seedOfRun } from '../../../helpers/seed.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import { diskIn, errorOf, manifestOf, readJson, sourceOf, type TestDisk } from './setup.ts';

let home: string;
let disk: TestDisk;

const plant = (files: Readonly<Record<string, string>>): void => {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(home, file)), { recursive: true });
    writeFileSync(join(home, file), text);
  }
};

/** The files that these sources have, each with the name of its source. */
const filesOf = async (paths: readonly string[], options: object, on = disk): Promise<string[]> => {
  const { source, names, failed: notFound } = await sourceOf(on, paths, options);
  const { entries, failed } = await manifestOf(source);
  expect([...notFound, ...failed]).toEqual([]);
  return entries
    .flatMap(([kind, root, path]) => (kind === 0 ? [path === '' ? (names[root] ?? '') : `${names[root]}/${path}`] : []))
    .toSorted();
};

/** Until what is written from now on has a later time than what was written before: a disk's clock goes in steps. */
const later = (): void => {
  const from = Date.now();
  do plant({ clock: '' });
  while (lstatSync(join(home, 'clock')).ctimeMs < from + 2);
};

beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  mkdirSync(home);
  disk = diskIn(home);
});

describe('a source that --exclude matches', () => {
  beforeEach(() => plant({ 'r/a.key': '', 'r/b': '', 'r/cache/c': '', 'r/sub/cache/d': '', 'r/sub/e': '' }));

  it.each([['~/r/*'], ['~/r/a.key', '~/r/b', '~/r/cache', '~/r/sub']])(
    verifies('transfers.ignored', 'stays behind, whoever has named it'),
    async (...paths) => {
      expect(await filesOf(paths, { exclude: ['*.key', 'cache'] })).toEqual(['b', 'sub/e']);
      expect(await filesOf(paths, { exclude: ['cache/'] })).toEqual(['a.key', 'b', 'sub/e']);
      expect(await filesOf(paths, { exclude: ['**/cache', 'b/'] })).toEqual(['a.key', 'b', 'sub/e']);
      expect(await filesOf(paths, { exclude: ['*', '!b'] })).toEqual(['b']);
    },
  );

  it(verifies('transfers.ignored', 'is matched by no rule for one place in a tree'), async () => {
    const all = ['a.key', 'b', 'cache/c', 'sub/cache/d', 'sub/e'];
    for (const rule of ['/b', '/**', 'r/b', 'b/**'])
      expect(await filesOf(['~/r/*'], { exclude: [rule] }), rule).toEqual(rule === '/**' ? ['a.key', 'b'] : all);
  });

  it(verifies('transfers.ignored', 'goes where what is in it was asked for'), async () => {
    expect(await filesOf(['~/r/cache/.'], { exclude: ['cache', 'r'] })).toEqual(['cache/./c']);
  });

  it.each([
    [['~/r/cache'], { exclude: ['cache'] }, '--exclude'],
    [['~/r/*.key', '~/r/cache'], { exclude: ['*'], gitignore: true }, '--exclude and --gitignore'],
  ])(
    verifies('transfers.ignored', 'is said to be left out where nothing else was named'),
    async (paths, options, by) => {
      await expect(sourceOf(disk, paths, options)).rejects.toMatchObject({
        error: 'invalid_request',
        message: `all that was to be moved is left out by ${by}: nothing was moved, and nothing removed`,
        hint: 'leave that away; or name a folder as `x/.`: then only what is in it is judged',
      });
    },
  );

  it('does not hide what was not found', async () => {
    const { failed, names } = await sourceOf(disk, ['~/r/cache', '~/gone'], { exclude: ['cache'] });
    expect([failed.map(([path]) => path), names]).toEqual([['~/gone'], []]);
  });
});

const RULES = ['*.log', '!keep.log', '/build', 'build/', 'dir/*', '!dir/sub', '**/sub', 'dir/sub/a', '/a', 'b', 'sub/'];
const FILES = [
  'a',
  'b/a',
  'x.log',
  'keep.log',
  'build/a',
  'dir/a',
  'dir/x.log',
  'dir/sub/a',
  'dir/sub/b',
  'dir/build/a',
];

describe('a source in a repository, with --gitignore', () => {
  const git = (...args: string[]): string =>
    execFileSync('git', args, {
      cwd: join(home, 'r'),
      env: { PATH: process.env['PATH'], HOME: home },
      encoding: 'utf8',
    });

  it(
    verifies('transfers.ignored', 'has what git would take of it, wherever in the repository it lies'),
    { timeout: 60_000 },
    async ({ skip }) => {
      try {
        execFileSync('git', ['--version']);
      } catch {
        skip('there is no git here');
      }
      plant(Object.fromEntries(FILES.map((file) => [`r/${file}`, ''])));
      git('init', '-q');
      const lines = fc.array(fc.constantFrom(...RULES), { maxLength: 5 });
      const check = async (top: readonly string[], dir: readonly string[]): Promise<void> => {
        plant({ 'r/.gitignore': top.join('\n'), 'r/dir/.gitignore': dir.join('\n') });
        const taken = git('ls-files', '-o', '--exclude-standard')
          .split('\n')
          .filter((file) => file !== '')
          .toSorted();
        const options = { gitignore: true };
        const what = JSON.stringify({ top, dir });
        expect(await filesOf(['~/r/*', '~/r/.g*'], options), what).toEqual(taken);
        for (const folder of ['dir', 'dir/sub']) {
          const below = taken.filter((file) => file.startsWith(`${folder}/`));
          const names = below.map((file) => file.slice(dirname(folder) === '.' ? 0 : dirname(folder).length + 1));
          const { source } = await sourceOf(disk, [`~/r/${folder}`], options).catch(() => ({ source: undefined }));
          if (source === undefined) expect(names, what).toEqual([]);
          else expect(await filesOf([`~/r/${folder}`], options), what).toEqual(names);
        }
      };
      await fc.assert(fc.asyncProperty(lines, lines, check), { seed: seedOfRun('left-out'), numRuns: 60 });
    },
  );

  it(verifies('transfers.ignored', 'has what is in a folder that git ignores where that was asked for'), async () => {
    plant({ 'r/.git/HEAD': '', 'r/.gitignore': 'dist/\n*.map\n', 'r/dist/a.js': '', 'r/dist/a.map': '' });
    expect(await filesOf(['~/r/dist/.'], { gitignore: true })).toEqual(['dist/./a.js']);
    expect(await errorOf(sourceOf(disk, ['~/r/dist'], { gitignore: true }))).toBe('invalid_request');
    expect(await errorOf(sourceOf(disk, ['~/r/dist/a.js'], { gitignore: true }))).toBe('invalid_request');
    expect(await errorOf(sourceOf(disk, ['~/r/.git', '~/r/.git/HEAD'], { gitignore: true }))).toBe('invalid_request');
    expect(await filesOf(['~/r/dist/a.js', '~/r/dist'], { exclude: ['!dist', '!*.js'], gitignore: true })).toEqual([
      'a.js',
      'dist/a.js',
    ]);
  });

  it(verifies('transfers.ignored', 'is not judged by what is above the repository, or may not be read'), async () => {
    plant({ '.gitignore': '*', 'plain/.gitignore': '*', 'plain/f': '', 'r/.git/HEAD': '', 'r/s/f': '' });
    const options = { gitignore: true };
    expect(await filesOf(['~/plain/f', '~/r/s', '~/r/s/f'], options)).toEqual(['f', 'f', 's/f']);
    plant({ '.git/HEAD': '' });
    expect(await filesOf(['~/r', '~/r/s/.'], options)).toEqual(['r/s/f', 's/./f']);
    plant({ 'r/.gitignore': 'f', 'r/s/.gitignore': '' });
    expect(await errorOf(sourceOf(disk, ['~/r/s/f'], options))).toBe('invalid_request');
    const closed = diskIn(home, { rules: { denied: ['~/r/.gitignore'] } });
    expect(await filesOf(['~/r/s/f'], options, closed)).toEqual(['f']);
    expect(await filesOf(['~/r/s/f'], { ...options, limits: { folders: ['~/r/s'] } })).toEqual(['f']);
  });

  it(verifies('transfers.ignored', 'is judged where the link lies by which it was named, too'), async () => {
    plant({ 'r/.git/HEAD': '', 'r/.gitignore': 'out\nlog/', 'r/f': '', 'out/x': '', 'r/s/f': '', 'r/s/out/y': '' });
    for (const name of ['out', 'log', 'here']) symlinkSync('../out', join(home, 'r', name));
    symlinkSync('r/s', join(home, 'in'));
    const options = { gitignore: true };
    expect(await filesOf(['~/r/*', '~/r/out/'], options)).toEqual(['f', 'here/x', 's/f']);
    expect(await filesOf(['~/r/out/.', '~/in'], options)).toEqual(['in/f', 'out/./x']);
  });

  it(verifies('transfers.delete-taken', 'removes nothing where a file above it has changed'), async () => {
    plant({ 'r/.git/HEAD': '', 'r/.gitignore': '*.log', 'r/s/f': '' });
    const missing = async (change: () => void): Promise<unknown> => {
      later();
      const { source } = await sourceOf(disk, ['~/r/s'], { gitignore: true });
      await manifestOf(source);
      later();
      change();
      const names = ['x.log', 'x'].map((name): [string, boolean] => [name, false]);
      return readJson(source, { kind: 'missing', root: 0, folder: '', names });
    };
    expect(await missing(() => undefined)).toMatchObject({ missing: [1], others: [] });
    expect(await missing(() => plant({ 'r/beside': '' }))).toMatchObject({ missing: [1], others: [] });
    expect(await errorOf(missing(() => plant({ 'r/.gitignore': '' })))).toBe('source_changed');
    expect(await errorOf(missing(() => rmSync(join(home, 'r/.gitignore'))))).toBe('source_changed');
  });
});
