import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { build } from 'esbuild';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { LoopsyError } from '../../src/protocol/errors.ts';
import { FRAME } from '../../src/protocol/frames.ts';
import { NO_TERMINAL, Terminal } from '../helpers/terminal.ts';
import { verifies } from '../requirements.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { FakeNode, JOB_ID, OUTCOME, STARTED, textOf, type Answering } from './fake-node.ts';

let installed = '';

beforeAll(async () => {
  installed = await mkdtemp(join(tmpdir(), 'loopsy-cli-'));
  const common = {
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    splitting: true,
    logLevel: 'error',
  } as const;
  await writeFile(join(installed, 'package.json'), '{"type":"module"}');
  await build({ ...common, entryPoints: ['src/cli/command.ts'], outbase: 'src', outdir: installed });
  await build({ ...common, entryPoints: { main: 'test/cli/fake-daemon.ts' }, outdir: join(installed, 'daemon') });
}, 30_000);

afterAll(() => rm(installed, { recursive: true, force: true }));

/** Starts the command as a process of its own. */
const start = (
  argv: readonly string[],
  dataDir: string,
  { stdio = 'pipe', env = {} }: { stdio?: StdioOptions; env?: Record<string, string> } = {},
): ChildProcess =>
  spawn(process.execPath, [join(installed, 'cli/command.js'), ...argv], {
    stdio,
    env: { PATH: process.env['PATH'], HOME: dataDir, LOOPSY_DATA_DIR: dataDir, ...env },
  });

const finish = async (child: ChildProcess) => {
  const read = (stream: ChildProcess['stdout']) => (stream === null ? '' : textOf(stream));
  const [out, err] = [read(child.stdout), read(child.stderr)];
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, stdout: await out, stderr: await err };
};

const run = (argv: readonly string[], dataDir: string, options: { env?: Record<string, string> } = {}) => {
  const child = start(argv, dataDir, options);
  child.stdin?.end();
  return finish(child);
};

