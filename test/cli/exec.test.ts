import { setImmediate } from 'node:timers/promises';
import { PassThrough } from 'node:stream';

import { describe, expect, it } from 'vitest';

import { exitCodeOf } from '../../src/cli/run-stream.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';
import { FRAME } from '../../src/protocol/frames.ts';
import { jobEventSchema } from '../../src/protocol/jobs.ts';
import { verifies } from '../requirements.ts';
import { FakeClock } from '../helpers/clock.ts';
import { FakeNode, JOB_ID, OUTCOME, STARTED, textOf, type Answering } from './fake-node.ts';
import { runCli } from './run-cli.ts';

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await setImmediate();
};

/** A run that prints `pieces` and ends with `outcome`. */
const run =
  (pieces: readonly (readonly [type: number, payload: unknown])[], outcome: object = {}) =>
  ({ frames }: Answering): void => {
    const { send, end } = frames();
    send(FRAME.started, STARTED);
    for (const [type, payload] of pieces) send(type, payload);
    send(FRAME.exit, { ...OUTCOME, ...outcome });
    end();
  };

describe('exec', () => {
  it('asks for just what was typed', async () => {
    const node = await FakeNode.start();
    const exec = (...argv: string[]) => runCli(['exec', ...argv], { dataDir: node.folder });
    await exec('maria', 'ls', '-la', '/x');
    await exec('--cwd', '/x', 'maria', '--env', 'A=b=c', '--timeout', '30s', '--', '-weird');
    await exec('--timeout', '1500', 'localhost', 'true');
    await exec('maria', '--shell', 'ls', '*.log', '|', 'wc');
    expect(node.inputs('job.stream')).toEqual([
      { command: 'ls', args: ['-la', '/x'] },
      { command: '-weird', args: [], cwd: '/x', env: { A: 'b=c' }, timeout: 30_000 },
      { command: 'true', args: [], timeout: 1500 },
      { command: 'ls *.log | wc', shell: true },
    ]);
    expect(node.seen.filter(({ id }) => id === 'job.stream').map(({ peer }) => peer)).toEqual([
      'maria',
      'maria',
      undefined,
      'maria',
    ]);
  });

  it('keeps stdout and stderr apart, byte for byte', async () => {
    const node = await FakeNode.start({
      'job.stream': run([
        [FRAME.stdout, Buffer.from('out\n')],
        [FRAME.stderr, Buffer.from('err\n')],
        [FRAME.heartbeat, Buffer.alloc(0)],
        [FRAME.stdout, Buffer.from('more')],
      ]),
    });
    expect(await runCli(['exec', 'maria', 'x'], { dataDir: node.folder })).toEqual({
      code: 0,
      stdout: 'out\nmore',
      stderr: 'err\n',
    });
  });

  it.each([
    [{ exitCode: 7 }, 7],
    [{ exitCode: 1 }, 1],
    [{ exitCode: null, signal: 'SIGINT' }, 130],
    [{ exitCode: null, signal: 'SIGKILL' }, 137],
  ])(verifies('cli.exec.exit-code', 'returns the exit code of the run as it is: %j → %d'), async (outcome, code) => {
    const node = await FakeNode.start({ 'job.stream': run([], outcome) });
    expect(await runCli(['exec', 'maria', 'x'], { dataDir: node.folder })).toEqual({ code, stdout: '', stderr: '' });
  });

  it('says in one line that output of what the command left behind was cut; not with --quiet', async () => {
    const node = await FakeNode.start({ 'job.stream': run([], { exitCode: 3, outputCut: true }) });
    const ended = await runCli(['exec', 'maria', 'x'], { dataDir: node.folder });
    expect(ended).toMatchObject({ code: 3, stdout: '' });
    expect(ended.stderr).toMatch(/^loopsy: processes that the command left behind .* cut .*\n$/);
    const quiet = await runCli(['exec', '--quiet', 'maria', 'x'], { dataDir: node.folder });
    expect(quiet).toEqual({ code: 3, stdout: '', stderr: '' });
  });

  it.each([
    ['timeout', 6, 'timed out'],
    ['cancel', 2, 'cancelled'],
    ['shutdown', 5, 'its node stopped'],
    ['client-gone', 5, 'connection to it was lost'],
    ['lost', 5, 'not known'],
  ])(
    verifies('cli.exec.own-endings', 'says in one line that loopsy ended the run: %s → %d'),
    async (endedBy, code, text) => {
      const node = await FakeNode.start({
        'job.stream': run([], { exitCode: null, signal: 'SIGKILL', killed: true, endedBy }),
      });
      const ended = await runCli(['exec', 'maria', 'x'], { dataDir: node.folder });
      expect(ended).toMatchObject({ code, stdout: '' });
      expect(ended.stderr).toMatch(new RegExp(`^loopsy: .*${text}.*\n$`));
    },
  );

  it.each([
    ['peer_not_found', 2],
    ['command_denied', 4],
    ['execution_failed', 2],
    ['peer_offline', 5],
    ['outcome_unknown', 5],
  ] as const)('says a failure of its own in one line, never with exit code 1: %s → %d', async (name, code) => {
    const node = await FakeNode.start({
      'job.stream': () => {
        throw new LoopsyError(name, { message: 'first\nsecond' });
      },
    });
    const failed = await runCli(['exec', 'maria', 'x'], { dataDir: node.folder });
    expect(failed).toMatchObject({ code, stdout: '' });
    expect(failed.stderr).toMatch(/^loopsy: [^\n]+\n$/);
    const json = await runCli(['exec', '--json', 'maria', 'x'], { dataDir: node.folder });
    expect(json).toMatchObject({ code, stderr: '' });
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { name } });
  });

  it('prints an error in the midst of a stream in the same way', async () => {
    const node = await FakeNode.start({
      'job.stream': ({ frames }) => {
        const { send, end } = frames();
        send(FRAME.started, STARTED);
        send(FRAME.error, new LoopsyError('revoked').toBody());
        end();
      },
    });
    expect(await runCli(['exec', 'maria', 'x'], { dataDir: node.folder })).toMatchObject({
      code: 4,
      stderr: expect.stringMatching(/^loopsy: .*revoked/),
    });
  });

  it('prints each event as one line of JSON', async () => {
    const event = (type: string, data: unknown) => ({ type, data, jobId: JOB_ID, timestamp: 1 });
    const events = [event('started', STARTED), event('stdout', 'hé\n'), event('exit', { ...OUTCOME, exitCode: 3 })];
    const node = await FakeNode.start({
      'job.stream': ({ response, headers }) => {
        expect(headers.accept).toBe('text/event-stream');
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(`: hello\n\n${events.map((one, at) => `id: ${at}\ndata: ${JSON.stringify(one)}\n\n`).join('')}`);
      },
    });
    const { code, stdout } = await runCli(['exec', '--json', 'maria', 'x'], { dataDir: node.folder });
    expect(code).toBe(3);
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => jobEventSchema.parse(JSON.parse(line))),
    ).toEqual(events);
  });

  it('says what it waits for on a terminal, unless it shall be quiet', async () => {
    const queued = ({ frames }: Answering): void => {
      const { send, end } = frames();
      send(FRAME.started, { ...STARTED, state: 'queued' });
      send(FRAME.gap, { from: 0, to: 5_000_000 });
      send(FRAME.exit, OUTCOME);
      end();
    };
    const node = await FakeNode.start({ 'job.stream': queued });
    const shown = await runCli(['exec', 'maria', 'x'], { dataDir: node.folder, tty: true });
    expect(shown.stderr).toContain('waits in the queue of maria');
    expect(shown.stderr).toContain('5.0 MB of older output');
    expect((await runCli(['exec', '--quiet', 'maria', 'x'], { dataDir: node.folder, tty: true })).stderr).toBe('');
  });

  it('goes on where a stream was cut, without a gap and without a repetition', async () => {
    const node = await FakeNode.start({
      'job.stream': async ({ frames }) => {
        const { send, cut } = frames();
        send(FRAME.started, STARTED);
        send(FRAME.stdout, Buffer.from('first '));
        await setImmediate();
        setTimeout(cut, 50);
      },
      'job.output': ({ frames, input }) => {
        const { send, end } = frames();
        send(FRAME.started, STARTED);
        send(FRAME.stdout, Buffer.from('first second'.slice(Number(input['since']))));
        send(FRAME.exit, { ...OUTCOME, exitCode: 4 });
        end();
      },
    });
    expect(await runCli(['exec', 'maria', 'x'], { dataDir: node.folder })).toEqual({
      code: 4,
      stdout: 'first second',
      stderr: '',
    });
    expect(node.inputs('job.output')).toEqual([{ jobId: JOB_ID, since: 6 }]);
  });
});

