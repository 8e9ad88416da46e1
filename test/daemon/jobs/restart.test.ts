import { spawn } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { readToken } from '../../../src/daemon/process/process-identity.ts';
import { FRAME, frameHeader } from '../../../src/protocol/frames.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import { type Store, StoreFull } from '../../../src/store/store.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';
import { call, lives, OWNER, readAll, sh, startJobs, until } from './setup.ts';

const DAY_MS = 86_400_000;
const JOB = '01m7x7e0n6064yd7cxbw8r8wsn';

const record = (more: object): string =>
  JSON.stringify({
    v: 1,
    jobId: JOB,
    command: 'sleep',
    args: ['60'],
    cwd: '/',
    shell: false,
    caller: 'owner',
    fromNodeId: 'n',
    host: 'h',
    user: 'u',
    createdAt: Date.now(),
    startedAt: Date.now(),
    outputBytes: 0,
    ...more,
  });

const leaveRunning = async (store: Store, more: object): Promise<void> => {
  await store.commit([
    { put: `job/${JOB}`, value: record(more) },
    { put: `job-active/${JOB}`, value: '' },
  ]);
};

const stranger = () => {
  const child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' });
  return { pid: child.pid ?? 0, end: () => child.kill('SIGKILL') };
};

describe('after a crash of the node', () => {
  it('a run whose end nobody saw is lost, with what was kept of its output', async () => {
    const store = openMemoryStore({ clock: new FakeClock(Date.now()) });
    const dir = join(await tempFolder(), 'jobs');
    await mkdir(join(dir, JOB), { recursive: true });
    const torn = [frameHeader(FRAME.stdout, 4), Buffer.from('kept'), frameHeader(FRAME.stdout, 9), Buffer.from('torn')];
    await writeFile(join(dir, JOB, '0.seg'), Buffer.concat(torn));
    await leaveRunning(store, {});
    const { jobs } = await startJobs({}, { store, dir });
    expect(jobs.get({ jobId: JOB }, OWNER)).toMatchObject({
      state: 'ended',
      endedBy: 'lost',
      exitCode: null,
      outputBytes: 4,
    });
    const read = await readAll(await jobs.output({ jobId: JOB }, OWNER));
    expect(read.stdout.toString()).toBe('kept');
    expect(read.notes.at(-1)?.data).toMatchObject({ endedBy: 'lost', exitCode: null, killed: false });
    expect(store.count('job-active/')).toBe(0);
  });

  it('what provably still lives of it is ended', async ({ skip }) => {
    skip(process.platform !== 'linux', 'only Linux proves which process it is');
    const store = openMemoryStore({ clock: new FakeClock(Date.now()) });
    const orphan = stranger();
    await leaveRunning(store, { pid: orphan.pid, token: readToken(orphan.pid) });
    const { log } = await startJobs({}, { store });
    await until(() => !lives(orphan.pid));
    expect(log.lines).toContain('ending a run that outlived the node');
  });

  it('a detached one too, where its supervisor went as well', async ({ skip }) => {
    skip(process.platform !== 'linux', 'only Linux proves which process it is');
    const store = openMemoryStore({ clock: new FakeClock(Date.now()) });
    const orphan = stranger();
    await leaveRunning(store, { detached: true, supervisor: '0123456789abcdef' });
    const home = await tempFolder();
    const [dir, supervisorsDir] = [join(home, 'jobs'), join(home, 'supervisors')];
    // What it wrote last is newer than what the node did.
    await mkdir(join(dir, JOB), { recursive: true });
    const last = record({ detached: true, pid: orphan.pid, token: readToken(orphan.pid) });
    await writeFile(join(dir, JOB, 'run.json'), last);
    await mkdir(supervisorsDir);
    const entry = {
      v: 1,
      id: '0123456789abcdef',
      pid: orphan.pid,
      startedAt: 1,
      token: 'another-boot:1',
      version: '2',
    };
    const file = join(supervisorsDir, `${entry.id}.json`);
    await writeFile(file, JSON.stringify({ ...entry, socket: join(supervisorsDir, 'x.sock'), secret: 'ab' }));
    const { jobs } = await startJobs({}, { store, dir, supervisorsDir });
    expect(jobs.get({ jobId: JOB }, OWNER)).toMatchObject({ state: 'ended', endedBy: 'lost' });
    await until(() => !lives(orphan.pid));
    await until(async () => (await readdir(supervisorsDir)).length === 0);
  });

  it('a stranger that has the process id by now is left alone', async () => {
    const store = openMemoryStore({ clock: new FakeClock(Date.now()) });
    const other = stranger();
    await leaveRunning(store, { pid: other.pid, token: 'another-boot:123' });
    await startJobs({}, { store });
    expect(lives(other.pid)).toBe(true);
    other.end();
  });

  it('a run that goes on for a while is marked with its process, one that is short never is', async () => {
    const { jobs, store } = await startJobs();
    await jobs.execute(sh('true'), call());
    const source = await jobs.stream(sh('sleep 30'), call());
    await until(() => store.count('job-active/') === 1);
    expect(store.count('job/')).toBe(2);
    const [entry] = store.list({ prefix: 'job/', limit: 1, reverse: true });
    const stored = JSON.parse(entry?.value ?? '{}') as { pid: number; token?: string };
    expect(stored.pid).toBeGreaterThan(0);
    if (process.platform === 'linux') expect(stored.token).toBe(readToken(stored.pid));
    source.close();
    await until(() => store.count('job-active/') === 0);
  });
});

