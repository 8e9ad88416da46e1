import * as fc from 'fast-check';
import { lstatSync, mkdirSync, realpathSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { pathsOf } from '../../../../src/daemon/transfers/disk/surroundings.ts';
import { ENTRY, type Entry, type Failed } from '../../../../src/daemon/transfers/format.ts';
import { LoopsyError } from '../../../../src/protocol/errors.ts';
import type { Stamp } from '../../../../src/protocol/transfers.ts';
import { toNativePath, toNativePattern } from '../../../../src/trust/native-path.ts';
import { PathGuard, type PathFiles } from '../../../../src/trust/path-guard.ts';
import { FakeClock } from '../../../helpers/clock.ts';
import { seedOfRun } from '../../../helpers/seed.ts';
import { verifies } from '../../../requirements.ts';
import {
  closeTarget,
  diskIn,
  draftsIn,
  manifestOf,
  MTIME_MS,
  pictureOf,
  quickFolder,
  readAll,
  readJson,
  sourceOf,
  targetAt,
  writeFiles,
} from './setup.ts';

/** Of a hundred paths each. */
const ROUNDS = process.env['LOOPSY_LONG'] === '1' ? 200 : 60;

const SECRET = 'nobody reads this';
/** When it was written: who asks for it knows that. */
const SECRET_MS = 5000;

/** Names that lead out, or could be taken for others. */
const WORDS = [
  '..',
  '.',
  '',
  '...',
  '~',
  '~root',
  'out',
  'rel',
  'up',
  'chain',
  'chain2',
  'loop',
  'loop2',
  'inside',
  'dead',
  'ssh',
  'folder',
  'FOLDER',
  'Folder',
  'file',
  'FILE',
  '.ssh',
  '.SSH',
  'secret',
  'id',
  'new',
  'e\u0301',
  '\u00e9',
  'K',
  'k',
  'CON',
  'nul.txt',
  'COM1',
  'LPT¹',
  'x.',
  'x ',
  'a:b',
  'C:',
  'c:x',
  '\0',
  'a\0b',
  '\\',
  '..\\',
  '\\..',
  'a\\b',
  '%2e%2e',
  '\ud800',
  'a\udc00',
  '\u202e',
  '\n',
  '-rf',
  '*',
  '?',
  '|',
  '<',
  '"',
  'x'.repeat(255),
  'x'.repeat(256),
  'é'.repeat(128),
  '.git',
  'GIT~1',
  '.loopsy-0123456789abcdef.part',
  '\uff0e\uff0e',
  '\u2024\u2024',
  '․.',
  '\u2215',
  '／',
  'proc',
  'self',
] as const;
const BEGINS = [
  '',
  '/',
  '//',
  '///',
  '~/',
  '~',
  './',
  '../',
  '\\',
  '\\\\',
  '\\\\?\\',
  '\\\\.\\',
  '//server/share/',
  'C:',
  'C:/',
  'c:\\',
  '/c/',
  'file:',
  '\0',
];

/** What is really there: the way out goes through it. */
const LINKS = ['out', 'rel', 'up', 'chain', 'chain2', 'loop', 'loop2', 'inside', 'dead', 'ssh', 'secret'] as const;
/** What leads to something that is there. */
const WAYS_OUT = ['out/secret', 'rel/file', 'chain/file', 'out/folder/file', 'ssh/id', 'secret', 'up/../outside/id'];

const wordArbitrary = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...LINKS) },
  { weight: 5, arbitrary: fc.constantFrom('folder', 'file', 'deep', 'id', 'new', 'outside', 'home', '..') },
  { weight: 8, arbitrary: fc.constantFrom(...WORDS) },
  { weight: 1, arbitrary: fc.string({ maxLength: 6, unit: 'binary' }) },
);
const hostileArbitrary = (absolutes: readonly string[]): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.oneof(
        { weight: 2, arbitrary: fc.constant('') },
        { weight: 1, arbitrary: fc.constantFrom(...BEGINS, ...absolutes) },
      ),
      fc.array(wordArbitrary, { minLength: 1, maxLength: 6 }),
      fc.constantFrom('/', '/', '/', '\\', '//'),
      fc.constantFrom('', '', '', '/', '/.', '/..', '\\'),
    )
    .map(([begin, words, separator, end]) => begin + words.join(separator) + end);

/** A home with a tree full of links, beside what must stay as it is. */
const plant = async () => {
  const base = await quickFolder();
  const [home, outside] = [join(base, 'home'), join(base, 'outside')];
  for (const folder of [join(home, 'tree/folder'), join(home, '.ssh'), join(outside, 'folder/.ssh')])
    mkdirSync(folder, { recursive: true });
  for (const file of ['secret', 'file', 'id', 'only-there', 'folder/file', 'folder/only-there', 'folder/.ssh/id'])
    writeSecret(join(outside, file));
  for (const file of ['.ssh/id', '.ssh/only-there']) writeSecret(join(home, file));
  writeFileSync(join(home, 'tree/file'), 'open');
  for (const [name, to] of [
    ['out', outside],
    ['rel', '../../outside'],
    ['up', '..'],
    ['chain', 'chain2'],
    ['chain2', 'folder/deep'],
    ['folder/deep', '../../../outside/folder'],
    ['loop', 'loop2'],
    ['loop2', 'loop'],
    ['inside', 'folder'],
    ['dead', '/nowhere/at/all'],
    ['ssh', '../.ssh'],
    ['secret', '../../outside/secret'],
  ] as const)
    symlinkSync(to, join(home, 'tree', name));
  return { home, outside, closed: () => ({ ...pictureOf(outside), ...pictureOf(join(home, '.ssh')) }) };
};