describe('the stdin of exec', () => {
  /** A run that ends when its stdin has ended, and prints it. */
  const cat = () => {
    let finish: (text: string) => void = () => undefined;
    const typed = new Promise<string>((resolve) => (finish = resolve));
    return {
      'job.stream': async ({ frames, input }: Answering) => {
        const { send, end } = frames();
        send(FRAME.started, STARTED);
        if (input['stdinStream'] === true) send(FRAME.stdout, Buffer.from(await typed));
        send(FRAME.exit, OUTCOME);
        end();
      },
      'job.stdin': async ({ request }: Answering) => {
        const text = await textOf(request);
        finish(text);
        return { success: true, jobId: JOB_ID, bytes: text.length };
      },
    };
  };

  it('is forwarded through a connection of its own', async () => {
    const node = await FakeNode.start(cat());
    expect(await runCli(['exec', 'maria', 'cat'], { dataDir: node.folder, stdin: 'typed' })).toMatchObject({
      code: 0,
      stdout: 'typed',
    });
    const [stream, stdin] = ['job.stream', 'job.stdin'].map((id) => node.seen.find((seen) => seen.id === id));
    expect(stdin).toMatchObject({ peer: 'maria', input: { jobId: JOB_ID } });
    expect(stdin?.connection).not.toBe(stream?.connection);
  });

  it('closes the remote stdin at its end', async () => {
    const stdin = new PassThrough();
    const node = await FakeNode.start(cat());
    const running = runCli(['exec', 'maria', 'cat'], { dataDir: node.folder, stdin });
    await until(() => node.inputs('job.stream').length > 0);
    stdin.write('one ');
    await until(() => node.inputs('job.stdin').length > 0);
    stdin.end('two');
    expect(await running).toMatchObject({ code: 0, stdout: 'one two' });
  });

  it(
    verifies('cli.exec.pipes', 'is left alone with -n, and not asked for where it is empty or not there'),
    async () => {
      const node = await FakeNode.start(cat());
      const untouched = new PassThrough().end('for the loop');
      await runCli(['exec', '-n', 'maria', 'x'], { dataDir: node.folder, stdin: untouched });
      expect(untouched.read()?.toString()).toBe('for the loop');
      await runCli(['exec', 'maria', 'x'], { dataDir: node.folder });
      await runCli(['exec', 'maria', 'x'], { dataDir: node.folder, stdin: '' });
      expect(node.inputs('job.stream').map((input) => input['stdinStream'])).toEqual([undefined, undefined, undefined]);
      expect(node.inputs('job.stdin')).toEqual([]);
    },
  );

  it('is opened before the node gives it up, where nothing is typed for long', async () => {
    const clock = new FakeClock();
    const stdin = new PassThrough();
    const node = await FakeNode.start(cat());
    const running = runCli(['exec', 'maria', 'cat'], { dataDir: node.folder, stdin, clock });
    await until(() => node.inputs('job.stream').length > 0 && clock.waiting > 0);
    clock.advance(10_000);
    await until(() => node.inputs('job.stdin').length > 0);
    stdin.end('late');
    expect(await running).toMatchObject({ stdout: 'late' });
  });

  it('does not hold the command when the run ends first, nor complain when the run closes it', async () => {
    const node = await FakeNode.start({
      'job.stream': async ({ frames }) => {
        const { send, end } = frames();
        send(FRAME.started, STARTED);
        await until(() => node.inputs('job.stdin').length > 0);
        send(FRAME.exit, OUTCOME);
        end();
      },
      'job.stdin': () => {
        throw new LoopsyError('conflict');
      },
    });
    const stdin = new PassThrough();
    stdin.write('never ended');
    expect(await runCli(['exec', 'maria', 'head'], { dataDir: node.folder, stdin })).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
  });
});

