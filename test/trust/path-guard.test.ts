import * as fc from 'fast-check';
import { mkdir, mkdtemp, readlink, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { PathGuard, type PathFiles, type PathLimits, type PathRules } from '../../src/trust/path-guard.ts';
import { FakeClock } from '../helpers/clock.ts';
import { verifies } from '../requirements.ts';

let root: string;
let home: string;
let clock: FakeClock;
let guard: PathGuard;

const rulesOf = (more: Partial<PathRules> = {}): PathRules => ({
  platform: 'linux',
  home,
  allowed: ['~', join(root, 'tmp')],
  denied: ['~/.ssh', '~/.aws', '~/secret-link', '~/not-yet'],
  alwaysDenied: ['~/.loopsy'],
  ...more,
});

const outcome = async (given: string, limits?: PathLimits, by = guard): Promise<string> => {
  try {
    return await by.check(given, limits);
  } catch (error) {
    if (error instanceof Error && 'error' in error) return String(error.error);
    throw error;
  }
};

beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'loopsy-paths-')));
  home = join(root, 'home');
  for (const folder of [
    'home/a/b',
    'home/.ssh',
    'home/.loopsy/tls',
    'home/.aws',
    'outside',
    'tmp',
    'tmpfoo',
    'home/.sshfoo',
    'elsewhere',
  ]) {
    await mkdir(join(root, folder), { recursive: true });
  }
  for (const file of [
    'home/a/file',
    'home/.ssh/id',
    'home/.loopsy/tls/key.pem',
    'outside/secret',
    'tmpfoo/x',
    'elsewhere/x',
    'home/.sshfoo/x',
  ]) {
    await writeFile(join(root, file), file);
  }
  const links: [string, string][] = [
    ['home/a/out', '../../outside'],
    ['home/a/ssh', '../.ssh'],
    ['home/a/self', '.'],
    ['home/a/up', '..'],
    ['home/a/root', '/'],
    ['home/a/loop', 'loop'],
    ['home/a/dangling', '../../outside/new'],
    ['home/a/inner', 'b'],
    ['home/a/abs-secret', join(root, 'outside/secret')],
    ['home/secret-link', join(root, 'elsewhere')],
    ['link-to-home', 'home'],
    ['home/a/chain', 'ssh'],
  ];
  for (const [at, to] of links) await symlink(to, join(root, at));
  clock = new FakeClock();
  guard = new PathGuard(rulesOf(), clock);
});
afterAll(() => rm(root, { recursive: true, force: true }));

const HOSTILE = process.env['LOOPSY_LONG'] === '1' ? 20_000 : 5000;

