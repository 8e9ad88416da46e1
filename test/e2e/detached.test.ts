import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

import { afterEach, describe, expect, it } from 'vitest';

import type { Client } from '../../src/client/client.ts';
import { FRAME } from '../../src/protocol/frames.ts';
import { VERSION } from '../../src/protocol/version.ts';
import { type KnownRun, knownRun } from '../helpers/known-output.ts';
import { clientOf } from '../helpers/links.ts';
import { CLI, connectMachines, environment, finished, Machine } from '../helpers/nodes.ts';
import { NO_PROC, isAlive, processesIn, until } from '../helpers/process-facts.ts';
import { randomFrom, seedOfRun } from '../helpers/seed.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { verifies } from '../requirements.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';
const [JOBS, KILLS, SLOTS] = LONG ? [50, 20, 30] : [10, 4, 6];

const machines: Machine[] = [];
const make = async (...given: Parameters<typeof Machine.create>): Promise<Machine> => {
  const machine = await Machine.create(...given);
  machines.push(machine);
  return machine;
};

afterEach(async () => {
  for (const machine of machines.splice(0)) {
    for (const pid of await supervisorsOf(machine)) process.kill(pid, 'SIGTERM');
    await until(async () => (await supervisorsOf(machine)).length === 0, 10_000);
    await machine.remove();
  }
}, 60_000);

/** The supervisors of a machine that live. */
const supervisorsOf = async (machine: Machine): Promise<number[]> => {
  const names = (await readdir(machine.path('supervisors')).catch(() => [])).filter((name) => name.endsWith('.json'));
  // One that ends takes its file with it.
  const read = (name: string): Promise<string> => readFile(machine.path('supervisors', name), 'utf8').catch(() => '{}');
  const entries = names.map(async (name) => JSON.parse(await read(name)));
  const pids = (await Promise.all(entries)).flatMap(({ pid }: { pid?: number }) => pid ?? []);
  const alive = await Promise.all(pids.map(isAlive));
  return pids.filter((_, at) => alive[at]);
};

/** They rest for some seconds, then end. What stays, and what the node says of it, tells why. */
const untilNoSupervisor = (machine: Machine): Promise<unknown> =>
  until(async () => (await supervisorsOf(machine)).length === 0, 30_000).catch(async () => {
    throw new Error(`supervisors ${(await supervisorsOf(machine)).join(', ')} stay: ${await machine.log()}`);
  });

const killNode = async (machine: Machine): Promise<void> => {
  const { pid } = await machine.registration();
  process.kill(pid, 'SIGKILL');
  await until(async () => !(await isAlive(pid)), 5_000);
};

interface Whole {
  stdout: string;
  stderr: string;
  gaps: number;
}

const outputOf = async (client: Client, jobId: string): Promise<Whole> => {
  const read: Whole = { stdout: '', stderr: '', gaps: 0 };
  for await (const { type, bytes } of client.stream('job.output', { jobId })) {
    if (type === FRAME.gap) read.gaps += 1;
    if (type === FRAME.stdout) read.stdout += Buffer.from(bytes).toString();
    if (type === FRAME.stderr) read.stderr += Buffer.from(bytes).toString();
  }
  return read;
};

