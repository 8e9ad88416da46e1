import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { verifies } from '../requirements.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CLI = path.join(ROOT, 'dist', 'cli', 'index.js');

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });

let home = '';
let port = 0;
const node = (...args: string[]): Promise<{ failed: boolean; output: string }> =>
  new Promise((resolve) => {
    const env = {
      PATH: process.env['PATH'],
      HOME: home,
      USERPROFILE: home,
      LOOPSY_DATA_DIR: path.join(home, '.loopsy'),
      LOOPSY_PORT: String(port),
    };
    execFile(process.execPath, args, { env, cwd: home }, (error, stdout, stderr) =>
      resolve({ failed: error !== null, output: `${stdout}${stderr}` }),
    );
  });
const start = (): Promise<{ failed: boolean; output: string }> => node(path.join(ROOT, 'scripts', 'start.mjs'));
const pidOf = async (folder: string): Promise<unknown> => {
  const { output } = await node(CLI, '--data-dir', path.join(home, folder), 'status', '--json');
  const status: { pid?: unknown } = JSON.parse(output);
  return status.pid;
};

beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'loopsy-start-'));
  port = await freePort();
});
afterEach(async () => {
  for (const folder of ['.loopsy', '.loopsy-second']) await node(CLI, '--data-dir', path.join(home, folder), 'stop');
  await rm(home, { recursive: true, force: true });
});

describe('npm start', () => {
  it(
    verifies(
      ['install.start', 'install.start-twice'],
      'brings two nodes up that run commands, and finds them the second time',
    ),
    async () => {
      const first = await start();
      expect(first.output).toContain('hello from process');
      expect(first.output).toMatch(/All \d+ checks passed/);
      expect(first.output).toContain('Stop:');
      expect(first.failed, first.output).toBe(false);
      const pids = [await pidOf('.loopsy'), await pidOf('.loopsy-second')];
      expect(pids.every((pid) => typeof pid === 'number')).toBe(true);
      const second = await start();
      expect(second.output.match(/was running/g)).toHaveLength(2);
      expect(second.failed, second.output).toBe(false);
      expect([await pidOf('.loopsy'), await pidOf('.loopsy-second')]).toEqual(pids);
      expect((await readdir(home)).toSorted()).toEqual(['.loopsy', '.loopsy-second']);
    },
  );
});