const writeSecret = (file: string): void => {
  writeFileSync(file, SECRET);
  utimesSync(file, SECRET_MS / 1000, SECRET_MS / 1000);
};

const isFault = (failed: readonly Failed[]): boolean =>
  failed.every(([, error]) =>
    [
      'path_denied',
      'name_unusable',
      'wrong_type',
      'file_not_found',
      'target_busy',
      'invalid_request',
      'source_changed',
    ].includes(error),
  );

/** The links stay, for those who come after. */
const isKept = (path: string): boolean => [...LINKS, 'folder', 'folder/deep'].includes(path.replace(/[/.]+$/, ''));

/** Every way to write below one path. */
const attack = async (target: Awaited<ReturnType<typeof targetAt>>, paths: readonly string[]): Promise<Failed[]> => {
  const failed: Failed[] = [];
  const entries = paths.flatMap((path): Entry[] => [
    [ENTRY.folder, 0, path, 0, MTIME_MS, 0o755],
    [ENTRY.file, 0, `${path}/f`, 3, MTIME_MS, 0o644],
    [ENTRY.link, 0, `${path}-link`, 0, MTIME_MS, 0o777, path],
    [ENTRY.link, 0, `${path}/link`, 0, MTIME_MS, 0o777, '../folder'],
  ]);
  failed.push(...(await target.plan(entries)).failed);
  failed.push(
    ...(
      await writeFiles(
        target,
        paths.map((path) => [`${path}/f`, 'new'] as const),
      )
    ).failed,
  );
  failed.push(
    ...(
      await writeFiles(
        target,
        paths.filter((path) => !isKept(path)).map((path) => [path, 'new'] as const),
      )
    ).failed,
  );
  failed.push(...(await target.finish(paths.map((path): Entry => [ENTRY.end, 0, path, 0, MTIME_MS, 0o700]))).failed);
  for (const path of paths.slice(0, 5)) {
    const extra = await target.extra(0, path, undefined).catch((error: unknown) => error);
    if (!(extra instanceof LoopsyError)) expect(JSON.stringify(extra)).not.toContain('only-there');
    const large = await target.prepare([0, path, 2_000_000, MTIME_MS, 0o644]).catch((error: unknown) => error);
    if (large instanceof LoopsyError) failed.push([path, large.error, '']);
    else target.large.drop((large as { file: number }).file);
  }
  const removed = await target.remove({ root: 0, paths: paths.filter((path) => !isKept(path)), isEmptied: false });
  failed.push(...removed.failed);
  return failed;
};

const REAL: PathFiles = {
  realpath: async (path) => realpathSync.native(path),
  lstat: async (path) => lstatSync(path),
  stat: async (path) => lstatSync(path, { bigint: true }),
};

