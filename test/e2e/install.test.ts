import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, symlink } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it, onTestFinished } from 'vitest';

import { VERSION } from '../../src/protocol/version.ts';
import { finished, freePort } from '../helpers/nodes.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
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

type Run = (cwd: string, program: string, ...args: string[]) => Promise<string>;

/** A user with Node and nothing else: an empty home, no network for npm. Commands fail the test unless they end with 0. */
const makeUser = async (home: string): Promise<Run> => {
  await mkdir(home);
  const env = {
    PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter),
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
const live = async (home: string, program: string, ...before: string[]): Promise<void> => {
  const run = await makeUser(home);
  const loopsy = (...words: string[]): Promise<string> => run(home, program, ...before, ...words);
  expect((await loopsy('--version')).trim()).toBe(VERSION);
  await loopsy('init', '--no-mcp');
  onTestFinished(async () => void (await loopsy('stop').catch(() => 'it was stopped')));
  await loopsy('start');
  expect(JSON.parse(await loopsy('status', '--json'))).toMatchObject({ version: VERSION });
  expect(await loopsy('exec', 'localhost', '--', process.execPath, '-p', '6 * 7')).toBe('42\n');
  await loopsy('stop');
};

describe('an installation by hand', () => {
  it(
    verifies('install.by-hand', 'works from the sources, and as the package that is packed from them'),
    async ({ skip }) => {
      if (NPM === undefined) return skip('npm is not beside this Node');
      const folder = await tempFolder();
      const clone = join(folder, 'clone');
      await mkdir(clone);
      for (const name of SOURCES) await cp(join(ROOT, name), join(clone, name), { recursive: true });
      // What `npm ci` would bring; whether it takes the lock file is asked without the network.
      await symlink(join(ROOT, 'node_modules'), join(clone, 'node_modules'), 'junction');
      const run = await makeUser(join(folder, 'builder'));
      const npm = (...words: string[]): Promise<string> => run(clone, process.execPath, NPM, ...words);

      await npm('ci', '--dry-run');
      await npm('run', 'build');
      await live(join(folder, 'home-1'), process.execPath, join(clone, 'dist/cli/index.js'));

      await npm('pack', '--pack-destination', folder);
      const [packed = 'none'] = (await readdir(folder)).filter((name) => /^loopsy-.*\.tgz$/.test(name));
      const prefix = join(folder, 'prefix');
      await npm('install', '--global', '--prefix', prefix, join(folder, packed));
      const onWindows = process.platform === 'win32';
      const modules = join(prefix, onWindows ? 'node_modules' : 'lib/node_modules');
      // Nothing but itself came with it.
      expect(await readdir(modules)).toEqual(['loopsy']);
      expect(existsSync(join(modules, 'loopsy/node_modules'))).toBe(false);
      const installed = join(modules, 'loopsy/dist/cli/index.js');
      const command = onWindows ? [process.execPath, installed] : [join(prefix, 'bin/loopsy')];
      await live(join(folder, 'home-2'), command[0] ?? '', ...command.slice(1));
    },
  );
});
