import { describe, expect, it } from 'vitest';

import { FRAME } from '../../../src/protocol/frames.ts';
import { verifies } from '../../requirements.ts';
import {
  call,
  endOf,
  groupLives,
  keyCaller,
  lives,
  OWNER,
  readAll,
  readUntil,
  runProgram,
  sh,
  startJobs,
  until,
} from './setup.ts';

const pidIn = (text: string): number => Number(/\d+/.exec(text)?.[0]);

/** A zombie is there: its end has not been seen. */
const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('how a run ends', () => {
  it(verifies(['jobs.truth', 'jobs.where'], 'with its exit code, and where it ran'), async () => {
    const { jobs, home } = await startJobs();
    const result = await jobs.execute(sh('echo out; echo err >&2; exit 7'), call());
    expect(result).toMatchObject({ exitCode: 7, stdout: 'out\n', stderr: 'err\n', killed: false, endedBy: 'exit' });
    expect(result).toMatchObject({ host: 'test-host', user: 'tester', cwd: home, nodeId: 'a'.repeat(32), cursor: 8 });
    expect(result).not.toHaveProperty('signal');
  });

  it('with the signal that another process sent it', async () => {
    const { jobs } = await startJobs();
    expect(await jobs.execute(sh('kill -9 $$'), call())).toMatchObject({
      exitCode: null,
      signal: 'SIGKILL',
      killed: false,
      endedBy: 'exit',
    });
  });

  it('by its time-out, which is an outcome and no error', async () => {
    const { jobs } = await startJobs();
    const result = await jobs.execute({ ...sh('sleep 30'), timeout: 50 }, call());
    expect(result).toMatchObject({ exitCode: null, signal: 'SIGTERM', killed: true, endedBy: 'timeout' });
    expect(result.duration).toBeLessThan(2_000);
  });

  it(
    verifies('config.execution.defaultTimeout', 'by the default time-out where it names none; 0 is none'),
    async () => {
      const { jobs, settings } = await startJobs({ defaultTimeoutMs: 80 });
      expect(await jobs.execute(sh('sleep 30'), call())).toMatchObject({ endedBy: 'timeout' });
      expect(await jobs.execute({ ...sh('sleep 0.3'), timeout: 0 }, call())).toMatchObject({ endedBy: 'exit' });
      settings.defaultTimeoutMs = 10_000;
      expect(await jobs.execute(sh('sleep 0.3'), call())).toMatchObject({ endedBy: 'exit' });
    },
  );

  it('never as exit 0 where it was ended, even when it answers the signal so', async () => {
    const { jobs } = await startJobs();
    const gone = new AbortController();
    const source = await jobs.stream(runProgram('polite'), call({ signal: gone.signal }));
    await readUntil(source, /ready/);
    gone.abort('cancel');
    expect(endOf(await readAll(source))).toMatchObject({
      exitCode: null,
      signal: 'SIGTERM',
      killed: true,
      endedBy: 'cancel',
    });
  });

  it('by force where it takes no notice, 2 s after it was asked', async () => {
    const { jobs } = await startJobs();
    const gone = new AbortController();
    const source = await jobs.stream(runProgram('stubborn'), call({ signal: gone.signal }));
    await readUntil(source, /ready/);
    const asked = performance.now();
    gone.abort('cancel');
    expect(endOf(await readAll(source))).toMatchObject({ exitCode: null, signal: 'SIGKILL', endedBy: 'cancel' });
    expect(performance.now() - asked).toBeGreaterThan(1_900);
    expect(performance.now() - asked).toBeLessThan(4_000);
  });

  it.each([
    ['client-gone', 'client-gone'],
    ['cancel', 'cancel'],
    ['revoked', 'cancel'],
    ['shutdown', 'shutdown'],
  ])('with its cause: an abort for %s is %s', async (reason, endedBy) => {
    const { jobs } = await startJobs();
    const gone = new AbortController();
    const result = jobs.execute(sh('sleep 30'), call({ signal: gone.signal }));
    await until(() => jobs.counts().active === 1);
    gone.abort(reason);
    expect(await result).toMatchObject({ endedBy, killed: true, exitCode: null });
  });

  it('by the first cause; a later one changes nothing', async () => {
    const { jobs } = await startJobs();
    const gone = new AbortController();
    const source = await jobs.stream({ ...runProgram('stubborn'), timeout: 500 }, call({ signal: gone.signal }));
    await readUntil(source, /ready/);
    const ended = readAll(source);
    await until(async () => (await jobs.list({}, { kind: 'owner' })).jobs.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 700));
    gone.abort('cancel');
    expect(endOf(await ended)).toMatchObject({ endedBy: 'timeout' });
  });

  it(verifies('jobs.tree', 'with its whole tree, the deaf ones too: nothing of the group is left'), async () => {
    const { jobs } = await startJobs();
    const line = `(trap '' TERM; sleep 60) & (sleep 60 & wait) & echo $$; wait`;
    const end = async (reason: string): Promise<void> => {
      const gone = new AbortController();
      const source = await jobs.stream(sh(line), call({ signal: gone.signal }));
      const pid = pidIn(await readUntil(source, /\d+\n/));
      gone.abort(reason);
      expect(endOf(await readAll(source))).toMatchObject({ endedBy: reason });
      await until(async () => !(await groupLives(pid)));
    };
    const timeOut = async (): Promise<void> => {
      const { stdout, endedBy } = await jobs.execute({ ...sh(line), timeout: 200 }, call());
      expect(endedBy).toBe('timeout');
      // A process that was killed takes a moment to be gone on a busy machine.
      await until(async () => !(await groupLives(pidIn(stdout))));
    };
    await Promise.all([end('client-gone'), end('cancel'), end('shutdown'), timeOut()]);
  });

  it.each([
    ['bash', "bash -c 'seq 1 5 > >(sleep 1; cat)'", '1\n2\n3\n4\n5\n'],
    ['sh', '(sleep 2; echo late) & echo early', 'early\nlate\n'],
  ])('with all that processes write which it left behind (%s)', async (_shell, line, stdout) => {
    const { jobs } = await startJobs();
    const result = await jobs.execute(sh(line), call());
    expect(result).toMatchObject({ exitCode: 0, stdout, endedBy: 'exit' });
    expect(result).not.toHaveProperty('outputCut');
  });

  it('after 5 s of silence where a background program holds its pipes: that lives on, and the cut is said', async () => {
    const { jobs } = await startJobs();
    const begun = performance.now();
    const result = await jobs.execute(sh('sleep 60 & echo $!; exit 3'), call());
    expect(result).toMatchObject({ exitCode: 3, endedBy: 'exit', killed: false, outputCut: true });
    expect(performance.now() - begun).toBeGreaterThan(4_500);
    expect(performance.now() - begun).toBeLessThan(7_000);
    expect(jobs.get({ jobId: result.jobId }, { kind: 'owner' }).outputCut).toBe(true);
    expect(lives(pidIn(result.stdout))).toBe(true);
    process.kill(pidIn(result.stdout), 'SIGKILL');
  });

  it.each(['cancel', 'client-gone', 'shutdown', 'timeout'])(
    'by a %s where a background program goes on writing: that ends too, the exit code stays',
    async (cause) => {
      const { jobs } = await startJobs();
      const gone = new AbortController();
      const line = sh('(while :; do echo more; sleep 0.02; done) & echo $$; exit 0');
      const timeout = cause === 'timeout' ? 700 : 0;
      const source = await jobs.stream({ ...line, timeout }, call({ signal: gone.signal }));
      const pid = pidIn(await readUntil(source, /\d+\n/));
      const ended = readAll(source);
      await until(() => !isThere(pid));
      if (cause !== 'timeout') gone.abort(cause);
      expect(endOf(await ended)).toMatchObject({ exitCode: 0, endedBy: 'exit', outputCut: true });
      expect(await groupLives(pid)).toBe(false);
    },
  );

  it('a background program that gave up its pipes lives on, as with ssh', async () => {
    const { jobs } = await startJobs();
    const result = await jobs.execute(sh('sleep 5 >/dev/null 2>&1 & echo $!'), call());
    const pid = pidIn(result.stdout);
    expect(lives(pid)).toBe(true);
    process.kill(pid, 'SIGKILL');
  });

  const outside = [
    ['a background job of its shell', `bash -c 'set -m; sleep 60 & echo $! all; wait'`],
    ['what has a session of its own', `setsid sh -c 'echo $$ all; exec sleep 60' & wait`],
    [
      'sessions in sessions, deaf ones, and what lost its parent there',
      `setsid sh -c 'trap "" TERM INT HUP; (sleep 60 & echo $!); setsid sh -c "echo \\$\\$ all; exec sleep 60" & wait' & wait`,
    ],
  ] as const;

  it.each(outside)(
    verifies('jobs.tree', 'with %s, though no signal to its group reaches that'),
    async (...[, line]) => {
      const { jobs } = await startJobs();
      const end = async (how: 'cancel' | 'client-gone' | 'shutdown' | 'timeout' | 'SIGINT'): Promise<void> => {
        const gone = new AbortController();
        const timeout = how === 'timeout' ? 500 : 0;
        const started: string[] = [];
        const announce = (id: string): void => void started.push(id);
        const source = await jobs.stream({ ...sh(line), timeout }, call({ signal: gone.signal, announce }));
        const pids = (await readUntil(source, /all\n/)).match(/\d+/g)?.map(Number) ?? [];
        expect(pids.length).toBeGreaterThan(0);
        expect(pids.filter((pid) => !lives(pid))).toEqual([]);
        const jobId = started[0] ?? '';
        if (how === 'SIGINT') await jobs.signal({ jobId, signal: how }, OWNER);
        else if (how !== 'timeout') gone.abort(how);
        expect(endOf(await readAll(source))).toMatchObject({ endedBy: how === 'SIGINT' ? 'exit' : how });
        await until(() => !pids.some(lives));
      };
      await Promise.all([end('cancel'), end('client-gone'), end('shutdown'), end('timeout'), end('SIGINT')]);
    },
  );

  it('a stopped process ends too', async () => {
    const { jobs } = await startJobs();
    const gone = new AbortController();
    const source = await jobs.stream(sh('echo ready; kill -STOP $$; echo never'), call({ signal: gone.signal }));
    await readUntil(source, /ready/);
    gone.abort('cancel');
    expect(endOf(await readAll(source))).toMatchObject({ endedBy: 'cancel', exitCode: null });
  });

  it('the node’s stop ends all of them as shutdown, and nothing starts after it', async () => {
    const { jobs } = await startJobs();
    const results = [jobs.execute(sh('sleep 30'), call()), jobs.execute(sh('sleep 30'), call())];
    await until(() => jobs.counts().active === 2);
    await jobs.stop();
    for (const result of await Promise.all(results)) expect(result).toMatchObject({ endedBy: 'shutdown' });
    await expect(jobs.execute(sh('true'), call())).rejects.toMatchObject({ error: 'node_stopping' });
  });

  it('DELETE says cancelled where it ended the run, ended where it was too late', async () => {
    const { jobs } = await startJobs();
    const source = await jobs.stream(sh('sleep 30'), call());
    const { jobId } = (await jobs.list({}, { kind: 'owner' })).jobs[0] ?? { jobId: '' };
    expect(await jobs.cancel({ jobId }, { kind: 'owner' })).toEqual({ success: true, jobId, state: 'cancelled' });
    const read = await readAll(source);
    expect(read.types).toEqual([FRAME.started, FRAME.exit]);
    expect(await jobs.cancel({ jobId }, { kind: 'owner' })).toEqual({ success: true, jobId, state: 'ended' });
  });

  it('signals reach the process group, and say whether they did', async () => {
    const { jobs } = await startJobs();
    const source = await jobs.stream(
      sh('trap "echo got; exit 5" USR1; echo ready; while :; do sleep 0.05; done'),
      call(),
    );
    await readUntil(source, /ready/);
    const { jobId } = (await jobs.list({}, { kind: 'owner' })).jobs[0] ?? { jobId: '' };
    const signal = { jobId, signal: 'SIGUSR1' } as const;
    expect(await jobs.signal(signal, { kind: 'owner' })).toMatchObject({ delivered: true });
    const read = await readAll(source);
    expect(endOf(read)).toMatchObject({ endedBy: 'exit', killed: false });
    expect(await jobs.signal(signal, { kind: 'owner' })).toMatchObject({ delivered: false });
  });

  it.each(['revoked', 'expired_key', 'scope_missing'])(
    'by force within a second where the caller is %s, whichever of its ends comes first',
    async (reason) => {
      const { jobs } = await startJobs();
      const end = async (abortsFirst: boolean): Promise<void> => {
        const gone = new AbortController();
        const caller = keyCaller(String(abortsFirst));
        const source = await jobs.stream(runProgram('stubborn'), call({ caller, signal: gone.signal }));
        await readUntil(source, /ready/);
        const asked = performance.now();
        if (abortsFirst) gone.abort(reason);
        const ended = jobs.endRunsOf((name) => name === `key:${abortsFirst}`);
        gone.abort(reason);
        expect(await ended).toBe(1);
        expect(endOf(await readAll(source))).toMatchObject({ exitCode: null, signal: 'SIGKILL', endedBy: 'cancel' });
        expect(performance.now() - asked).toBeLessThan(1_000);
      };
      await Promise.all([end(true), end(false)]);
      // A request alone, as that of a caller whose grant lost less than its runs.
      const gone = new AbortController();
      const source = await jobs.stream(runProgram('stubborn'), call({ signal: gone.signal }));
      await readUntil(source, /ready/);
      const asked = performance.now();
      gone.abort(reason);
      await readAll(source);
      expect(performance.now() - asked).toBeLessThan(1_000);
    },
  );

  it('a revocation ends the runs of that caller within a second, and no others', async () => {
    const { jobs } = await startJobs();
    const mine = await Promise.all(
      Array.from({ length: 5 }, () =>
        jobs.stream(
          sh('trap "" TERM; echo ready; sleep 30'),
          call({ caller: { kind: 'agent', label: 'bad', grant: {} as never } }),
        ),
      ),
    );
    const other = await jobs.stream(sh('sleep 30'), call());
    for (const source of mine) await readUntil(source, /ready/);
    const asked = performance.now();
    expect(await jobs.endRunsOf((name) => name === 'agent:bad')).toBe(5);
    expect(performance.now() - asked).toBeLessThan(1_000);
    for (const source of mine) expect(endOf(await readAll(source))).toMatchObject({ endedBy: 'cancel' });
    expect(jobs.counts().active).toBe(1);
    other.close();
  });
});
