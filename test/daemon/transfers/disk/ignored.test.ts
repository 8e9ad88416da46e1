import * as fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { Ignored } from '../../../../src/daemon/transfers/disk/ignored.ts';
import { seedOfRun } from '../../../helpers/seed.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import { diskIn, errorOf, manifestOf, move, readJson, sourceOf, type TestDisk } from './setup.ts';

let home: string;
let disk: TestDisk;

const plant = (files: readonly string[], texts: Readonly<Record<string, string>> = {}): void => {
  for (const file of files) {
    mkdirSync(join(home, 'tree', dirname(file)), { recursive: true });
    writeFileSync(join(home, 'tree', file), texts[file] ?? file);
  }
};

const filesOf = async (options: object): Promise<string[]> => {
  const { source } = await sourceOf(disk, ['~/tree'], options);
  const { entries, failed } = await manifestOf(source);
  expect(failed).toEqual([]);
  return entries.flatMap(([kind, , path]) => (kind === 0 ? [path] : [])).toSorted();
};

beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  mkdirSync(join(home, 'tree'), { recursive: true });
  disk = diskIn(home);
});

const isGit = ((): boolean => {
  try {
    execFileSync('git', ['--version']);
    return true;
  } catch {
    return false;
  }
})();

/** What git ignores of these files. */
const ignoredByGit = (files: readonly string[]): Set<string> => {
  const cwd = join(home, 'tree');
  const env = { PATH: process.env['PATH'], HOME: home, GIT_CONFIG_NOSYSTEM: '1' };
  if (!existsSync(join(cwd, '.git'))) execFileSync('git', ['init', '-q'], { cwd, env });
  try {
    const args = ['-c', 'core.quotePath=false', 'check-ignore', '--no-index', '--stdin', '-z'];
    return new Set(execFileSync('git', args, { cwd, env, input: files.join('\0'), encoding: 'utf8' }).split('\0'));
  } catch {
    // Exit 1: none of them.
    return new Set();
  }
};

const FILES = [
  'a',
  'b.log',
  'keep.log',
  'dir/a',
  'dir/b.log',
  'dir/sub/c.txt',
  'dir/sub/b.log',
  'build/x',
  'src/build/y',
  'a b',
  'x ',
  '#h',
  '!n',
  'foo/bar/baz',
  'foo/x/bar/baz',
  'a/../z'.replace('a/../', ''),
  '[x]',
  'ä.log',
  'deep/a/b/c/d',
  '.hidden',
  'B.LOG',
  'a*b',
  'back\\slash',
  'abc',
  'a-c',
  'a1c',
].filter((file) => file !== 'a');

const LINES = [
  '*.log',
  '!keep.log',
  '/build',
  'build/',
  'dir/',
  '!dir/sub/',
  'dir/*',
  '!dir/sub',
  '**/sub',
  'foo/**',
  'foo/**/baz',
  '**/baz',
  '**',
  '/**',
  '*',
  '!*/',
  'a?c',
  'a[b-d]c',
  'a[!0-9]c',
  'a[[:digit:]]c',
  '\\#h',
  '\\!n',
  '#h',
  '!n',
  'x\\ ',
  'x ',
  'a b',
  'a\\*b',
  '[x]',
  '\\[x]',
  '[',
  'a[',
  '!',
  '/',
  '//',
  'dir/sub/c.txt',
  '/dir/b.log',
  'sub/c.txt',
  '.*',
  '!.hidden',
  'deep/**/d',
  'deep/*/c',
  'd**p',
  '*.l*g',
  'ä.*',
  'back\\\\slash',
  '  ',
  'b.log  ',
  '\tb',
  'foo/bar/',
  'foo/*/bar',
  '***',
  'a\\',
  'dir//a',
  './a',
  '[a-]bc',
  'a[]b]c',
  '[z-a]',
  'a[^b]c',
];

