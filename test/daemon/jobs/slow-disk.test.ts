import { describe, expect, it, onTestFinished } from 'vitest';

import { Segment } from '../../../src/daemon/process/segment.ts';
import type { ExecuteResult } from '../../../src/protocol/jobs.ts';
import { call, OWNER, readUntil, type Setup, sh, startJobs, until } from './setup.ts';

const BOUND_BYTES = 32 * 1_048_576;
const RUN_BYTES = 900_000;
const RUNS = 60;

/** A disk that takes nothing until it is told how to go on. */
class StalledDisk {
  #go: () => void = () => undefined;
  readonly #gate = new Promise<void>((resolve) => (this.#go = resolve));
  #fault: Error | undefined;

  /** It works again; or all that waited fails, and what comes. */
  release(fault?: Error): void {
    this.#fault = fault;
    this.#go();
  }

  readonly createSegment = async (dir: string, start: number): Promise<Segment> => {
    await this.#gate;
    if (this.#fault !== undefined) throw this.#fault;
    return Segment.create(dir, start);
  };
}

const startStalled = async (): Promise<Setup & { disk: StalledDisk }> => {
  const disk = new StalledDisk();
  onTestFinished(() => disk.release());
  return { disk, ...(await startJobs({ maxConcurrent: 4 }, { createSegment: disk.createSegment })) };
};

/** More short runs than may wait for the disk. */
const startMany = ({ jobs }: Setup): { results: Promise<ExecuteResult[]>; ended: () => number } => {
  let ended = 0;
  const one = async (): Promise<ExecuteResult> => {
    const result = await jobs.execute(sh(`head -c ${RUN_BYTES} /dev/zero | tr '\\0' x`), call());
    ended += 1;
    return result;
  };
  return { results: Promise.all(Array.from({ length: RUNS }, one)), ended: () => ended };
};

const full = ({ log }: Setup): Promise<void> => until(() => log.lines.includes('runs wait for the disk'));

/** Waits until nothing has happened for a while. */
const standstill = async (count: () => number): Promise<void> => {
  let seen = Number.NaN;
  let still = 0;
  await until(() => {
    still = count() === seen ? still + 1 : 0;
    seen = count();
    return still === 40;
  });
};

describe('behind a disk that stalls', () => {
  it('many short runs fill a bounded memory; the next ones wait, and all are whole when it works again', async () => {
    const setup = await startStalled();
    const { results, ended } = startMany(setup);
    await full(setup);
    await standstill(ended);
    expect(ended() * RUN_BYTES).toBeGreaterThan(BOUND_BYTES * 0.9);
    expect(ended() * RUN_BYTES).toBeLessThan(BOUND_BYTES + 5 * RUN_BYTES);
    const { active, queued } = setup.jobs.counts();
    expect([active <= 4, active + queued]).toEqual([true, RUNS - ended()]);
    setup.disk.release();
    for (const { stdout, truncated } of await results) {
      expect([stdout.length, truncated]).toEqual([RUN_BYTES, undefined]);
    }
    const { jobs } = await setup.jobs.list({ state: 'all', limit: 1000 }, OWNER);
    expect(jobs.filter(({ truncated }) => truncated === true)).toEqual([]);
  });

  it('and then fails, what waited is given up: the next runs start, and each says that its output is cut', async () => {
    const setup = await startStalled();
    const { results, ended } = startMany(setup);
    await full(setup);
    await standstill(ended);
    setup.disk.release(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
    // Who reads along gets everything.
    for (const { stdout } of await results) expect(stdout.length).toBe(RUN_BYTES);
    const truncated = async (): Promise<number> =>
      (await setup.jobs.list({ state: 'all', limit: 1000 }, OWNER)).jobs.filter((job) => job.truncated === true).length;
    await until(async () => (await truncated()) === RUNS);
  });

  it('a run that goes on waits too, can be ended at once, and a full queue says why', async () => {
    const setup = await startStalled();
    const [talker, victim] = await Promise.all(
      [1, 2].map(() => setup.jobs.stream(sh('echo $$; while :; do echo tick; sleep 0.01; done'), call())),
    );
    if (talker === undefined || victim === undefined) throw new Error('unreachable');
    await Promise.all([readUntil(talker, /tick/), readUntil(victim, /tick/)]);
    const { results } = startMany(setup);
    await full(setup);
    const ids = (await setup.jobs.list({}, OWNER)).jobs
      .filter(({ command }) => command.includes('tick'))
      .map((job) => job.jobId);
    let ticks = 0;
    const listening = (async () => {
      for (let piece = await talker.next(); piece !== undefined; piece = await talker.next()) ticks += 1;
    })();
    await standstill(() => ticks);
    const seen = ticks;
    const [first = '', second = ''] = ids;
    expect(await setup.jobs.cancel({ jobId: second }, OWNER)).toMatchObject({ state: 'cancelled' });
    expect(setup.jobs.get({ jobId: second }, OWNER)).toMatchObject({ state: 'ended', endedBy: 'cancel' });
    setup.settings.maxQueued = 1;
    await expect(setup.jobs.execute(sh('true'), call())).rejects.toMatchObject({
      error: 'too_many_jobs',
      message: expect.stringContaining('for a slow disk'),
    });
    setup.disk.release();
    await until(() => ticks > seen);
    await results;
    await setup.jobs.cancel({ jobId: first }, OWNER);
    await listening;
  });
});
