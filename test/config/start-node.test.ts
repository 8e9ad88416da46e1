import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { nodePaths } from '../../src/config/paths.ts';
import { findNodeProgram, startNode, type StartNodeOptions } from '../../src/config/start-node.ts';
import { bundleFixture } from '../helpers/bundle-fixture.ts';
import { FakeClock } from '../helpers/clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { errorOf } from './source.ts';

const options = async (behaviour: string, more: Partial<StartNodeOptions> = {}): Promise<StartNodeOptions> => {
  const folder = await tempFolder();
  const program = await bundleFixture('test/fixtures/pretend-node.ts', folder);
  return { dataDir: join(folder, 'data'), program, args: [behaviour, 'two words'], ...more };
};

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** The pid that the pretended node wrote to its log. */
const pidIn = async ({ dataDir }: StartNodeOptions): Promise<number> => {
  const { nodeLog } = nodePaths(dataDir);
  for (;;) {
    const pid = Number(existsSync(nodeLog) ? await readFile(nodeLog, 'utf8') : '');
    if (pid > 0) return pid;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

/** Waits until a process is gone; the test's time limit ends the wait. */
const untilDead = async (pid: number): Promise<void> => {
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
};

describe('the start of a node', () => {
  it('is over when the node says that it answers; the node lives on', async () => {
    const env = { ...process.env, NODE_OPTIONS: '', LOOPSY_API_KEY: 'k', LOOPSY_PORT: '4711' };
    const given = await options('ready', { env });
    const { url, pid } = await startNode(given);
    onTestFinished(() => void process.kill(pid));
    expect(url).toBe('http://127.0.0.1:1');
    expect(isAlive(pid)).toBe(true);
    const { nodeLog, logsDir } = nodePaths(given.dataDir);
    const seen = JSON.parse(await readFile(nodeLog, 'utf8')) as {
      args: string[];
      env: Record<string, string>;
      cwd: string;
    };
    expect(seen.args).toEqual(['two words']);
    expect(seen.cwd).toBe(homedir());
    expect(seen.env).toMatchObject({ LOOPSY_DATA_DIR: given.dataDir, LOOPSY_PORT: '4711' });
    expect(Object.keys(seen.env)).not.toContain('LOOPSY_API_KEY');
    if (process.platform !== 'win32') {
      expect((await stat(nodeLog)).mode & 0o777).toBe(0o600);
      expect((await stat(logsDir)).mode & 0o777).toBe(0o700);
    }
  });

  it('fails with the error that the node reports', async () => {
    const error = await errorOf(async () => startNode(await options('refused')));
    expect(error).toMatchObject({ error: 'conflict', message: 'port 19532 is taken by nginx', hint: 'use another' });
  });

  it('of a node that dies fails with its last lines, and not with those of an earlier one', async () => {
    const given = await options('dies');
    await mkdir(nodePaths(given.dataDir).logsDir, { recursive: true });
    await writeFile(nodePaths(given.dataDir).nodeLog, 'an old line\n');
    const error = await errorOf(() => startNode(given));
    expect(error.message).toBe('the node ended with code 3; what it said last:');
    expect(error.details?.['said']).toEqual(Array.from({ length: 10 }, (_, at) => `line ${21 + at}`));
    expect(error.hint).toContain(nodePaths(given.dataDir).nodeLog);
  });

  it('of a node that is killed says so', async ({ skip }) => {
    skip(process.platform === 'win32', 'Windows has no signals and no scripts that start by themselves');
    expect((await errorOf(async () => startNode(await options('killed')))).message).toBe('the node ended by SIGKILL');
  });

  it('of a node that never answers is given up in time, and leaves no node behind', async () => {
    const clock = new FakeClock();
    const given = await options('silent', { clock, timeoutMs: 30_000 });
    const starting = errorOf(() => startNode(given));
    const pid = await pidIn(given);
    clock.advance(30_000);
    const error = await starting;
    expect(error).toMatchObject({ error: 'request_timeout', exit: 6 });
    expect(`${error.message} ${error.hint}`).toContain('within 30000 ms');
    expect(error.hint).toContain('node.log');
    await untilDead(pid);
  });

  it('of a program that talks nonsense fails, and leaves none behind', async ({ skip }) => {
    skip(process.platform === 'win32', 'Windows has no signals and no scripts that start by themselves');
    const given = await options('nonsense');
    const error = await errorOf(() => startNode(given));
    expect(error.message).toContain('with a report that makes no sense');
    await untilDead(await pidIn(given));
  });

  it('of a program that is not there fails', async () => {
    const { dataDir } = await options('ready');
    const error = await errorOf(() => startNode({ dataDir, program: join(dataDir, 'none.js') }));
    expect(String(error.details?.['said'])).toContain('Cannot find module');
  });
});

describe('the node’s program', () => {
  it('is found from any file of the same installation', async () => {
    const dist = join(await tempFolder(), 'dist');
    await mkdir(join(dist, 'daemon'), { recursive: true });
    await writeFile(join(dist, 'daemon', 'main.js'), '');
    for (const from of ['cli/index.js', 'cli/chunks/a.js', 'chunk.js', 'mcp-server/index.js'])
      expect(findNodeProgram(join(dist, from))).toBe(join(dist, 'daemon', 'main.js'));
  });

  it('that is missing is an error that says what to do', async () => {
    const error = await errorOf(async () => findNodeProgram(join(await tempFolder(), 'cli', 'index.js')));
    expect(`${error.message} ${error.hint}`).toMatch(/daemon\/main\.js.*npm run build/);
  });
});