describe('hostile paths', () => {
  it(
    verifies(
      'transfers.guard.property',
      `none of ${ROUNDS * 100} (20,000 in test:long) leads out of what is open, for writing, listing, removing and reading`,
    ),
    async () => {
      const { home, outside, closed } = await plant();
      const disk = diskIn(home);
      const before = closed();
      const target = await targetAt(disk, '~/tree/', { roots: [{ name: 'folder', type: 'directory' }] });
      target.places.roots = [await disk.around.guard.check('~/tree')];
      const { source } = await sourceOf(disk, ['~/tree']);
      const seed = seedOfRun('hostile paths');
      let [tried, allowed] = [0, 0];
      await fc.assert(
        fc.asyncProperty(
          fc.array(hostileArbitrary([`${outside}/`, `${home}/`, '/proc/self/root/', '/etc/']), {
            minLength: 100,
            maxLength: 100,
          }),
          async (paths) => {
            tried += paths.length;
            for (const path of paths) {
              const real = await disk.around.guard.check(path).catch((error: unknown) => {
                if (!(error instanceof LoopsyError) || error.error !== 'path_denied') throw error;
                return undefined;
              });
              if (real === undefined) continue;
              allowed += 1;
              expect(`${real}/`.startsWith(`${home}/`), path).toBe(true);
              expect(`${real}/`.startsWith(`${home}/.ssh/`), path).toBe(false);
            }
            expect(isFault(await attack(target, paths))).toBe(true);
            const stamps = [...paths, ...WAYS_OUT].map((path): Stamp => [0, path, SECRET.length, SECRET_MS]);
            expect((await readAll(source, { kind: 'batch', files: stamps })).includes(SECRET)).toBe(false);
            for (const folder of paths.slice(0, 5)) {
              const want = {
                kind: 'missing',
                root: 0,
                folder,
                names: [['only-there', false] as [string, boolean]],
              } as const;
              const answer = await readJson(source, { ...want, names: [...want.names] }).catch(
                (error: unknown) => error,
              );
              // What lies outside is not seen: it is either refused or, as nothing is there, missing.
              if (!(answer instanceof LoopsyError)) expect(answer).toEqual({ missing: [0] });
            }
          },
        ),
        { seed, numRuns: ROUNDS, endOnFailure: true },
      );
      expect(tried).toBeGreaterThanOrEqual(ROUNDS * 100);
      expect(allowed).toBeGreaterThan(ROUNDS);
      source.close();
      await closeTarget(disk, target);
      expect(closed()).toEqual(before);
      expect(draftsIn(join(home, '..'))).toEqual([]);
      expect(disk.locks.isFree).toBe(true);
    },
    180_000,
  );

  it('a whole source of hostile paths gives only what is open', async () => {
    const { home, outside } = await plant();
    const disk = diskIn(home);
    const { source, failed } = await sourceOf(disk, [
      '~/tree',
      '~/tree/out',
      '~/tree/chain',
      '~/tree/loop',
      outside,
      '~/../outside',
      '~/.ssh/*',
      '~/.*/id',
      `${outside}/*`,
    ]);
    expect(failed.map(([path, error]) => [path, error])).toEqual([
      ['~/tree/out', 'path_denied'],
      ['~/tree/chain', 'path_denied'],
      ['~/tree/loop', 'path_denied'],
      [outside, 'path_denied'],
      ['~/../outside', 'path_denied'],
      ['~/.ssh/*', 'path_denied'],
      [join(home, '.ssh/id'), 'path_denied'],
      [`${outside}/*`, 'path_denied'],
    ]);
    // Not even names of what is closed are told.
    expect(JSON.stringify(failed.filter(([path]) => path.includes('*')))).not.toContain('secret');
    const { entries, failed: refused } = await manifestOf(source);
    expect(entries.map(([, , path]) => path)).toEqual(expect.arrayContaining(['', 'file', 'folder', 'inside']));
    expect(refused.map(([path]) => path).toSorted()).toEqual(
      ['dead', 'folder/deep', 'out', 'rel', 'secret', 'ssh', 'up'].map((name) => `tree/${name}`),
    );
    source.close();
  });

  it(verifies('transfers.guard.property', 'Windows: 20,000 entries and paths stay below their folder'), () => {
    const seed = seedOfRun('hostile paths of Windows');
    const { join: joinWindows } = pathsOf('win32');
    const place = { platform: 'win32', home: 'C:\\Users\\u' } as const;
    const isSound = (path: string): boolean =>
      /^[A-Z]:\\/.test(path) &&
      path
        .slice(3)
        .split('\\')
        .every((name) => name !== '..' && name !== '.' && !/[<>:"|?*\0/]|[. ]$/.test(name));
    const fault = (work: () => string): string | undefined => {
      try {
        return work();
      } catch (error) {
        expect(error).toBeInstanceOf(LoopsyError);
        return undefined;
      }
    };
    fc.assert(
      fc.property(hostileArbitrary(['C:\\Windows\\']), (path) => {
        const joined = fault(() => joinWindows('C:\\Users\\u\\tree', path));
        if (joined !== undefined) expect(joined.startsWith('C:\\Users\\u\\tree') && isSound(joined), path).toBe(true);
        const native = fault(() => toNativePath(path, place));
        if (native !== undefined) expect(isSound(native) || /^[A-Z]:\\$/.test(native), path).toBe(true);
        const pattern = fault(() => toNativePattern(path, place));
        if (pattern !== undefined)
          expect(isSound(pattern.replaceAll(/[*?]/g, 'x')) || /^[A-Z]:\\$/.test(pattern)).toBe(true);
      }),
      { seed, numRuns: 20_000 },
    );
  });

  it(verifies('transfers.guard.property', 'macOS: what is closed is closed in every case and form'), async () => {
    const { home } = await plant();
    const seed = seedOfRun('hostile paths of macOS');
    const rules = { platform: 'darwin', home, allowed: ['~'], denied: ['~/.ssh'], alwaysDenied: [] } as const;
    const guard = new PathGuard(rules, new FakeClock(), REAL);
    const spelled = fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }).map((upper) =>
      Array.from('.ssh')
        .map((letter, index) => (upper[index] === true ? letter.toUpperCase() : letter))
        .join(''),
    );
    const form = fc.constantFrom('', '/id', '/../.ssh/id', '//id', '/./new/deep');
    await fc.assert(
      fc.asyncProperty(spelled, form, fc.constantFrom('ſ', 's'), async (name, end, letter) => {
        const path = `~/${name.replace('s', letter)}${end}`;
        await expect(guard.check(path), path).rejects.toMatchObject({ error: 'path_denied' });
      }),
      { seed, numRuns: 2000 },
    );
  });
});