describe('the path guard', () => {
  beforeEach(({ skip }) => skip(process.platform === 'win32', 'links need rights on Windows'));

  it('gives the real path of what is open, there or to be made', async () => {
    expect(await outcome('a/file')).toBe(join(home, 'a/file'));
    expect(await outcome('~/a/file')).toBe(join(home, 'a/file'));
    expect(await outcome(join(root, 'link-to-home/a/file'))).toBe(join(home, 'a/file'));
    expect(await outcome('a/inner/new/deep.txt')).toBe(join(home, 'a/b/new/deep.txt'));
    expect(await outcome('a/self/self/inner')).toBe(join(home, 'a/b'));
    expect(await outcome('a/b/../file')).toBe(join(home, 'a/file'));
    expect(await outcome(join(root, 'tmp'))).toBe(join(root, 'tmp'));
    expect(await outcome('.sshfoo/x')).toBe(join(home, '.sshfoo/x'));
  });

  it('says of what is too long that it is', async () => {
    for (const given of ['é/'.repeat(2000), 'n'.repeat(300)])
      await expect(guard.check(given)).rejects.toThrow(/is too long for this system, or one of its names is$/);
  });

  it('takes a colon for a drive on Windows alone: elsewhere it is a character of a name', async () => {
    for (const given of ['C:/x', 'nodir:/x', 'a/b:/c:/x', ':/x']) expect(await outcome(given)).toBe(join(home, given));
  });

  it('judges what lies below a file, where nothing can be, by that file', async () => {
    expect(await outcome('a/file/x/y')).toBe(join(home, 'a/file/x/y'));
    for (const given of ['a/abs-secret/x', 'a/ssh/id/x', '.loopsy/tls/key.pem/x', 'a/file/../x', 'a/file/x/../../b'])
      expect(await outcome(given), given).toBe('path_denied');
    expect(await outcome('a/file/x', { folders: ['~/a/b'] })).toBe('path_denied');
  });

  it.each([
    ['a neighbour whose name begins the same', () => join(root, 'tmpfoo/x')],
    ['the folder above', () => root],
    ['dots that climb out', () => '../outside/secret'],
    ['dots behind a link', () => 'a/up/../outside/secret'],
    ['dots behind what is not there', () => 'nothing/../../outside/secret'],
    ['dots behind a file', () => 'a/file/../../../outside/secret'],
    ['a link that leads out', () => 'a/out/secret'],
    ['a link to a file outside', () => 'a/abs-secret'],
    ['a new file behind a link that leads out', () => 'a/out/new'],
    ['a link into nowhere, which a write would follow', () => 'a/dangling'],
    ['a link to itself', () => 'a/loop'],
    ['the root through a link', () => 'a/root/etc/passwd'],
    ['a secret folder', () => '.ssh/id'],
    ['a secret folder itself', () => '.ssh'],
    ['a secret folder through a link', () => 'a/ssh/id'],
    ['a secret folder through a chain of links', () => 'a/chain/id'],
    ['a secret folder by way of itself', () => 'a/../.ssh/../.ssh/id'],
    ['a new file in a secret folder', () => '.ssh/authorized_keys'],
    ['a secret folder that is a link', () => 'secret-link/x'],
    ['what a secret link leads to', () => join(root, 'elsewhere/x')],
    ['a secret folder that is not there yet', () => 'not-yet/x'],
    ['the node’s own data', () => '.loopsy/tls/key.pem'],
    ['the node’s own data through /proc', () => `/proc/self/root${home}/.loopsy/tls/key.pem`],
    ['another process', () => '/proc/1/environ'],
    ['an url-encoded climb', () => join(root, '..%2foutside')],
    ['a NUL', () => 'a/file\0.txt'],
    ['nothing', () => ''],
  ])('refuses %s', async (_name, given) => {
    expect(await outcome(given())).toBe('path_denied');
  });

  it('keeps the node’s data and the kernel’s files closed even where everything is open', async () => {
    const open = new PathGuard(rulesOf({ allowed: ['/'], denied: [] }), clock);
    expect(await outcome(join(root, 'outside/secret'), undefined, open)).toBe(join(root, 'outside/secret'));
    for (const given of ['.loopsy/tls/key.pem', '~/.loopsy', 'a/up/.loopsy/x', '/proc/self/environ', '/sys/kernel']) {
      expect(await outcome(given, undefined, open)).toBe('path_denied');
    }
  });

  it('opens nothing where nothing is listed, or where the listed folder is not there', async () => {
    for (const allowed of [[], [join(root, 'gone-away')], [join(root, 'home/a/dangling')]]) {
      expect(await outcome('a/file', undefined, new PathGuard(rulesOf({ allowed }), clock))).toBe('path_denied');
    }
  });

  it('holds the folders of a grant and the config’s lists, both', async () => {
    expect(await outcome('a/b/x', { folders: ['~/a/b'] })).toBe(join(home, 'a/b/x'));
    expect(await outcome('a/file', { folders: ['~/a/b'] })).toBe('path_denied');
    expect(await outcome('a/file', { folders: [] })).toBe('path_denied');
    expect(await outcome('../outside/secret', { folders: [join(root, 'outside')] })).toBe('path_denied');
    expect(await outcome('.ssh/id', { folders: ['~/.ssh'] })).toBe('path_denied');
    expect(await outcome('a/inner/x', { folders: ['~/a/inner'] })).toBe(join(home, 'a/b/x'));
  });

  it('says which key of the config to change, and nothing of what lies outside', async () => {
    await expect(guard.check('.ssh/id')).rejects.toMatchObject({
      details: { key: 'transfer.deniedPaths' },
      message: expect.stringContaining('~/.ssh'),
    });
    const hintOf = (given: string, limits?: PathLimits): Promise<unknown> =>
      guard.check(given, limits).then(String, (error: { hint?: string }) => error.hint);
    expect(await hintOf('.ssh/id')).toContain('transfer.deniedPaths in its config.yaml');
    expect(await hintOf('/etc/passwd')).toContain('transfer.allowedPaths in its config.yaml');
    expect(await hintOf('a/file', { folders: ['~/a/b'] })).toContain('loopsy peers grant');
    // Nobody can open these.
    for (const given of ['.loopsy/x', '/proc/self/environ', 'nul\0']) expect(await hintOf(given)).toBeUndefined();
    const messages = await Promise.all(
      ['secret', 'missing', 'secret/below'].map(async (name) => {
        const given = join(root, 'outside', name);
        return guard.check(given).then(String, (error: Error) => error.message.replace(JSON.stringify(given), 'it'));
      }),
    );
    expect(new Set(messages)).toEqual(new Set(['it is outside transfer.allowedPaths']));
    await symlink('/etc', join(root, 'home/a/to-etc'));
    await symlink(join(root, 'home/.ssh'), join(root, 'home/a/to-ssh'));
    const messageOf = (given: string): Promise<string> =>
      guard.check(given).then(String, (error: Error) => error.message);
    expect(await messageOf('a/to-etc/passwd')).toBe('"a/to-etc/passwd" leads by a link outside transfer.allowedPaths');
    expect(await messageOf('a/to-ssh')).toBe(
      '"a/to-ssh" leads by a link to what is denied by transfer.deniedPaths (~/.ssh)',
    );
    // No link is involved where `..` alone leads out; where a link is, `..` behind it does not hide it.
    expect(await messageOf('../outside/x')).toBe('"../outside/x" is outside transfer.allowedPaths');
    expect(await messageOf('a/../.ssh')).toBe('"a/../.ssh" is denied by transfer.deniedPaths (~/.ssh)');
    expect(await messageOf('a/to-etc/../x')).toBe('"a/to-etc/../x" leads by a link outside transfer.allowedPaths');
    expect(await messageOf('.ssh')).toBe('".ssh" is denied by transfer.deniedPaths (~/.ssh)');
    // What nobody can open is not said to have a key that opens it.
    const closed = await guard.closedBelow(await guard.check('~'));
    expect(closed?.(join(root, 'home/.loopsy/x'))).toMatchObject({ message: expect.stringContaining('never open') });
    expect(closed?.(join(root, 'home/.loopsy/x'))?.hint).toBeUndefined();
    expect(closed?.(join(root, 'home/.ssh/x'))?.hint).toContain('transfer.deniedPaths');
  });

  it(
    verifies('trust.guards', 'judges the opened object again: a link put in between does not get through'),
    async () => {
      const safe = await guard.check('a/race');
      await symlink(join(root, 'outside/secret'), safe);
      await expect(realpath(safe).then((real) => guard.recheck(real))).rejects.toMatchObject({ error: 'path_denied' });
      await rm(safe);
      await writeFile(safe, 'x');
      expect(await guard.recheck(await realpath(safe))).toBe(safe);
      await rm(safe);
    },
  );

  it('notices within a second that a closed folder became a link to elsewhere', async () => {
    const store = join(root, 'tmp/keys');
    await mkdir(store);
    expect(await outcome(join(store, 'id'))).toBe(join(store, 'id'));
    await rename(join(home, '.aws'), join(home, '.aws-old'));
    await symlink(store, join(home, '.aws'));
    expect(await readlink(join(home, '.aws'))).toBe(store);
    clock.advance(1000);
    expect(await outcome(join(store, 'id'))).toBe('path_denied');
    await rm(join(home, '.aws'));
    await rename(join(home, '.aws-old'), join(home, '.aws'));
    await rm(store, { recursive: true });
    clock.advance(1000);
  });

  it(`lets none of ${HOSTILE} hostile paths out (20,000 in test:long)`, async () => {
    const names = [
      'a',
      'b',
      'file',
      'out',
      'ssh',
      'self',
      'up',
      'root',
      'loop',
      'dangling',
      'inner',
      'chain',
      'abs-secret',
      '.ssh',
      '.loopsy',
      '.aws',
      '.sshfoo',
      'secret-link',
      'secret',
      'id',
      'new',
      'home',
      'outside',
      'tmp',
      'tmpfoo',
      'elsewhere',
      'link-to-home',
      'not-yet',
    ];
    const segment = fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...names) },
      { weight: 3, arbitrary: fc.constantFrom('..', '.', '', '~', '...', '.. ', '..%2f', '..\\', 'A', '\0') },
    );
    const start = fc.constantFrom(
      '',
      '/',
      '~/',
      './',
      `${root}/`,
      `${home}/`,
      `${home}/a/`,
      `/proc/self/root${home}/`,
      '//',
      `${root}/link-to-home/`,
    );
    const [open, closed] = [
      [home, join(root, 'tmp')],
      ['.ssh', '.aws', '.loopsy', 'not-yet'].map((name) => join(home, name)).concat(join(root, 'elsewhere')),
    ];
    const isIn = (folder: string, path: string): boolean => path === folder || path.startsWith(folder + sep);
    let admitted = 0;
    await fc.assert(
      fc.asyncProperty(start, fc.array(segment, { maxLength: 8 }), async (from, segments) => {
        const safe = await outcome(from + segments.join('/'));
        if (safe === 'path_denied') return;
        admitted += 1;
        // What the kernel says of the path that would be opened, or of the folder that a new file would be made in.
        let there = safe;
        let real: string | undefined;
        while (real === undefined) {
          real = await realpath(there).catch(() => undefined);
          if (real === undefined) there = there.slice(0, there.lastIndexOf('/'));
        }
        expect(real).toBe(there);
        expect(open.some((folder) => isIn(folder, safe))).toBe(true);
        expect(closed.some((folder) => isIn(folder, safe) || isIn(folder, real))).toBe(false);
        expect(safe).not.toMatch(/(^|\/)\.{1,2}(\/|$)|\0/);
      }),
      { numRuns: HOSTILE },
    );
    expect(admitted).toBeGreaterThan(500);
  });
});