describe('the process of a command', () => {
  it(verifies('cli.exec.streams', 'prints bytes exactly to a pipe and to a file'), async () => {
    const bytes = randomBytes(6_000_000);
    const node = await FakeNode.start({
      'job.stream': async ({ frames, response }) => {
        const { send, end } = frames();
        send(FRAME.started, STARTED);
        for (let at = 0; at < bytes.length; at += 100_000) {
          send(FRAME.stdout, bytes.subarray(at, at + 100_000));
          if (response.writableNeedDrain) await once(response, 'drain');
        }
        send(FRAME.exit, OUTCOME);
        end();
      },
    });
    const digest = createHash('sha256').update(bytes).digest('hex');
    const piped = start(['exec', '-n', 'maria', 'cat'], node.folder);
    const hash = createHash('sha256');
    piped.stdout?.on('data', (chunk: Buffer) => hash.update(chunk));
    expect(await once(piped, 'close')).toEqual([0, null]);
    expect(hash.digest('hex')).toBe(digest);
    const file = openSync(join(node.folder, 'out'), 'w');
    const filed = start(['exec', '-n', 'maria', 'cat'], node.folder, { stdio: ['ignore', file, 'inherit'] });
    await once(filed, 'close');
    closeSync(file);
    expect(
      createHash('sha256')
        .update(await readFile(join(node.folder, 'out')))
        .digest('hex'),
    ).toBe(digest);
  });

  it('forwards a large stdin exactly, and asks for none from the null device or a closed stdin', async () => {
    const bytes = randomBytes(3_000_000);
    let finishRun: (text: string) => void = () => undefined;
    const taken = new Promise<string>((resolve) => (finishRun = resolve));
    const node = await FakeNode.start({
      'job.stream': async ({ frames, input }: Answering) => {
        const { send, end } = frames();
        send(FRAME.started, STARTED);
        if (input['stdinStream'] === true) send(FRAME.stdout, Buffer.from(await taken));
        send(FRAME.exit, OUTCOME);
        end();
      },
      'job.stdin': async ({ request }: Answering) => {
        const hash = createHash('sha256');
        let count = 0;
        for await (const chunk of request as AsyncIterable<Buffer>) {
          hash.update(chunk);
          count += chunk.length;
        }
        finishRun(hash.digest('hex'));
        return { success: true, jobId: JOB_ID, bytes: count };
      },
    });
    const child = start(['exec', 'maria', 'sha256sum'], node.folder);
    child.stdin?.end(bytes);
    expect(await finish(child)).toMatchObject({ stdout: createHash('sha256').update(bytes).digest('hex'), stderr: '' });
    const none = start(['exec', 'maria', 'x'], node.folder, { stdio: ['ignore', 'pipe', 'pipe'] });
    expect((await finish(none)).code).toBe(0);
    expect(node.inputs('job.stream').at(-1)).not.toHaveProperty('stdinStream');
  });

  it(verifies('cli.exec.pipes', 'ends the request when its stdout is closed: `| head`'), async () => {
    let closed: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => (closed = resolve));
    const node = await FakeNode.start({
      'job.stream': async ({ frames, response }) => {
        response.once('close', closed);
        const { send } = frames();
        send(FRAME.started, STARTED);
        while (!response.closed) {
          send(FRAME.stdout, Buffer.alloc(65_536, 'y\n'));
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      },
    });
    const child = start(['exec', '-n', 'maria', 'yes'], node.folder);
    const ended = once(child, 'close');
    await once(child.stdout ?? child, 'data');
    child.stdout?.destroy();
    await gone;
    const [code, stderr] = [(await ended)[0], child.stderr?.read()];
    expect([code, stderr]).toEqual([141, null]);
  });

  it('says it in one line, about stdout alone, where that goes to a full disk', async ({ skip }) => {
    skip(process.platform !== 'linux', 'only Linux has a device that is always full');
    const node = await FakeNode.start({
      'job.stream': ({ frames }) => {
        const { send, end } = frames();
        send(FRAME.started, STARTED);
        send(FRAME.stdout, Buffer.alloc(500_000, 'y\n'));
        send(FRAME.exit, OUTCOME);
        end();
      },
    });
    for (const argv of [['--version'], ['exec', '-n', 'maria', 'yes']]) {
      const full = openSync('/dev/full', 'w');
      const child = start(argv, node.folder, { stdio: ['ignore', full, 'pipe'] });
      closeSync(full);
      const stderr = 'loopsy: stdout can not be written: the disk is full (free some space where stdout goes)\n';
      expect(await finish(child), argv[0]).toMatchObject({ code: 1, stderr });
    }
  });

  it('does not wait for a stdin that stays open, once the run has ended', async () => {
    const node = await FakeNode.start();
    const child = start(['exec', 'maria', 'true'], node.folder);
    expect(await finish(child)).toMatchObject({ code: 0, stderr: '' });
  });

  it('passes Ctrl-C on as a signal and lives to tell the end', async () => {
    let frames: ReturnType<Answering['frames']> | undefined;
    const node = await FakeNode.start({
      'job.stream': (answering) => {
        frames = answering.frames();
        frames.send(FRAME.started, STARTED);
        frames.send(FRAME.stdout, Buffer.from('up\n'));
      },
      'job.signal': () => {
        frames?.send(FRAME.stdout, Buffer.from('bye\n'));
        frames?.send(FRAME.exit, { ...OUTCOME, exitCode: 9 });
        frames?.end();
        return { success: true, jobId: JOB_ID, delivered: true };
      },
    });
    const child = start(['exec', '-n', 'maria', 'x'], node.folder);
    const ended = finish(child);
    child.stdout?.once('data', () => child.kill('SIGINT'));
    expect(await ended).toEqual({ code: 9, signal: null, stdout: 'up\nbye\n', stderr: '' });
  });
});