describe('records', () => {
  it('survive the node’s stop and are there after the next start', async () => {
    const { jobs, store, dir } = await startJobs();
    const { jobId } = await jobs.execute(sh('echo kept; exit 4'), call());
    await jobs.stop();
    const { jobs: next } = await startJobs({}, { store, dir });
    expect(next.get({ jobId }, OWNER)).toMatchObject({ state: 'ended', exitCode: 4, endedBy: 'exit', outputBytes: 5 });
    expect((await readAll(await next.output({ jobId }, OWNER))).stdout.toString()).toBe('kept\n');
  });

  it('never hold the environment or the stdin of a run', async () => {
    const { jobs, store } = await startJobs();
    await jobs.execute({ command: 'cat', stdin: 'secret-in', env: { KEY: 'secret-env' } }, call());
    await jobs.stop();
    expect(JSON.stringify(store.list({ prefix: '', limit: 100 }))).not.toContain('secret');
  });

  it('wait while the disk takes none, are said once in the log, and are written when it does', async () => {
    const store = openMemoryStore({ clock: new FakeClock(Date.now()) });
    const clock = new FakeClock(Date.now());
    let full = true;
    const commit = store.commit.bind(store);
    store.commit = (changes, options) => (full ? Promise.reject(new StoreFull('full')) : commit(changes, options));
    const { jobs, log } = await startJobs({}, { store, clock });
    const { jobId } = await jobs.execute(sh('true'), call());
    for (let at = 0; at < 5; at++) {
      clock.advance(1_000);
      await new Promise(setImmediate);
    }
    expect(jobs.get({ jobId }, OWNER).state).toBe('ended');
    expect(log.lines.filter((line) => line === 'job records not written')).toHaveLength(1);
    full = false;
    clock.advance(1_000);
    await until(() => store.get(`job/${jobId}`) !== undefined);
  });

  it(verifies('config.jobs.keepDays', 'and output are kept for jobs.keepDays, live, then go'), async () => {
    const clock = new FakeClock(Date.now());
    const store = openMemoryStore({ clock });
    const { jobs, dir, settings } = await startJobs({ keepDays: 7 }, { store, clock });
    const { jobId } = await jobs.execute(sh('echo x'), call());
    clock.advance(1_000);
    await until(() => store.get(`job/${jobId}`) !== undefined);
    await until(async () => (await readdir(dir)).length === 1);
    clock.jump(6 * DAY_MS);
    clock.advance(3_600_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(jobs.get({ jobId }, OWNER).state).toBe('ended');
    settings.keepDays = 5;
    await until(async () => {
      clock.advance(3_600_000);
      return (await readdir(dir)).length === 0;
    });
    expect(() => jobs.get({ jobId }, OWNER)).toThrow('no job');
  });

  it('that expire take their output with them; other files in the folder are left alone', async () => {
    const clock = new FakeClock(Date.now());
    const { jobs, dir } = await startJobs({}, { store: openMemoryStore({ clock }), clock });
    await writeFile(join(dir, 'notes.txt'), 'mine');
    await jobs.execute(sh('echo x'), call());
    clock.advance(1_000);
    await until(async () => (await readdir(dir)).length === 2);
    clock.jump(8 * DAY_MS);
    await until(async () => {
      clock.advance(3_600_000);
      return (await readdir(dir)).length === 1;
    });
    expect(await readdir(dir)).toEqual(['notes.txt']);
  });
});

it('a detached run that ends while a slow disk keeps the next start waiting gives its place free', async () => {
  const first = await startJobs({ maxConcurrent: 1 });
  const { jobId } = await first.jobs.execute({ ...sh('sleep 0.4; exit 3'), detach: true }, call());
  await first.jobs.stop();
  const { store, dir, home } = first;
  const commit = store.commit.bind(store);
  // Longer than the run takes: it ends while the start waits for its first commit.
  store.commit = async (...given) => {
    await new Promise((resolve) => setTimeout(resolve, 800));
    return commit(...given);
  };
  const second = await startJobs({ maxConcurrent: 1 }, { store, dir, supervisorsDir: join(home, 'supervisors') });
  store.commit = commit;
  await until(() => second.jobs.get({ jobId }, OWNER).state === 'ended');
  expect(second.jobs.get({ jobId }, OWNER)).toMatchObject({ exitCode: 3 });
  expect(await second.jobs.execute(sh('echo next'), call())).toMatchObject({ stdout: 'next\n' });
});
