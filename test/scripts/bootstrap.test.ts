import { spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { verifies } from '../requirements.ts';

const BOOTSTRAP = fileURLToPath(new URL('../../scripts/bootstrap.mjs', import.meta.url));

const BUILD = `
import { appendFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
appendFileSync('built.log', 'built\\n');
if (existsSync('broken')) throw new Error('a mistake in the sources');
await new Promise((resolve) => setTimeout(resolve, 300));
mkdirSync('dist', { recursive: true });
writeFileSync('dist/build.json', '{}');
`;
const NPM = `
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
appendFileSync('npm.log', process.argv.slice(2).join(' ') + '\\n');
mkdirSync('node_modules', { recursive: true });
writeFileSync('node_modules/.package-lock.json', '{}');
`;

let root = '';
const at = (...parts: string[]): string => path.join(root, ...parts);
const linesOf = async (file: string): Promise<string[]> =>
  (await readFile(at(file), 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');

const bootstrap = (...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> =>
  new Promise((resolve, reject) => {
    const env = { ...process.env, npm_execpath: at('npm.mjs.js') };
    const child = spawn(process.execPath, [at('scripts', 'bootstrap.mjs'), ...args], { cwd: root, env });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'loopsy-bootstrap-'));
  await mkdir(at('scripts'));
  await mkdir(at('src'));
  await cp(BOOTSTRAP, at('scripts', 'bootstrap.mjs'));
  await writeFile(at('scripts', 'build.mjs'), BUILD);
  await writeFile(at('npm.mjs.js'), NPM);
  await writeFile(at('package.json'), '{ "type": "module" }');
  await writeFile(at('package-lock.json'), '{}');
  await writeFile(at('src', 'a.ts'), 'export const a = 1;');
  await writeFile(at('say.mjs'), 'console.log(process.argv.slice(2).join(" ")); process.exitCode = 7;');
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe('the bootstrap', () => {
  it(
    verifies('install.test', 'installs and builds on a fresh clone, then runs what it was asked and ends as that ends'),
    async () => {
      const first = await bootstrap('say.mjs', 'a', '--', 'b');
      expect(first).toMatchObject({ code: 7, stdout: 'a -- b\n' });
      expect(await linesOf('npm.log')).toEqual(['ci --ignore-scripts --no-audit --no-fund']);
      expect(await linesOf('built.log')).toHaveLength(1);
    },
  );

  it('is quiet where there is nothing to do', async () => {
    await bootstrap();
    expect(await bootstrap('say.mjs', 'again')).toEqual({ code: 7, stdout: 'again\n', stderr: '' });
    expect(await linesOf('npm.log')).toHaveLength(1);
    expect(await linesOf('built.log')).toHaveLength(1);
  });

  it('builds anew when a source changed, and installs when the lock file changed', async () => {
    await bootstrap();
    await writeFile(at('src', 'b.ts'), 'export const b = 2;');
    await bootstrap();
    expect(await linesOf('built.log')).toHaveLength(2);
    expect(await linesOf('npm.log')).toHaveLength(1);
    await writeFile(at('package-lock.json'), '{ "lockfileVersion": 3 }');
    await utimes(at('package-lock.json'), Date.now() / 1000 + 5, Date.now() / 1000 + 5);
    await bootstrap();
    expect(await linesOf('npm.log')).toHaveLength(2);
  });

  it('takes an install by hand for what it is', async () => {
    await mkdir(at('node_modules'));
    await writeFile(at('node_modules', '.package-lock.json'), '{}');
    await bootstrap();
    expect(await linesOf('npm.log')).toEqual([]);
  });

  it('installs and builds once where two begin at once', async () => {
    const both = await Promise.all([bootstrap('say.mjs', '1'), bootstrap('say.mjs', '2')]);
    expect(both.map(({ code }) => code)).toEqual([7, 7]);
    expect(await linesOf('npm.log')).toHaveLength(1);
    expect(await linesOf('built.log')).toHaveLength(1);
  });

  it('takes over from one that died', async () => {
    await mkdir(at('.cache'));
    await writeFile(at('.cache', 'bootstrap.lock'), '2147483646');
    await utimes(at('.cache', 'bootstrap.lock'), 1, 1);
    expect((await bootstrap('say.mjs', 'x')).stdout).toBe('x\n');
  });

  it('runs nothing where the build fails, says why, and leaves no lock', async () => {
    await writeFile(at('broken'), '');
    const { code, stdout, stderr } = await bootstrap('say.mjs', 'x');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('a mistake in the sources');
    await rm(at('broken'));
    expect((await bootstrap('say.mjs', 'x')).stdout).toBe('x\n');
  });
});