describe('init, start, stop and restart', () => {
  it(verifies('cli.init', 'set up, bring up and take down, and may be said twice'), async () => {
    const dataDir = join(await tempFolder(), 'data');
    const first = await run(['init', '--no-mcp'], dataDir, { env: { LOOPSY_PORT: '19600' } });
    expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining(`fingerprint  ${'3f9a '.repeat(15)}3f9a`) });
    const config = await readFile(join(dataDir, 'config.yaml'), 'utf8');
    expect(config).toContain('port: 19600');
    expect((await stat(join(dataDir, 'config.yaml'))).mode & 0o777).toBe(0o600);
    const again = await run(['init', '--json'], dataDir);
    expect(JSON.parse(again.stdout)).toMatchObject({ created: false, nodeId: 'a'.repeat(32), dataDir });
    expect(await readFile(join(dataDir, 'config.yaml'), 'utf8')).toBe(config);

    const up = await run(['start'], dataDir);
    expect(up).toMatchObject({ code: 0, stdout: expect.stringContaining('kai is up') });
    const status = JSON.parse((await run(['status', '--json'], dataDir)).stdout);
    const twice = await run(['start'], dataDir);
    expect(twice).toMatchObject({ code: 0, stdout: expect.stringContaining(`running already, as pid ${status.pid}`) });
    const restarted = JSON.parse((await run(['restart', '--json'], dataDir)).stdout);
    expect(restarted.pid).not.toBe(status.pid);
    expect(await run(['stop'], dataDir)).toMatchObject({ code: 0, stdout: `Stopped (pid ${restarted.pid}).\n` });
    expect(await hasEnded(restarted.pid)).toBe(true);
    expect(await run(['stop'], dataDir)).toMatchObject({ code: 3 });
    expect(await run(['status'], dataDir)).toMatchObject({ code: 3 });
  });

  it(verifies('cli.start-where', 'start passes --local-only on, and refuses contradictions'), async () => {
    const dataDir = await tempFolder();
    await run(['init'], dataDir);
    expect((await run(['start', '--lan', '--local-only'], dataDir)).code).toBe(2);
    expect((await run(['start', '--local-only'], dataDir)).stdout).toContain('--local-only');
    await run(['stop'], dataDir);
  });

  it(verifies('cli.start-where', 'restart and doctor --fix undo no --local-only; stop and start do'), async () => {
    const dataDir = await tempFolder();
    await run(['init'], dataDir);
    await run(['start', '--local-only'], dataDir);
    expect((await run(['restart'], dataDir)).stdout).toContain('--local-only');
    const { pid } = JSON.parse(await readFile(join(dataDir, 'node.json'), 'utf8'));
    process.kill(pid, 'SIGKILL');
    while (!(await hasEnded(pid))) await run(['--version'], dataDir);
    expect((await run(['doctor', '--fix'], dataDir)).stdout).toContain('on this machine only, as it was started');
    await run(['stop'], dataDir);
    expect((await run(['start'], dataDir)).stdout).not.toContain('--local-only');
    await run(['stop'], dataDir);
  });

  it(verifies('cli.start-foreground', 'start --foreground stays, and ends with its node on SIGTERM'), async () => {
    const dataDir = await tempFolder();
    await run(['init'], dataDir);
    const child = start(['start', '--foreground'], dataDir);
    const ended = finish(child);
    for (;;) {
      if ((await run(['status'], dataDir)).code === 0) break;
    }
    child.kill('SIGTERM');
    expect((await ended).code).toBe(0);
    expect((await run(['status'], dataDir)).code).toBe(3);
  });

  it(verifies('cli.start', 'start says what to do without a config'), async () => {
    const { code, stderr } = await run(['start'], await tempFolder());
    expect(code).toBe(1);
    expect(stderr).toContain('loopsy init');
  });

  it(verifies('cli.start', 'start shows the reason that the node gave, and exits 1'), async () => {
    const dataDir = await tempFolder();
    await run(['init'], dataDir);
    await writeFile(join(dataDir, 'behaviour'), 'broken config');
    const broken = await run(['start'], dataDir);
    expect(broken).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('config.yaml:3: there is no key "sever"'),
    });
    expect(broken.stderr).toContain('did you mean "server"?');
    expect((await run(['init'], dataDir)).stderr).toContain('there is no key "sever"');
    await writeFile(join(dataDir, 'behaviour'), 'dies');
    expect(await run(['start'], dataDir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the node ended with code 7'),
    });
  });

  it(verifies('cli.doctor', 'doctor says that the running node is another installation’s'), async () => {
    const dataDir = await tempFolder();
    await run(['init'], dataDir);
    await run(['start'], dataDir);
    expect((await run(['doctor'], dataDir)).stdout).toMatch(/✓ version: \S+, as this command/);
    await run(['stop'], dataDir);
    const other = await FakeNode.start();
    const { stdout } = await run(['doctor'], other.folder);
    expect(stdout).toContain('! version: the node runs from another installation than this command:');
  });

  it('start names who holds the port', async () => {
    const dataDir = await tempFolder();
    await run(['init'], dataDir);
    const other = await FakeNode.start();
    await writeFile(join(dataDir, 'behaviour'), `port taken ${other.port}`);
    const node = await run(['start'], dataDir);
    expect(node).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`port ${other.port} is taken by another loopsy node (aaaa`),
    });
    const here = await run(['start', '--foreground'], dataDir);
    expect(here).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`port ${other.port} is taken by another loopsy node (aaaa`),
    });
    expect(other.seen.every(({ token }) => token === undefined)).toBe(true);
    other.server.removeAllListeners('request').on('request', (_request, response) => void response.end('hello'));
    expect((await run(['start'], dataDir)).stderr).toMatch(/is taken by (another program|\S.* \(pid \d+\))/);
  });
});

