import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { Supervisors } from '../../../src/daemon/jobs/supervisors.ts';
import { lineOf } from '../../../src/daemon/jobs/wire.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { detached, entryFileOf, restart, supervisorOf } from './detached-setup.ts';
import { startFake } from './fake-supervisor.ts';
import { call, lives, OWNER, startJobs, until } from './setup.ts';

describe('a supervisor that is too slow', () => {
  it('leaves the outcome unknown, not failed: the run is ended when it comes to it, and its record says so', async () => {
    const clock = new FakeClock(Date.now());
    const setup = await startJobs({}, { clock });
    const { jobs, home } = setup;
    await jobs.execute(detached('sleep 30'), call());
    const supervisor = await supervisorOf(setup);
    process.kill(supervisor, 'SIGSTOP');
    try {
      const asked = jobs.execute(detached(`touch ${home}/ran; sleep 30`), call());
      const refused = asked.catch((error: unknown) => error);
      await until(() => setup.store.list({ prefix: 'job/', limit: 10 }).length === 2);
      await new Promise(setImmediate);
      clock.advance(15_000);
      expect(await refused).toMatchObject({
        error: 'outcome_unknown',
        hint: expect.stringContaining('loopsy jobs show'),
      });
      const [late] = (await jobs.list({ state: 'active', limit: 1 }, OWNER)).jobs;
      const jobId = late?.jobId ?? '';
      expect(late).toMatchObject({ state: 'queued' });
      // The next one does not wait for it.
      expect(await jobs.execute(detached('sleep 30'), call())).toMatchObject({ state: 'running' });
      process.kill(supervisor, 'SIGCONT');
      await until(() => jobs.get({ jobId }, OWNER).endedBy === 'cancel');
      expect(existsSync(join(home, 'ran'))).toBe(false);
    } finally {
      process.kill(supervisor, 'SIGCONT');
    }
    jobs.endOrphans(() => false);
  });
});

describe('a supervisor that breaks each link before its first answer', () => {
  it('is connected to again after a pause that grows', async () => {
    const dir = await tempFolder();
    const clock = new FakeClock();
    let links = 0;
    const id = 'a'.repeat(16);
    const entry = await startFake(id, (socket) => {
      links += 1;
      socket.once('data', () => socket.destroy());
    });
    await writeFile(join(dir, `${id}.json`), JSON.stringify(entry));
    const quiet = (): undefined => undefined;
    let failed = 0;
    const log = { debug: quiet, info: quiet, warn: () => void (failed += 1), error: quiet, child: () => log };
    const supervisors = new Supervisors({
      clock,
      log,
      dir,
      jobsDir: dir,
      home: dir,
      variables: {},
      platform: process.platform,
      maxOutputBytes: () => 1,
      onNotice: quiet,
      onLinked: async (_, link) => void (await link.ask({ do: 'list', after: '' })),
      onMissed: quiet,
      onGone: quiet,
      isUsed: () => true,
    });
    onTestFinished(() => supervisors.close());
    await supervisors.find();
    for (const [at, pauseMs] of [100, 200, 400, 800].entries()) {
      // What it was asked has failed, and nothing but the pause is waited for.
      await until(() => failed === at + 1 && clock.waiting === 1);
      clock.advance(pauseMs - 1);
      expect([links, clock.waiting]).toEqual([at + 1, 1]);
      clock.advance(1);
      await until(() => links === at + 2);
    }
  });
});

