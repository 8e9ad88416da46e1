import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { executeSchema } from '../../../src/protocol/jobs.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import { StoreFull } from '../../../src/store/store.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { mountSmallDisk } from '../../helpers/small-disk.ts';
import { verifies } from '../../requirements.ts';
import { detached, restart, supervisorOf } from './detached-setup.ts';
import { call, endOf, keyCaller, lives, OWNER, readAll, readUntil, sh, startJobs, until } from './setup.ts';

describe('a detached run', () => {
  it('is answered at once, goes on, and its output and end are read like those of any other', async () => {
    const { jobs } = await startJobs();
    const answer = await jobs.execute(detached('cat; sleep 0.3; echo two >&2; exit 3', { stdin: 'one\n' }), call());
    expect(answer).toMatchObject({ state: 'running', detached: true, exitCode: null, stdout: '' });
    expect(answer).not.toHaveProperty('endedBy');
    expect(jobs.get({ jobId: answer.jobId }, OWNER)).not.toHaveProperty('supervisorProcess');
    const read = await readAll(await jobs.output({ jobId: answer.jobId }, OWNER));
    expect([read.stdout.toString(), read.stderr.toString()]).toEqual(['one\n', 'two\n']);
    expect(endOf(read)).toMatchObject({ exitCode: 3, endedBy: 'exit' });
    expect(jobs.get({ jobId: answer.jobId }, OWNER)).toMatchObject({ detached: true, exitCode: 3, state: 'ended' });
    expect(jobs.counts()).toMatchObject({ active: 0, detached: 0 });
  });

  it('can be streamed from its start: the reader’s end leaves it alone', async () => {
    const setup = await startJobs();
    const gone = new AbortController();
    const source = await setup.jobs.stream(detached('echo here; sleep 30'), call({ signal: gone.signal }));
    expect(await readUntil(source, /here/)).toBe('here\n');
    gone.abort('client-gone');
    source.close();
    const [job] = (await setup.jobs.list({ state: 'active' }, OWNER)).jobs;
    expect(job).toMatchObject({ state: 'running', detached: true });
    expect(await setup.jobs.cancel({ jobId: job?.jobId ?? '' }, OWNER)).toMatchObject({ state: 'cancelled' });
    await until(() => !lives(job?.pid ?? 0));
  });

  it(
    verifies('jobs.detached-durable', 'is on disk in the store and beside its output before it is answered'),
    async () => {
      const { jobs, store, dir } = await startJobs();
      const { jobId } = await jobs.execute(
        detached('sleep 30', { env: { KEY: 'secret-env' }, stdin: 'secret-in' }),
        call(),
      );
      const kept = store.get(`job/${jobId}`)?.value ?? '';
      expect(JSON.parse(kept)).toMatchObject({ jobId, detached: true });
      const file = join(dir, jobId, 'run.json');
      const text = await readFile(file, 'utf8');
      expect(JSON.parse(text)).toMatchObject({ jobId, detached: true, pid: jobs.get({ jobId }, OWNER).pid });
      if (process.platform !== 'win32') expect((await stat(file)).mode & 0o777).toBe(0o600);
      expect(kept + text).not.toContain('secret');
      await jobs.cancel({ jobId }, OWNER);
    },
  );

  it('that can not be started says why, like any other, and is no run that goes on', async () => {
    const { jobs } = await startJobs();
    const asked = jobs.execute({ command: 'no-such-program', detach: true }, call());
    await expect(asked).rejects.toMatchObject({
      error: 'execution_failed',
      message: expect.stringContaining('not found'),
    });
    const [job] = (await jobs.list({ state: 'all' }, OWNER)).jobs;
    expect(job).toMatchObject({ state: 'ended', error: 'the command "no-such-program" was not found' });
    expect(jobs.counts().active).toBe(0);
  });

  it('has no time-out but the one that it names', async () => {
    const { jobs } = await startJobs({ defaultTimeoutMs: 100 });
    const free = await jobs.execute(detached('sleep 0.5; exit 4'), call());
    const bound = await jobs.execute(detached('sleep 30', { timeout: 200 }), call());
    const ends = [free, bound].map(async ({ jobId }) => endOf(await readAll(await jobs.output({ jobId }, OWNER))));
    expect(await Promise.all(ends)).toMatchObject([
      { endedBy: 'exit', exitCode: 4 },
      { endedBy: 'timeout', killed: true },
    ]);
  });

  it('takes its stdin as text: a stream of it is refused, with the field named', () => {
    const { error } = executeSchema.safeParse({ command: 'cat', detach: true, stdinStream: true });
    expect(error?.issues).toMatchObject([{ path: ['stdinStream'], message: expect.stringContaining('as text') }]);
  });

  it('is signalled, with its group, and a signal that finds nothing says so', async () => {
    const { jobs } = await startJobs();
    const { jobId } = await jobs.execute(detached('trap "echo got; exit 7" INT; echo on; sleep 30 & wait'), call());
    await readUntil(await jobs.output({ jobId }, OWNER), /on/);
    expect(await jobs.signal({ jobId, signal: 'SIGINT' }, OWNER)).toMatchObject({ delivered: true });
    const read = await readAll(await jobs.output({ jobId }, OWNER));
    expect([read.stdout.toString(), endOf(read)['exitCode']]).toEqual(['on\ngot\n', 7]);
    expect(await jobs.signal({ jobId, signal: 'SIGINT' }, OWNER)).toMatchObject({ delivered: false });
  });

  it('whose caller left before it was told of it ends', async () => {
    const { jobs } = await startJobs();
    const gone = new AbortController();
    const asked = jobs.execute(detached('sleep 30'), call({ signal: gone.signal }));
    gone.abort('client-gone');
    const { jobId } = await asked;
    await until(() => jobs.get({ jobId }, OWNER).endedBy === 'client-gone');
  });

  it('keeps a window of its output, says that older output is gone, and ends by nothing but itself', async () => {
    const { jobs } = await startJobs({ maxOutputBytes: 100_000 });
    const { jobId } = await jobs.execute(detached('head -c 3000000 /dev/zero; echo end; sleep 0.4'), call());
    await until(() => jobs.get({ jobId }, OWNER).endedBy === 'exit');
    expect(jobs.get({ jobId }, OWNER)).toMatchObject({ outputBytes: 3_000_004, truncated: true });
    const read = await readAll(await jobs.output({ jobId }, OWNER));
    expect(read.stdout.subarray(-4).toString()).toBe('end\n');
    expect([read.stdout.length < 200_000, read.cursor]).toEqual([true, 3_000_004]);
  });

  it(
    verifies('jobs.detached-environment', 'gets the environment that its caller and the config give, and nothing else'),
    async () => {
      const poison = { LOOPSY_TOKEN: 'x', NODE_OPTIONS: '--no-warnings', SSH_AUTH_SOCK: '/s', AWS_SECRET: 'y' };
      const { jobs } = await startJobs({ env: { FROM: 'config' } }, { variables: { ...process.env, ...poison } });
      const { jobId } = await jobs.execute(
        detached('env; cat /proc/$PPID/environ 2>/dev/null', { env: { MINE: '1' } }),
        call(),
      );
      const text = (await readAll(await jobs.output({ jobId }, OWNER))).stdout.toString();
      expect(text).toContain('MINE=1');
      expect(text).toContain('FROM=config');
      expect(text).not.toMatch(/LOOPSY_|NODE_OPTIONS|SSH_AUTH_SOCK|AWS_SECRET/);
    },
  );

  it(verifies('jobs.detached-owners', 'is not there for whoever did not start it'), async () => {
    const { jobs } = await startJobs();
    const [mine, other] = [keyCaller('mine'), keyCaller('other')];
    const { jobId } = await jobs.execute(detached('sleep 30'), call({ caller: mine }));
    expect((await jobs.list({ state: 'all' }, other)).jobs).toEqual([]);
    expect(() => jobs.get({ jobId }, other)).toThrow('no job');
    await expect(jobs.output({ jobId }, other)).rejects.toMatchObject({ error: 'job_not_found' });
    await expect(jobs.signal({ jobId, signal: 'SIGKILL' }, other)).rejects.toMatchObject({ error: 'job_not_found' });
    await expect(jobs.cancel({ jobId }, other)).rejects.toMatchObject({ error: 'job_not_found' });
    expect(await jobs.cancel({ jobId }, mine)).toMatchObject({ state: 'cancelled' });
  });
});