describe('what is left out', () => {
  it(
    verifies('transfers.ignored', 'is what git leaves out, for any .gitignore files'),
    { timeout: 60_000 },
    async ({ skip }) => {
      if (!isGit) skip('there is no git here');
      plant(FILES);
      const lines = fc.array(fc.constantFrom(...LINES), { maxLength: 6 });
      const check = async (root: readonly string[], dir: readonly string[], deep: readonly string[]): Promise<void> => {
        plant(['.gitignore', 'dir/.gitignore', 'deep/a/.gitignore'], {
          '.gitignore': root.join('\n'),
          'dir/.gitignore': `${dir.join('\r\n')}\r\n`,
          'deep/a/.gitignore': deep.join('\n'),
        });
        const all = [...FILES, '.gitignore', 'dir/.gitignore', 'deep/a/.gitignore'];
        const ignored = ignoredByGit(all);
        const left = all.filter((file) => !ignored.has(file)).toSorted();
        expect(await filesOf({ gitignore: true }), JSON.stringify({ root, dir, deep })).toEqual(left);
      };
      for (const line of LINES) await check([line], [], []);
      await fc.assert(fc.asyncProperty(lines, lines, lines, check), { seed: seedOfRun('gitignore'), numRuns: 150 });
    },
  );

  it(verifies('transfers.ignored', '--exclude has the last word, its last pattern the very last'), async () => {
    plant(['.gitignore', 'a.log', 'b.log', 'c.txt', 'sub/c.txt'], { '.gitignore': 'c.txt\n!a.log' });
    expect(await filesOf({ exclude: ['*.log'] })).toEqual(['.gitignore', 'c.txt', 'sub/c.txt']);
    expect(await filesOf({ exclude: ['*.log', '!b.log'], gitignore: true })).toEqual(['.gitignore', 'b.log']);
    expect(await filesOf({ exclude: ['!/c.txt', '.gitignore'], gitignore: true })).toEqual(['a.log', 'b.log', 'c.txt']);
    expect(await filesOf({ exclude: ['sub', '# no comment', ''] })).toEqual(['.gitignore', 'a.log', 'b.log', 'c.txt']);
  });

  it.each(['[', 'a[b', 'x\\', '!', '/', 'dir/[', '!/'])(
    verifies('transfers.ignored', 'a pattern without a meaning is an error that names it: %j'),
    async (pattern) => {
      await expect(sourceOf(disk, ['~/tree'], { exclude: ['fine', pattern] })).rejects.toMatchObject({
        error: 'invalid_request',
        message: expect.stringContaining(JSON.stringify(pattern)) as string,
      });
    },
  );

  it('.git stays behind with gitignore, a file of that name too; its links, pipes and huge files are not followed', async () => {
    plant(['.git/config', 'sub/.git', 'a', 'b/c'], {});
    expect(await filesOf({ gitignore: true })).toEqual(['a', 'b/c']);
    expect(await filesOf({})).toContain('.git/config');
    writeFileSync(join(home, 'rules'), '*');
    symlinkSync('../../rules', join(home, 'tree/b/.gitignore'));
    execFileSync('mkfifo', [join(home, 'tree/.gitignore')]);
    const { source } = await sourceOf(disk, ['~/tree'], { gitignore: true });
    const { entries } = await manifestOf(source);
    expect(entries.map(([, , path]) => path)).toEqual(expect.arrayContaining(['a', 'b/c']));
    plant(['big/.gitignore', 'big/secret'], { 'big/.gitignore': `secret\n${'#'.repeat(1_048_576)}` });
    const huge = await sourceOf(disk, ['~/tree'], { gitignore: true });
    const met = await manifestOf(huge.source);
    expect(met.entries.map(([, , path]) => path)).not.toContain('big/secret');
    expect(met.failed.map(([path, error]) => [path, error])).toContainEqual(['tree/big', 'file_too_large']);
  });

  it('what is left out is nobody to remove', async () => {
    plant(['keep/x', 'keep/skip.log', 'out/x'], {});
    const { source } = await sourceOf(disk, ['~/tree'], { exclude: ['*.log', 'out/'] });
    const missing = async (folder: string, names: [string, boolean][], more: { gone?: true } = {}) =>
      (await readJson(source, { kind: 'missing', root: 0, folder, names, ...more })) as { missing: number[] };
    expect(
      await missing('', [
        ['keep', true],
        ['gone', true],
        ['gone.log', false],
        ['out', true],
        ['out', false],
      ]),
    ).toEqual({ missing: [1], others: [], left: [2, 3] });
    expect(await missing('out', [['anything', false]])).toEqual({ missing: [], others: [] });
    expect(
      await missing(
        'gone',
        [
          ['a', false],
          ['b.log', false],
        ],
        { gone: true },
      ),
    ).toEqual({ missing: [0], others: [], left: [1] });
    // Nobody has said that it is not there.
    expect(await errorOf(missing('gone', [['a', false]]))).toBe('source_changed');
    expect(await errorOf(missing('..', [['a', false]]))).toBe('path_denied');
    // A name that is none is not there.
    expect(
      await missing('keep', [
        ['a/b', false],
        ['\0', false],
        ['x', false],
      ]),
    ).toEqual({ missing: [0, 1], others: [] });
  });

  it('a tree that is left out as a whole costs others no time', async () => {
    const ignored = Ignored.of(['*a*a*a*a*a*a*a*a*a*a*b', '**/x/**/x/**/x/**/y'], {
      gitignore: false,
      platform: 'linux',
    });
    const begun = performance.now();
    expect(ignored?.has('a'.repeat(255), false)).toBe(false);
    expect(ignored?.has(Array.from({ length: 200 }, () => 'x').join('/'), false)).toBe(false);
    expect(performance.now() - begun).toBeLessThan(500);
  });

  it('moves what is left', async () => {
    plant(['a.log', 'b/c.log', 'b/d'], {});
    const { failed, files } = await move([disk, disk], [['~/tree'], '~/copy'], { exclude: ['*.log'] });
    expect([failed, files, readdirSync(join(home, 'copy/b'))]).toEqual([[], 1, ['d']]);
  });
});