/** True for a process that is gone, or that only waits to be fetched by a parent that never does. */
const hasEnded = async (pid: number): Promise<boolean> => {
  try {
    process.kill(pid, 0);
  } catch {
    return true;
  }
  return (await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')).includes(') Z ');
};

describe('the wizard of connect, on a terminal', () => {
  beforeEach(({ skip }) => {
    if (NO_TERMINAL !== undefined) skip(NO_TERMINAL);
  });

  let columns = 100;
  beforeEach(() => void (columns = 100));

  /** Types each answer when its question is on the screen. */
  const converse = async (
    argv: string,
    dataDir: string,
    dialogue: readonly (readonly [question: RegExp, answer: string])[],
  ) => {
    const env = { PATH: process.env['PATH'], HOME: dataDir, LOOPSY_DATA_DIR: dataDir };
    const terminal = new Terminal(`${process.execPath} ${join(installed, 'cli/command.js')} ${argv}`, { env, columns });
    for (const [question, answer] of dialogue) {
      await terminal.shows(question);
      terminal.type(answer);
    }
    const code = await terminal.ended();
    return { code, screen: terminal.screen };
  };

  it(
    verifies(
      'cli.connect',
      'tries addresses until one answers, shows both fingerprints and what is granted, and trusts after a yes',
    ),
    async () => {
      const node = await FakeNode.start();
      const probed = {
        nodeId: 'b'.repeat(32),
        fingerprint: '3f9a'.repeat(16),
        address: '10.0.0.7',
        port: 19532,
        ownFingerprint: '00ff'.repeat(16),
        trusted: false,
      };
      node.on('peer.probe', ({ input }) => {
        if (input['address'] === '10.0.0.6')
          throw new LoopsyError('peer_unreachable', { message: 'nobody answers at 10.0.0.6:19532' });
        return probed;
      });
      const { code, screen } = await converse('connect', node.folder, [
        [/Address of the other machine/, '10.0.0.6\r'],
        // What is typed before the question stands there again would be lost.
        [/nobody answers at[^]*Address of the other machine/, '10.0.0.7\r'],
        [/do you trust it\?/, 'y'],
      ]);
      expect(code).toBe(0);
      expect(screen).toContain('3f9a '.repeat(15));
      expect(screen).toContain('00ff '.repeat(15));
      expect(screen).toContain('may run any command as kai');
      expect(screen).toContain('is trusted here (full)');
      expect(node.inputs('peer.trust')).toEqual([
        { address: '10.0.0.7', fingerprint: '3f9a'.repeat(16), grant: 'full' },
      ]);
    },
  );

  it('asks in whole words where the terminal says that it has no columns', async () => {
    columns = 0;
    const node = await FakeNode.start();
    const { screen } = await converse('connect 192.168.1.20', node.folder, [[/do you trust it\?/, '\r']]);
    expect(screen).toContain('do you trust it?');
  });

  it('trusts nobody when the answer is the default, or the fingerprint another one', async () => {
    const node = await FakeNode.start();
    const no = await converse('connect 192.168.1.20', node.folder, [[/do you trust it\?/, '\r']]);
    expect(no.screen).toContain('Nothing was changed');
    expect(no.code).toBe(1);
    const other = await converse(`connect 192.168.1.20 --fingerprint ${'0'.repeat(64)}`, node.folder, []);
    expect(other.screen).toContain('the fingerprints differ');
    expect(other.code).toBe(5);
    expect(node.inputs('peer.trust')).toEqual([]);
  });
});