describe('detached jobs', () => {
  it(
    verifies(
      ['jobs.detached', 'show.detached'],
      `${JOBS} of them, kill -9 of the node at ${KILLS} random moments${LONG ? '' : ' (50 and 20 in test:long)'}: no byte of output is lost, no exit code, and no process is left`,
    ),
    { timeout: LONG ? 240_000 : 60_000 },
    async () => {
      const random = randomFrom(seedOfRun('detached jobs'));
      const machine = await make('lasting', { extra: `execution:\n  maxConcurrent: ${SLOTS}\n` });
      const started = new Map<string, KnownRun>();
      let unanswered = 0;
      const startSome = async (client: Client, upTo: number): Promise<void> => {
        while (started.size < upTo) {
          const run = knownRun(Math.floor(random() * 2e9), 4 + Math.floor(random() * 6), 0.3);
          const { jobId, state } = await client.call('job.execute', { command: run.line, shell: true, detach: true });
          expect(['queued', 'running', 'ended']).toContain(state);
          started.set(jobId, run);
        }
      };
      for (let kill = 1; kill <= KILLS; kill += 1) {
        const client = await clientOf(machine);
        const starting = startSome(client, Math.ceil((JOBS * kill) / KILLS)).catch(() => (unanswered += 1));
        await new Promise((resolve) => setTimeout(resolve, 20 + random() * 500));
        await killNode(machine);
        await starting;
        await machine.start();
      }
      const client = await clientOf(machine);
      await startSome(client, JOBS);
      for (const jobId of started.keys()) {
        for await (const { event } of client.events('job.output', { jobId, since: Number.MAX_SAFE_INTEGER }))
          if (event.type === 'exit') break;
      }
      for (const [jobId, run] of started) {
        const job = await client.call('job.get', { jobId });
        expect([job.endedBy, job.exitCode, job.detached]).toEqual(['exit', run.exitCode, true]);
        const { stdout, stderr, gaps } = await outputOf(client, jobId);
        expect([stdout === run.stdout, stderr === run.stderr, gaps]).toEqual([true, true, 0]);
        expect(job.outputBytes).toBe(run.stdout.length + run.stderr.length);
      }
      await until(async () => (await client.call('job.list', {})).jobs.length === 0, 10_000);
      const { jobs } = await client.call('job.list', { state: 'all', limit: 1000 });
      const living = await Promise.all(jobs.flatMap(({ pid }) => (pid === undefined ? [] : isAlive(pid))));
      expect(living.filter(Boolean)).toEqual([]);
      await untilNoSupervisor(machine);
      // Whatever a run, or a start that was cut, may have left works in the machine's home.
      const left = async (): Promise<string[]> =>
        (await processesIn(machine.home)).filter((line) => !line.includes('daemon/main.js'));
      if (NO_PROC === undefined) await until(async () => (await left()).length === 0, 5_000);
      console.log(`detached: ${started.size} jobs, ${KILLS} kills, ${unanswered} starts cut by one`);
    },
  );
});

describe('a detached job', () => {
  it(
    verifies(
      ['cli.exec.detach', 'cli.jobs-attach', 'cli.jobs-wait', 'jobs.detached-durable'],
      'on a peer is reached by its id alone, after both nodes were restarted; who follows it sees all of it',
    ),
    { timeout: 60_000 },
    async () => {
      const [here, there] = [await make('here'), await make('there')];
      await connectMachines(here, there);
      const run = knownRun(7, 8, 0.5);
      const started = await here.run(['exec', 'there', '--detach', '--shell', run.line]);
      expect([started.code, started.stderr]).toEqual([0, '']);
      const jobId = started.stdout.trim();
      expect(jobId).toMatch(/^[0-9a-z]{26}$/);
      // Who started it is on disk here before the id is known: no moment passes.
      await killNode(here);
      await here.start();
      const follower = here.spawn(['jobs', 'attach', jobId]);
      const followed = finished(follower);
      await once(follower.stdout ?? follower, 'data');
      const stopped = await there.run(['stop']);
      expect([stopped.code, stopped.stdout]).toEqual([0, expect.stringContaining('1 detached job goes on without it')]);
      await there.start();
      const wait = here.run(['jobs', 'wait', jobId]);
      const { code, stdout, stderr } = await followed;
      expect([code, stdout === run.stdout, stderr === run.stderr]).toEqual([run.exitCode, true, true]);
      expect(await wait).toMatchObject({ code: run.exitCode, stdout: '' });
      const shown = await here.json<{ state: string; detached: boolean }>(['jobs', 'show', jobId]);
      expect(shown).toMatchObject({ state: 'ended', detached: true, exitCode: run.exitCode });
      expect((await here.run(['jobs', 'attach', jobId])).stdout).toBe(run.stdout);
    },
  );

  it(
    verifies(['cli.jobs-attach'], 'is followed on, from the same byte, when the own node comes back; Ctrl-C leaves it'),
    { timeout: 40_000 },
    async () => {
      const machine = await make('back');
      const run = knownRun(11, 7, 0.4);
      const jobId = (await machine.run(['exec', 'localhost', '--detach', '--shell', run.line])).stdout.trim();
      const follower = machine.spawn(['jobs', 'attach', jobId]);
      const followed = finished(follower);
      const leaver = machine.spawn(['jobs', 'attach', jobId]);
      const left = finished(leaver);
      await Promise.all([follower, leaver].map((child) => once(child.stdout ?? child, 'data')));
      leaver.kill('SIGINT');
      expect(await left).toMatchObject({ code: 130, stderr: expect.stringContaining('the job goes on') });
      await killNode(machine);
      await machine.start();
      const { code, stdout, stderr } = await followed;
      expect(code).toBe(run.exitCode);
      expect(stdout).toBe(run.stdout);
      expect(stderr.replace(/^loopsy: .*\n/gm, '')).toBe(run.stderr);
    },
  );

  it(verifies('jobs.detached', 'that ends while the node is down is found with its output and exit code'), async () => {
    const machine = await make('down');
    const run = knownRun(13, 3, 0.2);
    const jobId = (await machine.run(['exec', 'localhost', '--detach', '--shell', run.line])).stdout.trim();
    await killNode(machine);
    await untilNoSupervisor(machine);
    await machine.start();
    const client = await clientOf(machine);
    expect(await client.call('job.get', { jobId })).toMatchObject({ endedBy: 'exit', exitCode: run.exitCode });
    expect(await outputOf(client, jobId)).toEqual({ stdout: run.stdout, stderr: run.stderr, gaps: 0 });
    expect((await machine.run(['jobs', 'wait', jobId, jobId])).code).toBe(1);
  });

  it(
    verifies('jobs.detached-lost', 'whose supervisor is killed is lost, with its processes; the node goes on'),
    { timeout: 40_000 },
    async () => {
      const machine = await make('struck');
      const client = await clientOf(machine);
      const start = async (command: string): Promise<string> =>
        (await client.call('job.execute', { command, shell: true, detach: true })).jobId;
      const ids = [await start('echo $$; sleep 60 & echo $!; wait'), await start('echo $$; trap "" TERM; sleep 60')];
      // Followed, so that it is on disk.
      for (const jobId of ids)
        for await (const { type } of client.stream('job.output', { jobId })) if (type === FRAME.stdout) break;
      const pids = (await Promise.all(ids.map((jobId) => client.call('job.get', { jobId })))).map(({ pid = 0 }) => pid);
      const [supervisor = 0] = await supervisorsOf(machine);
      process.kill(supervisor, 'SIGKILL');
      for (const jobId of ids) {
        await until(async () => (await client.call('job.get', { jobId })).endedBy === 'lost', 5_000);
        expect((await outputOf(client, jobId)).stdout).toContain('\n');
      }
      await until(async () => !(await Promise.all(pids.map(isAlive))).includes(true), 5_000);
      const { code, stdout } = await machine.run(['jobs', 'wait', await start('exit 9')]);
      expect([code, stdout]).toEqual([9, '']);
      expect(await machine.log()).not.toMatch(/uncaught|unhandled/);
    },
  );
});