describe('a supervisor that still has a run which has ended, and which this node does not know', () => {
  it('is let go: nothing would tell of that end again', async () => {
    const supervisorsDir = await tempFolder();
    const id = 'b'.repeat(16);
    const ended = {
      ...{ v: 1, jobId: '01m7x7e0n6064yd7cxbw8r8wsn', command: 'true', args: [], cwd: '/', shell: false, user: 'u' },
      ...{ caller: 'owner', fromNodeId: 'n', host: 'h', createdAt: 1, startedAt: 1, endedAt: 2, durationMs: 1 },
      ...{ exitCode: 0, endedBy: 'exit', outputBytes: 0, detached: true, supervisor: id },
    };
    let isLeft = false;
    const entry = await startFake(id, (socket) => {
      socket.on('close', () => (isLeft = true));
      socket.on('data', (chunk: Buffer) => {
        for (const line of chunk.toString().trim().split('\n')) {
          const { n } = JSON.parse(line) as { n: number };
          socket.write(lineOf({ re: n, runs: [ended], more: false }));
        }
      });
    });
    await writeFile(join(supervisorsDir, `${id}.json`), JSON.stringify(entry));
    const { jobs } = await startJobs({}, { supervisorsDir });
    expect(await jobs.list({ state: 'all' }, OWNER)).toMatchObject({ jobs: [] });
    await until(() => isLeft);
  });
});

describe('a supervisor that is killed', () => {
  it('while a signal is on its way leaves unknown whether it got there', async () => {
    const setup = await startJobs();
    const { jobId } = await setup.jobs.execute(detached('sleep 30'), call());
    const supervisor = await supervisorOf(setup);
    process.kill(supervisor, 'SIGSTOP');
    const asked = setup.jobs.signal({ jobId, signal: 'SIGTERM' }, OWNER).catch((error: unknown) => error);
    process.kill(supervisor, 'SIGKILL');
    expect(await asked).toMatchObject({ error: 'outcome_unknown', hint: expect.stringContaining('loopsy jobs show') });
    await until(() => setup.jobs.get({ jobId }, OWNER).endedBy === 'lost');
  });
});

describe('a supervisor that lives and is not understood', () => {
  it.each([
    ['whose file is gone', async (file: string) => rm(file)],
    [
      'whose file can not be read',
      async (file: string) => {
        await rm(file);
        await mkdir(file);
      },
    ],
    [
      'whose file has a form of another version',
      async (file: string) => {
        const { pid, startedAt, token } = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
        await writeFile(file, JSON.stringify({ v: 2, pid, startedAt, token }));
      },
    ],
  ])('%s keeps its jobs to their end: none is killed or called lost', async (_, spoil) => {
    const clock = new FakeClock(Date.now());
    const first = await startJobs({}, { clock });
    const { jobId } = await first.jobs.execute(
      detached(`until [ -e ${first.home}/go ]; do sleep 0.02; done; exit 5`),
      call(),
    );
    const supervisor = await supervisorOf(first);
    await first.jobs.stop();
    await spoil(await entryFileOf(first));
    const { jobs } = await restart(first, { clock });
    expect([lives(supervisor), jobs.get({ jobId }, OWNER).state]).toEqual([true, 'running']);
    await writeFile(join(first.home, 'go'), '');
    await until(() => (clock.advance(100), jobs.get({ jobId }, OWNER).state === 'ended'));
    expect(jobs.get({ jobId }, OWNER)).toMatchObject({ endedBy: 'exit', exitCode: 5 });
  });

  it('is spoken with again when its file is readable again', async () => {
    const first = await startJobs();
    const { jobId } = await first.jobs.execute(detached('sleep 30'), call());
    const [file, aside] = [await entryFileOf(first), join(first.home, 'aside')];
    await rename(file, aside);
    const { jobs } = await restart(first);
    await expect(jobs.signal({ jobId, signal: 'SIGTERM' }, OWNER)).rejects.toMatchObject({ error: 'request_timeout' });
    await rename(aside, file);
    expect(await jobs.cancel({ jobId }, OWNER)).toMatchObject({ state: 'cancelled' });
  });

  it('that was killed since is found to be gone: its runs are lost, with their processes', async () => {
    const first = await startJobs();
    const { jobId } = await first.jobs.execute(detached('sleep 30'), call());
    const { pid = 0 } = first.jobs.get({ jobId }, OWNER);
    const supervisor = await supervisorOf(first);
    await rm(await entryFileOf(first));
    const { jobs } = await restart(first);
    process.kill(supervisor, 'SIGKILL');
    await until(() => jobs.get({ jobId }, OWNER).endedBy === 'lost');
    await until(() => !lives(pid));
  });
});
