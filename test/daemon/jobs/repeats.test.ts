import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { Repeats } from '../../../src/daemon/jobs/repeats.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { call, sh, startJobs, until } from './setup.ts';

const MINUTE_MS = 60_000;

describe('what a repeat is known by', () => {
  it('is kept for ten minutes, and says from the ninth on that it may have been forgotten', () => {
    const clock = new FakeClock();
    const repeats = new Repeats(clock);
    repeats.add('owner', 'one', { jobId: 'job', digest: 'd' });
    expect(repeats.find('owner', 'one')).toBe('job');
    expect(repeats.find('agent:a', 'one')).toBeUndefined();
    clock.advance(10 * MINUTE_MS);
    expect(repeats.find('owner', 'one')).toBeUndefined();
    expect(repeats.mayHaveForgotten(0)).toBe(false);
    expect(repeats.mayHaveForgotten(9 * MINUTE_MS)).toBe(false);
    expect(repeats.mayHaveForgotten(9 * MINUTE_MS + 1)).toBe(true);
  });

  it('is kept for ten minutes from when it was last said, and makes room in that order', () => {
    const clock = new FakeClock();
    const repeats = new Repeats(clock);
    const entry = { jobId: 'job', digest: 'd' };
    repeats.add('owner', 'long', entry);
    clock.advance(15 * MINUTE_MS);
    expect(repeats.find('owner', 'long')).toBeUndefined();
    repeats.add('owner', 'other', entry);
    repeats.add('owner', 'long', entry);
    clock.advance(9 * MINUTE_MS);
    expect(repeats.find('owner', 'long')).toBe('job');
    for (let at = 0; at < 49_999; at++) repeats.add('owner', String(at), entry);
    expect(repeats.find('owner', 'other')).toBeUndefined();
    expect(repeats.find('owner', 'long')).toBe('job');
  });

  it('may have been forgotten where a full table made room, but only by a repeat that is old enough for it', () => {
    const clock = new FakeClock();
    const repeats = new Repeats(clock);
    repeats.add('owner', 'first', { jobId: 'job', digest: 'd' });
    clock.advance(5 * MINUTE_MS);
    for (let at = 0; at < 50_000; at++) repeats.add('owner', String(at), { jobId: 'job', digest: 'd' });
    expect(repeats.find('owner', 'first')).toBeUndefined();
    expect(repeats.mayHaveForgotten(5 * MINUTE_MS)).toBe(true);
    expect(repeats.mayHaveForgotten(3 * MINUTE_MS)).toBe(false);
    clock.advance(5 * MINUTE_MS);
    expect(repeats.mayHaveForgotten(5 * MINUTE_MS)).toBe(false);
  });
});

describe('a repeat of a request', () => {
  it('of a detached run is answered no earlier than the first: once it is on disk, or with why it can not be', async () => {
    const store = openMemoryStore({ clock: systemClock });
    const { jobs } = await startJobs({}, { store });
    const first = call({ resumable: true, digest: 'a' });
    let refuse: () => void = () => undefined;
    const disk = new Promise<never>((_, reject) => (refuse = () => reject(new Error('the disk is gone'))));
    const commit = store.commit.bind(store);
    store.commit = () => disk;
    const starts = [first, { ...first, repeatAgeMs: 0 }].map((one) =>
      jobs.execute({ ...sh('echo ran'), detach: true }, one).then(
        () => 'answered',
        () => 'refused',
      ),
    );
    const early = await Promise.race([...starts, new Promise((resolve) => setTimeout(resolve, 300, 'waits'))]);
    expect(early).toBe('waits');
    store.commit = commit;
    refuse();
    expect(await Promise.all(starts)).toEqual(['refused', 'refused']);
  });

  it('of a run that could not begin hears so again, and nothing goes on behind it', async () => {
    const { jobs } = await startJobs();
    const first = call({ resumable: true, digest: 'a' });
    for (const repeat of [first, { ...first, repeatAgeMs: 0 }])
      await expect(jobs.execute({ command: 'no-such-program' }, repeat)).rejects.toMatchObject({
        error: 'execution_failed',
      });
    expect(jobs.counts()).toMatchObject({ active: 0, total: 1 });
  });

  it('joins its run for ten minutes from its end, however long it ran', async () => {
    const clock = new FakeClock();
    const { jobs, home } = await startJobs({}, { clock });
    const first = call({ resumable: true, digest: 'a' });
    const line = sh(`while [ ! -e ${home}/go ]; do sleep 0.02; done; echo ran`);
    const running = jobs.execute({ ...line, timeout: 0 }, first);
    await until(() => jobs.counts().active === 1);
    clock.advance(11 * MINUTE_MS);
    await writeFile(join(home, 'go'), '');
    const { jobId, stdout } = await running;
    expect(stdout).toBe('ran\n');
    clock.advance(9 * MINUTE_MS);
    const again = { ...first, repeatAgeMs: 8_000 };
    expect(await jobs.execute(sh('echo twice'), again)).toMatchObject({ jobId, stdout: 'ran\n' });
  });

  it('gets its run, and the same id with another input, which is none, neither that run nor one of its own', async () => {
    const { jobs } = await startJobs();
    const first = call({ resumable: true, digest: 'a' });
    const { jobId } = await jobs.execute(sh('echo ran'), first);
    expect(await jobs.execute(sh('echo ran'), first)).toMatchObject({ jobId, stdout: 'ran\n' });
    const used = { error: 'invalid_request', message: expect.stringContaining('used for another request') };
    await expect(jobs.execute(sh('echo other'), { ...first, digest: 'b' })).rejects.toMatchObject(used);
    await expect(jobs.stream(sh('echo other'), { ...first, digest: 'b' })).rejects.toMatchObject(used);
    expect((await jobs.list({ state: 'all' }, first.caller)).jobs).toHaveLength(1);
  });

  it('whose first attempt never arrived is carried out', async () => {
    const { jobs } = await startJobs();
    const repeat = call({ resumable: true, repeatAgeMs: 2_000 });
    expect(await jobs.execute(sh('echo ran'), repeat)).toMatchObject({ stdout: 'ran\n' });
  });

  it('whose run may be forgotten starts no second one', async () => {
    const { jobs } = await startJobs();
    const repeat = call({ resumable: true, repeatAgeMs: 9 * MINUTE_MS + 1 });
    await expect(jobs.execute(sh('true'), repeat)).rejects.toMatchObject({ error: 'outcome_unknown' });
    await expect(jobs.stream(sh('true'), repeat)).rejects.toMatchObject({ error: 'outcome_unknown' });
    expect((await jobs.list({ state: 'all' }, repeat.caller)).jobs).toEqual([]);
  });
});