const DIST = resolve(dirname(CLI), '..');

/** Puts a copy of the build into `folder`, as a package of this version. */
const install = async (folder: string, version: string): Promise<void> => {
  const { files } = JSON.parse(await readFile(join(DIST, 'build.json'), 'utf8')) as { files: string[] };
  for (const file of files) {
    const text = await readFile(join(DIST, file), 'utf8');
    await mkdir(dirname(join(folder, 'dist', file)), { recursive: true });
    await writeFile(join(folder, 'dist', file), text.replaceAll(`"${VERSION}"`, `"${version}"`));
  }
  await symlink(join(DIST, 'vendor'), join(folder, 'dist', 'vendor'));
  await writeFile(join(folder, 'package.json'), JSON.stringify({ version, type: 'module' }));
};

describe('an upgrade of the package', () => {
  it(
    verifies('jobs.detached-upgrade', 'lets jobs go on that began before it; new ones get a supervisor of its own'),
    { timeout: 40_000 },
    async () => {
      const machine = await make('upgraded', { start: false });
      const folder = await tempFolder();
      const loopsy = async (...args: string[]): Promise<string> => {
        const child = spawn(process.execPath, [join(folder, 'dist/cli/index.js'), ...args], {
          env: environment(machine.home),
          cwd: machine.home,
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        const { code, stdout, stderr } = await finished(child);
        if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${stdout}${stderr}`);
        return stdout.trim();
      };
      await install(folder, '2.7.1');
      await loopsy('start');
      const old = knownRun(400, 10, 0.4);
      const first = await loopsy('exec', 'localhost', '--detach', '--shell', old.line);
      await rm(join(folder, 'dist'), { recursive: true });
      await install(folder, '2.7.2');
      await loopsy('restart');
      expect(JSON.parse(await loopsy('status', '--json'))).toMatchObject({ version: '2.7.2', jobs: { detached: 1 } });
      const second = await loopsy('exec', 'localhost', '--detach', '--', 'sleep', '1');
      expect(await supervisorsOf(machine)).toHaveLength(2);
      expect(await loopsy('jobs', 'attach', first)).toBe(old.stdout.trim());
      expect(JSON.parse(await loopsy('jobs', 'show', first, '--json'))).toMatchObject({ endedBy: 'exit', exitCode: 0 });
      await loopsy('jobs', 'wait', second);
      await loopsy('stop');
      await untilNoSupervisor(machine);
    },
  );
});
