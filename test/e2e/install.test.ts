import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { publint } from 'publint';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { VERSION } from '../../src/protocol/version.ts';
import { finished, freePort } from '../helpers/nodes.ts';
import { verifies } from '../requirements.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** What a clone holds that the package is made of. */
const SOURCES = [
  'src',
  'scripts',
  'package.json',
  'package-lock.json',
  '.npmrc',
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
];

/** npm of this Node, started without a shell. */
const NPM = [
  process.env['npm_execpath'] ?? '',
  join(dirname(process.execPath), '../lib/node_modules/npm/bin/npm-cli.js'),
  join(dirname(process.execPath), 'node_modules/npm/bin/npm-cli.js'),
].find((file) => file.endsWith('npm-cli.js') && existsSync(file));

/** A Node to run loopsy with: this one, or the one that `npm run test:matrix` brought. */
const nodeOf = (major: number): string | undefined => {
  if (process.version.startsWith(`v${major}.`)) return process.execPath;
  const name = process.platform === 'win32' ? 'node.exe' : 'node';
  const brought = join(ROOT, '.cache/nodes', String(major), 'node_modules/node/bin', name);
  return existsSync(brought) ? brought : undefined;
};

type Run = (cwd: string, program: string, ...args: string[]) => Promise<string>;

/** A user with a Node and nothing else: an empty home, no network for npm. Commands fail unless they end with 0. */
const makeUser = async (home: string, node = process.execPath): Promise<Run> => {
  await mkdir(home);
  const env = {
    PATH: [dirname(node), process.env['PATH']].join(delimiter),
    HOME: home,
    USERPROFILE: home,
    LOOPSY_PORT: String(await freePort()),
    npm_config_offline: 'true',
    npm_config_update_notifier: 'false',
  };
  return async (cwd, program, ...args) => {
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const { code, stdout, stderr } = await finished(child);
    if (code !== 0) throw new Error(`${[program, ...args].join(' ')} ended with ${code}: ${stdout}${stderr}`);
    return stdout;
  };
};

/** The first minutes of a new user with this command. */
const live = async (
  home: string,
  [program = '', ...before]: readonly string[],
  node = process.execPath,
): Promise<void> => {
  const run = await makeUser(home, node);
  const loopsy = (...words: string[]): Promise<string> => run(home, program, ...before, ...words);
  expect((await loopsy('--version')).trim()).toBe(VERSION);
  await loopsy('init', '--no-mcp');
  onTestFinished(async () => void (await loopsy('stop').catch(() => 'it was stopped')));
  await loopsy('start');
  expect(JSON.parse(await loopsy('status', '--json'))).toMatchObject({ version: VERSION });
  const version = (await run(home, node, '--version')).trim();
  expect(await loopsy('doctor')).toContain(`Node ${version.slice(1)}`);
  expect(await loopsy('exec', 'localhost', '--', node, '-p', '6 * 7')).toBe('42\n');
  expect(await loopsy('selftest')).toContain('checks passed');
  await loopsy('stop');
};

/** Bytes and packages below a folder, as they lie on the disk. */
const measure = async (folder: string): Promise<{ bytes: number; packages: string[] }> => {
  const found = { bytes: 0, packages: Array<string>() };
  for (const name of await readdir(folder, { recursive: true })) {
    const facts = await lstat(join(folder, name));
    if (facts.isFile()) found.bytes += facts.size;
    if (/(?:^|[\\/])node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+[\\/]package\.json$/.test(name))
      found.packages.push(name);
  }
  return found;
};

const onWindows = process.platform === 'win32';

describe('an installation by hand', () => {
  let folder = '';
  const clone = (...parts: string[]): string => join(folder, 'clone', ...parts);
  const prefix = (...parts: string[]): string => join(folder, 'prefix', ...parts);
  /** How the installed command is run. */
  const installed = (): string[] =>
    onWindows ? [process.execPath, prefix('node_modules/loopsy/dist/cli/index.js')] : [prefix('bin/loopsy')];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'loopsy-install-'));
    await mkdir(clone());
    for (const name of SOURCES) await cp(join(ROOT, name), clone(name), { recursive: true });
    // What `npm ci` would bring; whether it takes the lock file is asked without the network.
    await symlink(join(ROOT, 'node_modules'), clone('node_modules'), 'junction');
    if (NPM === undefined) return;
    const run = await makeUser(join(folder, 'builder'));
    const npm = (...words: string[]): Promise<string> => run(clone(), process.execPath, NPM, ...words);
    await npm('ci', '--dry-run');
    await npm('run', 'build');
    await npm('pack', '--pack-destination', folder);
    const tarball = (await readdir(folder)).find((name) => /^loopsy-.*\.tgz$/.test(name)) ?? 'none';
    await npm('install', '--global', '--ignore-scripts', '--prefix', prefix(), join(folder, tarball));
  }, 60_000);
  afterAll(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));

  it(verifies('install.by-hand', 'works from the sources'), async ({ skip }) => {
    if (NPM === undefined) return skip('npm is not beside this Node');
    await live(join(folder, 'home-sources'), [process.execPath, clone('dist/cli/index.js')]);
  });

  it.for([20, 22, 24])(
    verifies(['install.package', 'install.by-hand'], 'works as the package, in an empty prefix and home, on Node %i'),
    async (major, { skip }) => {
      if (NPM === undefined) return skip('npm is not beside this Node');
      const node = nodeOf(major);
      if (node === undefined) return skip(`Node ${major} is not here: \`npm run test:matrix\` brings it`);
      await live(join(folder, `home-${major}`), installed(), node);
    },
  );

  it(verifies('install.size', 'takes at most 25 MB and 5 packages, of which it says how much'), async ({ skip }) => {
    if (NPM === undefined) return skip('npm is not beside this Node');
    const { bytes, packages } = await measure(prefix());
    console.log(`installed: ${(bytes / 1e6).toFixed(1)} MB, ${packages.length} package(s)`);
    expect(packages).toHaveLength(1);
    expect(packages.length).toBeLessThanOrEqual(5);
    expect(bytes).toBeLessThanOrEqual(25e6);
  });

  it(
    verifies('repo.package', 'is what publint expects, and carries the licences of all that is in it'),
    async ({ skip }) => {
      if (NPM === undefined) return skip('npm is not beside this Node');
      const modules = prefix(onWindows ? 'node_modules' : 'lib/node_modules', 'loopsy');
      expect((await publint({ pkgDir: modules, pack: false, strict: true })).messages).toEqual([]);
      const names = (await readdir(modules, { recursive: true })).map((name) => name.replaceAll('\\', '/'));
      for (const name of ['README.md', 'LICENSE', 'CHANGELOG.md', 'dist/licenses.txt', 'dist/vendor/sqlite/LICENSE']) {
        expect(names).toContain(name);
      }
      expect(await readFile(join(modules, 'dist/licenses.txt'), 'utf8')).toMatch(
        /zod .*find-my-way|find-my-way .*zod/s,
      );
    },
  );
});