describe('a revocation', () => {
  it('ends detached runs within a second, a stubborn one and one that waits too, and no other caller’s', async () => {
    const { jobs } = await startJobs({ maxConcurrent: 2 });
    const start = (name: string, line: string) => jobs.execute(detached(line), call({ caller: keyCaller(name) }));
    const stubborn = await start('bad', 'trap "" TERM; echo on; sleep 30');
    const fine = await start('good', 'sleep 30');
    await start('bad', 'sleep 30');
    await readUntil(await jobs.output({ jobId: stubborn.jobId }, OWNER), /on/);
    const { pid = 0 } = jobs.get({ jobId: stubborn.jobId }, OWNER);
    const beganMs = performance.now();
    expect(await jobs.endRunsOf((caller) => caller === 'key:bad')).toBe(2);
    expect(performance.now() - beganMs).toBeLessThan(1_000);
    expect([lives(pid), jobs.get({ jobId: stubborn.jobId }, OWNER)]).toMatchObject([false, { endedBy: 'cancel' }]);
    expect(jobs.counts()).toMatchObject({ active: 1, queued: 0 });
    await jobs.cancel({ jobId: fine.jobId }, OWNER);
  });
});

describe('a restart of the node', () => {
  it(verifies('jobs.detached-queue', 'keeps who waits: each is let in when its turn comes'), async () => {
    const first = await startJobs({ maxConcurrent: 1 });
    const ids: string[] = [];
    for (const line of ['sleep 1; echo 0', 'echo 1', 'echo 2'])
      ids.push((await first.jobs.execute(detached(line), call())).jobId);
    expect(ids.map((jobId) => first.jobs.get({ jobId }, OWNER).state)).toEqual(['running', 'queued', 'queued']);
    const { jobs } = await restart(first);
    expect(jobs.counts()).toMatchObject({ active: 1, queued: 2, detached: 3, held: 2 });
    expect(jobs.get({ jobId: ids[2] ?? '' }, OWNER)).toMatchObject({ state: 'queued', place: 2 });
    const reads = ids.map(async (jobId) => (await readAll(await jobs.output({ jobId }, OWNER))).stdout.toString());
    expect(await Promise.all(reads)).toEqual(['0\n', '1\n', '2\n']);
    const starts = ids.map((jobId) => jobs.get({ jobId }, OWNER).startedAt ?? 0);
    expect(starts).toEqual([...starts].sort((a, b) => a - b));
  });

  it('leaves alone a run whose supervisor does not answer at the moment, and takes it up again when it does', async () => {
    const first = await startJobs();
    const { jobId } = await first.jobs.execute(detached('echo a; sleep 0.2; echo b; exit 5'), call());
    const pid = await supervisorOf(first);
    process.kill(pid, 'SIGSTOP');
    try {
      const { jobs } = await restart(first);
      expect(jobs.get({ jobId }, OWNER)).toMatchObject({ state: 'running' });
      process.kill(pid, 'SIGCONT');
      const read = await readAll(await jobs.output({ jobId }, OWNER));
      expect([read.stdout.toString(), endOf(read)['exitCode']]).toEqual(['a\nb\n', 5]);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  });

  it(
    verifies('jobs.detached-owners', 'ends what callers started who lost trust meanwhile, but what the owner keeps'),
    async () => {
      const first = await startJobs();
      const start = async (name: string): Promise<string> =>
        (await first.jobs.execute(detached('sleep 30'), call({ caller: keyCaller(name) }))).jobId;
      const [lost, kept, fine] = [await start('lost'), await start('kept'), await start('fine')];
      first.jobs.keepRunsOf((caller) => caller === 'key:kept');
      const { jobs } = await restart(first);
      expect(jobs.endOrphans((caller) => caller === 'key:fine')).toBe(1);
      await until(() => jobs.get({ jobId: lost }, OWNER).endedBy === 'cancel');
      for (const jobId of [kept, fine]) {
        expect(jobs.get({ jobId }, OWNER).state).toBe('running');
        await jobs.cancel({ jobId }, OWNER);
      }
    },
  );
});

describe('the folder of a detached run', () => {
  it('is never cleared away while the run goes on, even where its record is gone', async () => {
    const clock = new FakeClock(Date.now());
    const store = openMemoryStore({ clock });
    const { jobs, dir } = await startJobs({}, { clock, store });
    const { jobId } = await jobs.execute(detached('echo x; sleep 30'), call());
    await jobs.execute(sh('echo attached'), call());
    await until(async () => (await readdir(dir)).length === 2);
    await store.commit(store.list({ prefix: 'job/', limit: 10 }).map(({ key }) => ({ delete: key })));
    // The one that has ended goes with its record.
    await until(async () => {
      clock.advance(3_600_000);
      return (await readdir(dir)).length === 1;
    });
    expect(await readdir(dir)).toEqual([jobId]);
    jobs.endOrphans(() => false);
  });
});

describe('a supervisor', () => {
  it('ends when its last run has ended, also where the data folder was removed under it', async () => {
    const setup = await startJobs();
    await setup.jobs.execute(detached('echo x; sleep 0.5'), call());
    const pid = await supervisorOf(setup);
    await setup.jobs.stop();
    await rm(setup.home, { recursive: true });
    await until(() => !lives(pid));
    expect(existsSync(setup.home)).toBe(false);
  });
});

describe('a full disk', () => {
  it('of the store refuses a detached run: nothing is started', async () => {
    const store = openMemoryStore({ clock: new FakeClock(Date.now()) });
    store.commit = () => Promise.reject(new StoreFull('full'));
    const { jobs, home } = await startJobs({}, { store });
    const asked = jobs.execute(detached(`touch ${home}/ran`), call());
    await expect(asked).rejects.toMatchObject({
      error: 'execution_failed',
      message: expect.stringContaining('disk is full'),
    });
    expect(existsSync(join(home, 'ran'))).toBe(false);
    expect(jobs.counts().active).toBe(0);
  });

  it(verifies('jobs.detached-disk', 'of its output refuses it too, and leaves no process'), async ({ skip }) => {
    const disk = await mountSmallDisk(1024);
    if (disk === undefined) return skip('mounting a small disk needs root');
    const dir = join(disk.folder, 'jobs');
    await mkdir(dir);
    const { jobs, home } = await startJobs({}, { dir });
    await writeFile(join(disk.folder, 'some'), Buffer.alloc(10_000));
    await disk.fill();
    const asked = jobs.execute(detached(`touch ${home}/ran; sleep 30`), call());
    await expect(asked).rejects.toMatchObject({
      error: 'execution_failed',
      message: expect.stringContaining('disk is full'),
    });
    expect(existsSync(join(home, 'ran'))).toBe(false);
    await disk.free();
    const { jobId } = await jobs.execute(detached('echo room'), call());
    expect((await readAll(await jobs.output({ jobId }, OWNER))).stdout.toString()).toBe('room\n');
  });

  it('that fills up later ends what could not be found again, and loses no end that was seen', async ({ skip }) => {
    const disk = await mountSmallDisk(1024);
    if (disk === undefined) return skip('mounting a small disk needs root');
    const setup = await startJobs({ maxConcurrent: 1 }, { dir: join(disk.folder, 'jobs') });
    const { jobs, home } = setup;
    const first = await jobs.execute(detached('sleep 0.3; exit 6'), call());
    const second = await jobs.execute(detached(`echo $$ >${home}/pid; trap "" TERM; sleep 30`), call());
    expect(second.state).toBe('queued');
    await disk.fill();
    await until(() => jobs.get({ jobId: second.jobId }, OWNER).state === 'ended');
    expect(jobs.get({ jobId: first.jobId }, OWNER)).toMatchObject({ endedBy: 'exit', exitCode: 6 });
    expect(jobs.get({ jobId: second.jobId }, OWNER).error).toContain('the disk is full');
    const pid = Number(await readFile(join(home, 'pid'), 'utf8').catch(() => '0'));
    await until(() => pid === 0 || !lives(pid));
    const supervisor = await supervisorOf(setup);
    await jobs.stop();
    await disk.free();
    // It stays until the ends are on disk.
    await until(() => !lives(supervisor));
    const text = await readFile(join(disk.folder, 'jobs', first.jobId, 'run.json'), 'utf8');
    expect(JSON.parse(text)).toMatchObject({ endedBy: 'exit', exitCode: 6 });
  });
});