/** A file system that holds what it is told, and takes every spelling of a name for the same one. */
const windowsFiles = (folders: readonly string[]): PathFiles => {
  const find = (path: string): string => {
    const found = folders.find((folder) => folder.toLowerCase() === path.toLowerCase());
    if (found === undefined) throw Object.assign(new Error('not there'), { code: 'ENOENT' });
    return found;
  };
  return {
    realpath: async (path) => find(path),
    lstat: async (path) => find(path),
    stat: async (path) => ({ dev: 1, ino: folders.indexOf(find(path)) }),
  };
};

describe('the path guard on Windows', () => {
  const folders = [
    'C:\\',
    'C:\\Users',
    'C:\\Users\\mia',
    'C:\\Users\\mia\\.ssh',
    'C:\\Users\\mia\\.loopsy',
    'C:\\Users\\mia\\Work',
  ];
  const windows = new PathGuard(
    {
      platform: 'win32',
      home: 'C:\\Users\\mia',
      allowed: ['~'],
      denied: ['~/.ssh', '~/AppData/Roaming/x'],
      alwaysDenied: ['/c/Users/mia/.loopsy'],
    },
    new FakeClock(),
    windowsFiles(folders),
  );

  it.each([
    ['work\\x.txt', 'C:\\Users\\mia\\Work\\x.txt'],
    ['/c/users/MIA/Work', 'C:\\Users\\mia\\Work'],
    ['c:/Users/mia/new/deep', 'C:\\Users\\mia\\new\\deep'],
  ])('gives the real path of %s', async (given, real) => {
    expect(await outcome(given, undefined, windows)).toBe(real);
  });

  it.each([
    '.SSH\\id',
    '.ſſh\\id',
    '.ssh.\\id',
    '.ssh::$INDEX_ALLOCATION\\id',
    'Work\\..\\.Ssh\\id',
    '~\\.LOOPSY\\tls',
    'appdata\\ROAMING\\X\\y',
    'C:\\Windows\\x',
    'C:\\Users\\mia2\\x',
    'D:\\x',
    '\\\\localhost\\C$\\Users\\mia\\Work',
    '\\\\?\\C:\\Users\\mia\\Work',
    'C:Work',
    'nul',
    'Work\\COM1.txt',
  ])('refuses %s', async (given) => {
    expect(await outcome(given, undefined, windows)).toBe('path_denied');
  });
});

describe('the path guard on a Mac', () => {
  it('closes a folder in every spelling, and opens none that the file system tells apart', async () => {
    const folders = ['/', '/Users', '/Users/mia', '/Users/MIA'];
    const sensitive: PathFiles = {
      realpath: async (path) => sensitive.lstat(path).then(() => path),
      lstat: async (path) => {
        if (!folders.includes(path)) throw Object.assign(new Error('not there'), { code: 'ENOENT' });
      },
      stat: async (path) => sensitive.lstat(path).then(() => ({ dev: 1, ino: folders.indexOf(path) })),
    };
    const rules: PathRules = {
      platform: 'darwin',
      home: '/Users/mia',
      allowed: ['~'],
      denied: ['~/.ssh', '~/é'],
      alwaysDenied: [],
    };
    const mac = new PathGuard(rules, new FakeClock(), sensitive);
    expect(await outcome('x', undefined, mac)).toBe('/Users/mia/x');
    for (const given of ['.SSH/id', '.ſsh/id', 'e\u0301/x', '/.vol/1/2', '/Users/MIA/x']) {
      expect(await outcome(given, undefined, mac)).toBe('path_denied');
    }
  });
});
