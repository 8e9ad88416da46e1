import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { connectMachines, freePort, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { WineMachine } from '../helpers/wine.ts';
import { verifies } from '../requirements.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';

interface Status {
  readonly platform: string;
  readonly dataDir: string;
  readonly port: number;
  readonly pid: number;
  readonly fingerprint: string;
}

/** Wine is a cheap check of the ways of Windows, not a proof. What it lacks itself is said where it matters. */
describe('the built command and its node, as Windows has them under Wine', () => {
  let made: WineMachine | string = 'not made yet';
  let windows: WineMachine;
  let port: number;
  let status: Status;

  beforeAll(async () => {
    port = await freePort();
    made = await WineMachine.create();
    if (typeof made !== 'string') windows = made;
  }, 150_000);

  beforeEach(({ skip }) => {
    if (typeof made === 'string') skip(made);
  });

  afterAll(async () => {
    if (typeof made !== 'string') await made.remove();
  }, 30_000);

  /** Runs a command on the node itself. */
  const exec = (...words: string[]) => windows.run(['exec', 'localhost', ...words]);

  it(
    verifies(
      ['cli.init', 'cli.start', 'cli.status', 'platform.windows-paths'],
      'init and start set a node up in the profile of the user, with a log where a path of Git Bash says',
    ),
    async () => {
      const { dataDir, config } = await windows.json<{ dataDir: string; config: string }>(['init', '--no-mcp']);
      expect(dataDir).toMatch(/^C:\\users\\[^\\]+\\\.loopsy$/i);
      expect(config).toBe(`${dataDir}\\config.yaml`);
      const server = `server:\n  port: ${port}\n  host: 127.0.0.1\n`;
      await appendFile(windows.path(config), `\n${server}logging:\n  file: /c/tools/node.log\n`);
      const started = await windows.run(['start']);
      expect(started).toMatchObject({ code: 0, stderr: '' });
      status = await windows.json<Status>(['status']);
      expect(status).toMatchObject({ platform: 'win32', dataDir, port });
      expect(await readFile(windows.path(String.raw`C:\tools\node.log`), 'utf8')).toContain('node started');
      expect((await windows.processes()).filter((line) => line.includes('daemon\\main.js'))).toHaveLength(1);
    },
  );

  it('exec gives back output, exit code, and bytes of stdin', async () => {
    expect(await exec('node', '-p', 'process.platform')).toMatchObject({ code: 0, stdout: 'win32\n', stderr: '' });
    expect(await exec('--', 'node', '-e', 'console.error("e"); process.exitCode = 7')).toMatchObject({
      code: 7,
      stdout: '',
      stderr: 'e\n',
    });
    const bytes = randomBytes(300_000);
    const script = 'process.stdin.pipe(process.stdout)';
    const echoed = await windows.run(['exec', 'localhost', '--', 'node', '-e', script], bytes);
    expect(echoed.bytes.equals(bytes)).toBe(true);
  });

  it(
    verifies(
      ['platform.windows-commands', 'platform.windows-shell'],
      'exec finds what PATHEXT says and takes no shell for it; --shell is cmd where there is no Git Bash',
    ),
    async () => {
      await writeFile(windows.path(String.raw`C:\tools\greet.cmd`), '@echo off\r\necho hello %1\r\n');
      expect(await exec('greet', 'a & echo no')).toMatchObject({ code: 0, stdout: 'hello "a & echo no"\r\n' });
      expect(await exec('echo', 'hi')).toMatchObject({ code: 2, stderr: expect.stringMatching(/not found.*--shell/) });
      expect(await exec('--shell', 'echo %OS%& exit 3')).toMatchObject({ code: 3, stdout: 'Windows_NT\r\n' });
    },
  );

  it(verifies('platform.windows-paths', 'exec takes C:\\x, C:/x, /c/x and ~ for its folder'), async () => {
    const cwd = async (folder: string) => (await exec('--cwd', folder, 'node', '-p', 'process.cwd()')).stdout.trim();
    const folder = String.raw`C:\Program Files\nodejs`;
    expect(await cwd(folder)).toBe(folder);
    expect(await cwd('C:/Program Files/nodejs')).toBe(folder);
    expect(await cwd('/c/Program Files/nodejs')).toBe(folder);
    expect(`${await cwd('~')}\\.loopsy`).toBe(status.dataDir);
    expect(await exec('--cwd', '/c/none', 'node', '-p', '1')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(String.raw`the folder C:\none is not there`),
    });
  });

  it('a run that takes too long is ended', async ({ skip }) => {
    skip(!LONG, 'takes 5 s: in test:long');
    // Wine's taskkill knows no /T and fails: what ends the main process is loopsy, and nothing but libuv its children.
    const script = 'console.log(process.pid); setTimeout(() => {}, 60000)';
    const { code, stdout } = await exec('--timeout', '3s', 'node', '-e', script);
    expect(stdout).toMatch(/^\d+\n$/);
    expect(code).toBe(6);
    const gone = await windows.node(['-e', `process.kill(${Number(stdout)}, 0)`]);
    expect(gone.stderr).toContain('ESRCH');
  });

  it(
    verifies(['jobs.detached', 'cli.restart'], 'a detached run outlives a restart, with output and exit code'),
    async ({ skip }) => {
      skip(!LONG, 'takes 10 s: in test:long');
      const script = 'console.log(1); setTimeout(() => { console.log(2); process.exitCode = 5 }, 4000)';
      const { stdout } = await exec('--detach', 'node', '-e', script);
      const restarted = await windows.run(['restart']);
      expect(restarted.code).toBe(0);
      expect((await windows.json<Status>(['status'])).pid).not.toBe(status.pid);
      expect(await windows.run(['jobs', 'attach', stdout.trim()])).toMatchObject({ code: 5, stdout: '1\n2\n' });
    },
  );

  it(
    verifies('platform.in-rows', 'it is a peer of a node of this system, both ways, over the pinned connection'),
    async ({ skip }) => {
      skip(!LONG, 'takes 5 s: in test:long');
      const here = await Machine.create('kai');
      try {
        await connectMachines(here, windows);
        const peerOf = async (machine: Pick<Machine, 'json'>) =>
          (await machine.json<{ peers: { name: string; platform?: string; status: string }[] }>(['peers'])).peers[0];
        await until(async () => (await peerOf(here))?.status === 'online', 5000);
        const there = await peerOf(here);
        expect(there?.platform).toBe('win32');
        const words = ['exec', '--cwd', '/c/tools', there?.name ?? '', 'node', '-p', 'process.cwd()'];
        expect(await here.run(words)).toMatchObject({ code: 0, stdout: 'C:\\tools\n' });
        const back = await windows.run(['exec', 'kai', '--', 'sh', '-c', 'echo out; exit 5']);
        expect(back).toMatchObject({ code: 5, stdout: 'out\n' });
      } finally {
        await here.remove();
      }
    },
  );

  it(verifies('cli.selftest', 'the self-test passes'), async ({ skip }) => {
    skip(!LONG, 'takes 10 s: in test:long');
    const { code, stdout } = await windows.run(['selftest']);
    expect(stdout).toMatch(/All \d+ checks passed/);
    expect(code).toBe(0);
  });

  it(verifies('cli.stop', 'stop ends the node, and nothing of it is left'), async () => {
    const { pid } = await windows.json<Status>(['status']);
    expect(await windows.run(['stop'])).toMatchObject({ code: 0, stdout: expect.stringContaining(`${pid}`) });
    expect((await windows.run(['status'])).code).toBe(3);
    expect(existsSync(windows.path(`${status.dataDir}\\node.json`))).toBe(false);
    await expect(fetch(`http://127.0.0.1:${port}/api/v1/health`)).rejects.toThrow();
    const gone = await windows.node(['-e', `process.kill(${pid}, 0)`]);
    expect(gone.stderr).toContain('ESRCH');
    await until(async () => !(await windows.processes()).some((line) => line.includes('main.js')), 5000);
  });
});
