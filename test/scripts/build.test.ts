import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SOURCES = {
  'tsconfig.json': '{}',
  'package.json': '{ "type": "module", "version": "1.2.3", "devDependencies": { "@photostructure/sqlite": "1" } }',
  'scripts/vendor-sqlite.mjs':
    "import { mkdir, writeFile } from 'node:fs/promises';\nexport const vendorSqlite = async (dir) => { await mkdir(dir, { recursive: true }); await writeFile(`${dir}/engine`, ''); };\n",
  'src/protocol/version.ts': "export const VERSION = '1.2.3';\n",
  'src/client/routes.ts': "import { z } from 'zod';\nexport const ROUTES = { 'job.get': z.string().parse('/jobs') };\n",
  'src/cli/command.ts':
    "import { basename } from 'node:path';\nimport { ROUTES } from '../client/routes.ts';\nvoid import('./lazy.ts').then(({ word }) => console.log(ROUTES['job.get'], basename(word)));\n",
  'src/cli/lazy.ts': "export const word = 'first';\n",
  'src/daemon/supervisor/main.ts': "console.log('supervisor');\n",
  'src/daemon/transfers/disk/main.ts': "console.log('disk');\n",
  'src/daemon/main.ts':
    "import route from 'find-my-way';\nconst main = async () => {\n  const { fork } = await import('cross-spawn').then(() => import('node:cluster'));\n  const { sync } = await import('cross-spawn');\n  console.log(typeof route, typeof fork, typeof sync);\n};\nvoid main();\n",
};

let root = '';
const at = (...parts: string[]): string => path.join(root, ...parts);
const write = async (file: string, text: string): Promise<void> => {
  await mkdir(path.dirname(at(file)), { recursive: true });
  await writeFile(at(file), text);
};
const node = (...args: string[]): Promise<{ failed: boolean; output: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: root }, (error, stdout, stderr) =>
      resolve({ failed: error !== null, output: `${stdout}${stderr}` }),
    );
  });
const build = (...args: string[]): Promise<{ failed: boolean; output: string }> => node('scripts/build.mjs', ...args);
const lazyFiles = async (): Promise<string[]> =>
  (await readdir(at('dist', 'cli'))).filter((name) => name.startsWith('lazy-'));

const commandFile = async (): Promise<string> =>
  (await readdir(at('dist', 'cli'))).find((name) => /^command-.*\.js$/.test(name)) ?? 'none';

beforeEach(async () => {
  // Inside the repository, so that the packages are found.
  await mkdir(path.join(ROOT, '.cache'), { recursive: true });
  root = await mkdtemp(path.join(ROOT, '.cache', 'build-test-'));
  for (const [file, text] of Object.entries(SOURCES)) await write(file, text);
  for (const file of [
    'scripts/build.mjs',
    'scripts/lib/built-files.mjs',
    'src/cli/index.ts',
    'src/daemon/index.ts',
    'src/config/node-flags.ts',
    'src/kernel/built-files.ts',
    'src/kernel/bytecode.ts',
  ]) {
    await cp(path.join(ROOT, file), at(file));
  }
  await write('node_modules/.keep', '');
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe('the build', () => {
  it('bundles the command and the node, with the routes as data', async () => {
    expect(await build()).toMatchObject({ failed: false });
    expect(await node('dist/cli/index.js')).toEqual({ failed: false, output: '/jobs first\n' });
    const loader = await readFile(at('dist', 'cli', 'index.js'), 'utf8');
    expect(loader.startsWith('#!/usr/bin/env node\n')).toBe(true);
    // Each further module of Node's costs every command a part of its start.
    expect([...loader.matchAll(/require\("([^"]+)"\)/g)].map(([, name]) => name)).toEqual([
      'node:fs',
      'node:path',
      'node:vm',
    ]);
    expect(await readFile(at('dist', 'cli', await commandFile()), 'utf8')).toContain('={"job.get":"/jobs"}');
    expect(JSON.parse(await readFile(at('dist', 'build.json'), 'utf8'))).toMatchObject({ version: '1.2.3' });
  });

  it('makes bytecode of the command that this Node takes, and runs without it too', async () => {
    await build();
    const name = await commandFile();
    const cache = at('dist', 'cli', `${name}.${process.version}-${process.platform}-${process.arch}.cache`);
    const made = await readFile(cache);
    const source = await readFile(at('dist', 'cli', name), 'utf8');
    expect(new Script(source, { cachedData: made }).cachedDataRejected).toBe(false);
    for (const content of [made.subarray(0, 100), Buffer.from('nonsense'), Buffer.alloc(0)]) {
      await writeFile(cache, content);
      expect(await node('dist/cli/index.js')).toEqual({ failed: false, output: '/jobs first\n' });
    }
    await rm(cache);
    expect(await node('dist/cli/index.js')).toEqual({ failed: false, output: '/jobs first\n' });
  });

  it('gives each version of the command files of its own, so that no bytecode meets the code of another', async () => {
    await build();
    const before = await commandFile();
    await write('src/client/routes.ts', "export const ROUTES = { 'job.get': '/runs' };\n");
    await build('--clean');
    expect(await commandFile()).not.toBe(before);
    expect((await node('dist/cli/index.js')).output).toBe('/runs first\n');
  });

  it('gives lazily loaded CommonJS packages their names, as Node does', async () => {
    await build();
    expect(await node('dist/daemon/main.js')).toEqual({ failed: false, output: 'function function function\n' });
  });

  it('leaves the chunks of the build before it to nodes that run, and drops them in a week', async () => {
    await build();
    const [old = ''] = await lazyFiles();
    await write('src/cli/lazy.ts', "export const word = 'second';\n");
    await build();
    expect(await lazyFiles()).toHaveLength(2);
    expect((await node('dist/cli/index.js')).output).toBe('/jobs second\n');
    await utimes(at('dist', 'cli', old), 1, 1);
    await build();
    expect(await lazyFiles()).not.toContain(old);
  });

  it('leaves nothing of earlier builds in the package, and no bytecode', async () => {
    await build();
    const [old = ''] = await lazyFiles();
    await write('src/cli/lazy.ts', "export const word = 'second';\n");
    await build();
    const lines = (await readFile(at('dist', '.npmignore'), 'utf8')).split('\n');
    expect(lines).toEqual(expect.arrayContaining(['/cli/*', '/vendor/*', '!/cli/index.js', '!/vendor/sqlite']));
    const [fresh = ''] = (await lazyFiles()).filter((name) => name !== old);
    expect(lines).toContain(`!/cli/${fresh}`);
    expect(lines.filter((line) => line.includes(old) || line.includes('.cache'))).toEqual([]);
    await build('--clean');
    expect(await lazyFiles()).toHaveLength(1);
  });

  it('fails where the versions differ, and keeps what was built', async () => {
    await build();
    await write('src/protocol/version.ts', "export const VERSION = '1.2.4';\n");
    expect((await build()).output).toContain('package.json says 1.2.3, src/protocol/version.ts 1.2.4');
    expect((await node('dist/cli/index.js')).output).toBe('/jobs first\n');
  });

  it('fails where the command would load schemas', async () => {
    await write('src/cli/lazy.ts', "import { z } from 'zod';\nexport const word = z.string().parse('x');\n");
    expect((await build()).output).toContain('must not load zod');
  });

  it('fails where the routes can not be computed', async () => {
    await write('src/client/routes.ts', "export const ROUTES = {};\nthrow new Error('no table');\n");
    expect((await build()).output).toContain('no table');
  });
});