describe('Ctrl-C', () => {
  const hanging = (onSignal: (frames: ReturnType<Answering['frames']>) => void) => {
    let frames: ReturnType<Answering['frames']> | undefined;
    return {
      'job.stream': (answering: Answering) => {
        frames = answering.frames();
        frames.send(FRAME.started, STARTED);
        frames.send(FRAME.stdout, Buffer.from('up'));
      },
      'job.signal': () => {
        if (frames !== undefined) onSignal(frames);
        return { success: true, jobId: JOB_ID, delivered: true };
      },
      'job.cancel': () => {
        frames?.send(FRAME.exit, { ...OUTCOME, exitCode: null, signal: 'SIGKILL', killed: true, endedBy: 'cancel' });
        frames?.end();
        return { success: true, jobId: JOB_ID, state: 'cancelled' };
      },
    };
  };

  it(verifies('cli.exec.ctrl-c', 'reaches the remote process group, and its answer is the exit code'), async () => {
    const node = await FakeNode.start(
      hanging(({ send, end }) => {
        send(FRAME.exit, { ...OUTCOME, exitCode: null, signal: 'SIGINT' });
        end();
      }),
    );
    const ended = await runCli(['exec', 'maria', 'sleep', '60'], {
      dataDir: node.folder,
      onReady: (signal, output) => void until(() => output() === 'up').then(() => signal('SIGINT')),
    });
    expect(ended).toEqual({ code: 130, stdout: 'up', stderr: '' });
    expect(node.seen.find(({ id }) => id === 'job.signal')).toMatchObject({
      peer: 'maria',
      input: { jobId: JOB_ID, signal: 'SIGINT' },
    });
  });

  it(verifies('cli.exec.ctrl-c', 'twice ends the whole tree'), async () => {
    const node = await FakeNode.start(hanging(() => undefined));
    const ended = await runCli(['exec', 'maria', 'sleep', '60'], {
      dataDir: node.folder,
      onReady: (signal, output) =>
        void (async () => {
          await until(() => output() === 'up');
          signal('SIGINT');
          await until(() => node.inputs('job.signal').length > 0);
          signal('SIGINT');
        })(),
    });
    expect(ended).toMatchObject({ code: 2, stderr: expect.stringMatching(/^loopsy: .*cancelled/) });
    expect(node.inputs('job.cancel')).toEqual([{ jobId: JOB_ID }]);
  });

  it('ends this command at once where the run has not begun, and on SIGTERM', async () => {
    const node = await FakeNode.start({ 'job.stream': () => new Promise(() => undefined) });
    const onReady = (name: 'SIGINT' | 'SIGTERM') => (signal: (name: 'SIGINT' | 'SIGTERM') => void) =>
      void until(() => node.inputs('job.stream').length > 0).then(() => signal(name));
    expect(await runCli(['exec', 'maria', 'x'], { dataDir: node.folder, onReady: onReady('SIGINT') })).toEqual({
      code: 130,
      stdout: '',
      stderr: '',
    });
    const other = await FakeNode.start(hanging(() => undefined));
    const ended = await runCli(['exec', 'maria', 'x'], {
      dataDir: other.folder,
      onReady: (signal, output) => void until(() => output() === 'up').then(() => signal('SIGTERM')),
    });
    expect(ended).toMatchObject({ code: 143, stderr: '' });
  });
});

describe('jobs attach', () => {
  it("prints a run's output from the start and exits as the run did", async () => {
    const node = await FakeNode.start();
    expect(await runCli(['jobs', 'attach', JOB_ID], { dataDir: node.folder })).toEqual({
      code: 2,
      stdout: 'old output\n',
      stderr: '',
    });
    await runCli(['jobs', 'attach', JOB_ID, '--since', '4', '--peer', 'maria'], { dataDir: node.folder });
    expect(node.seen.filter(({ id }) => id === 'job.output')).toMatchObject([
      { input: { since: 0 } },
      { input: { since: 4 }, peer: 'maria' },
    ]);
  });
});

describe('the exit code of a run on another system', () => {
  it('never turns a failure into success', () => {
    expect(exitCodeOf({ exitCode: 256 }, 'linux')).toBe(1);
    expect(exitCodeOf({ exitCode: 3_221_225_786 }, 'linux')).toBe(58);
    expect(exitCodeOf({ exitCode: -1 }, 'darwin')).toBe(255);
    expect(exitCodeOf({ exitCode: 3_221_225_786 }, 'win32')).toBe(3_221_225_786);
    expect(exitCodeOf({ exitCode: null, signal: 'SIGWHAT' }, 'linux')).toBe(137);
  });
});
