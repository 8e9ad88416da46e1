import { describe, expect, it } from 'vitest';

import { systemClock } from '../../../src/kernel/clock.ts';
import { FRAME } from '../../../src/protocol/frames.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';
import { call, dataOf, endOf, keyCaller, OWNER, readAll, readUntil, sh, startJobs, until } from './setup.ts';

const active = { state: 'active' } as const;

describe('who may see and end a run', () => {
  it(verifies('trust.owners', 'the caller that started it, and the owner: for others it is not there'), async () => {
    const { jobs } = await startJobs();
    const mine = keyCaller('mine');
    const source = await jobs.stream(sh('sleep 30'), call({ caller: mine }));
    const jobId = String(dataOf(await source.next())['jobId']);
    const stranger = keyCaller('other');
    const ref = { jobId };
    expect((await jobs.list(active, stranger)).jobs).toEqual([]);
    expect(() => jobs.get(ref, stranger)).toThrow(`no job has the id ${jobId}`);
    await expect(jobs.signal({ jobId, signal: 'SIGKILL' }, stranger)).rejects.toThrow('no job');
    await expect(jobs.output(ref, stranger)).rejects.toMatchObject({ error: 'job_not_found' });
    await expect(jobs.cancel(ref, stranger)).rejects.toMatchObject({ error: 'job_not_found' });
    await expect(jobs.stdin(ref, call({ caller: stranger }))).rejects.toMatchObject({ error: 'job_not_found' });
    expect(jobs.get(ref, mine)).toMatchObject({ caller: 'key:mine', state: 'running' });
    expect(jobs.get(ref, OWNER)).toMatchObject({ jobId, fromNodeId: 'a'.repeat(32) });
    expect(await jobs.cancel(ref, mine)).toMatchObject({ state: 'cancelled' });
    expect(() => jobs.get(ref, stranger)).toThrow('no job');
    await readAll(source);
  });

  it('a run of a peer belongs to its machine and names the node that asked', async () => {
    const { jobs } = await startJobs();
    const peer = (nodeId: string) => ({ kind: 'peer', machineId: 'm'.repeat(32), nodeId, grant: {} as never }) as const;
    const { jobId } = await jobs.execute(sh('true'), call({ caller: peer('b'.repeat(32)) }));
    expect(jobs.get({ jobId }, peer('c'.repeat(32)))).toMatchObject({
      fromNodeId: 'b'.repeat(32),
      caller: `peer:${'m'.repeat(32)}`,
    });
  });
});

describe('lists', () => {
  it('are newest first, by cursor, over runs that go on and stored ones, without a doubled or lost row', async () => {
    const { jobs } = await startJobs({ maxConcurrent: 2 });
    const ids: string[] = [];
    for (let at = 0; at < 7; at++) ids.unshift((await jobs.execute(sh('true'), call())).jobId);
    const running = await jobs.stream(sh('sleep 30'), call());
    ids.unshift(String(dataOf(await running.next())['jobId']));
    await new Promise((resolve) => setTimeout(resolve, 250));
    for (let at = 0; at < 2; at++) ids.unshift((await jobs.execute(sh('true'), call())).jobId);
    const seen: string[] = [];
    for (let cursor: string | undefined; ;) {
      const page = await jobs.list({ state: 'all', limit: 3, ...(cursor === undefined ? {} : { cursor }) }, OWNER);
      seen.push(...page.jobs.map(({ jobId }) => jobId));
      cursor = page.nextCursor;
      if (cursor === undefined) break;
    }
    expect(seen).toEqual(ids);
    expect((await jobs.list({}, OWNER)).jobs.map(({ state }) => state)).toEqual(['running']);
    running.close();
  });

  it('of many rows are read in steps, with turns of the event loop between them', { timeout: 20_000 }, async () => {
    const store = openMemoryStore({ clock: systemClock });
    const { jobs } = await startJobs({}, { store });
    const { jobId } = await jobs.execute(sh('true'), call());
    const row = { v: 1, command: 'true', args: [], cwd: '/', shell: false, fromNodeId: 'a', host: 'h', user: 'u' };
    const ids = Array.from({ length: 900 }, (_, at) => String(at).padStart(jobId.length, '0')).reverse();
    await store.commit(
      ids.map((id, at) => ({
        put: `job/${id}`,
        value: JSON.stringify({
          ...row,
          jobId: id,
          createdAt: 1,
          outputBytes: 0,
          caller: at % 4 === 0 ? 'key:k' : 'owner',
        }),
      })),
      { durability: 'later' },
    );
    const listed = async (limit: number): Promise<{ ids: string[]; pages: number }> => {
      const seen: string[] = [];
      for (let cursor: string | undefined, pages = 1; ; pages++) {
        const page = await jobs.list(
          { state: 'all', limit, ...(cursor === undefined ? {} : { cursor }) },
          keyCaller('k'),
        );
        seen.push(...page.jobs.map((job) => job.jobId));
        cursor = page.nextCursor;
        if (cursor === undefined) return { ids: seen, pages };
      }
    };
    let turns = 0;
    const count = (): void => {
      turns += 1;
      next = setImmediate(count);
    };
    let next = setImmediate(count);
    const own = ids.filter((_, at) => at % 4 === 0);
    expect(await listed(1_000)).toEqual({ ids: own, pages: 1 });
    clearImmediate(next);
    expect(turns).toBeGreaterThan(5);
    expect((await listed(7)).ids).toEqual(own);
    expect((await listed(150)).ids).toEqual(own);
  });

  it('show long command lines shortened, so that a page stays small', async () => {
    const { jobs } = await startJobs();
    const { jobId } = await jobs.execute({ command: 'true', args: ['x'.repeat(100_000), 'y', 'z'] }, call());
    const row = jobs.get({ jobId }, OWNER);
    expect(row.args[0]?.length).toBeLessThan(2_100);
    expect(row.args.at(-1)).toBe('… 2 more');
  });
});

describe('the queue', () => {
  const title = 'lets maxConcurrent run; the next wait in order and say their place; above maxQueued 3003';
  it(verifies(['config.execution.maxConcurrent', 'config.execution.maxQueued'], title), async () => {
    const { jobs, settings } = await startJobs({ maxConcurrent: 1, maxQueued: 2 });
    const first = await jobs.stream(sh('sleep 30'), call());
    const waiting = [await jobs.stream(sh('echo a'), call()), await jobs.stream(sh('echo b'), call())];
    const notes = await Promise.all(waiting.map((source) => source.next()));
    expect(notes.map((piece) => dataOf(piece)['state'])).toEqual(['queued', 'queued']);
    const rows = (await jobs.list({}, OWNER)).jobs.map(({ state, place }) => [state, place]);
    expect(rows).toEqual([
      ['queued', 2],
      ['queued', 1],
      ['running', undefined],
    ]);
    await expect(jobs.stream(sh('echo c'), call())).rejects.toMatchObject({ error: 'too_many_jobs', code: 3003 });
    settings.maxConcurrent = 2;
    jobs.refresh();
    const read = await readAll(waiting[0] ?? first);
    expect(read.stdout.toString()).toBe('a\n');
    expect(read.types.at(0)).toBe(FRAME.started);
    expect(read.notes[0]?.data).toMatchObject({ state: 'running' });
    expect((await readAll(waiting[1] ?? first)).stdout.toString()).toBe('b\n');
    first.close();
  });

  it('is left by a run whose client goes, without having run', async () => {
    const { jobs, home } = await startJobs({ maxConcurrent: 1 });
    const first = await jobs.stream(sh('sleep 30'), call());
    const gone = new AbortController();
    const buffered = jobs.execute(sh(`touch ${home}/ran`), call({ signal: gone.signal }));
    const streamed = await jobs.stream(sh(`touch ${home}/ran`), call());
    await until(() => jobs.counts().queued === 2);
    gone.abort('client-gone');
    streamed.close();
    expect(await buffered).toMatchObject({ endedBy: 'client-gone', exitCode: null, duration: 0 });
    expect(jobs.counts()).toMatchObject({ active: 1 });
    first.close();
    await until(() => jobs.counts().active === 0);
    const check = await jobs.execute(sh(`ls ${home}`), call());
    expect(check.stdout).not.toContain('ran');
  });

  it('tells a follower what kept a waiting run from starting', async () => {
    const { jobs } = await startJobs({ maxConcurrent: 1 });
    const first = await jobs.stream(sh('sleep 30'), call());
    const second = await jobs.stream({ command: 'no-such-program' }, call());
    await second.next();
    first.close();
    const read = await readAll(second);
    expect(read.types).toEqual([FRAME.error]);
    expect(read.notes[0]?.data).toMatchObject({ error: { name: 'execution_failed', code: 3004 } });
  });
});

describe('a lost connection', () => {
  it('ends a run at once where its caller can not repeat the request', async () => {
    const { jobs } = await startJobs();
    const source = await jobs.stream(sh('sleep 30'), call());
    const jobId = String(dataOf(await source.next())['jobId']);
    source.close();
    await until(() => jobs.get({ jobId }, OWNER).state === 'ended');
    expect(jobs.get({ jobId }, OWNER)).toMatchObject({ endedBy: 'client-gone', signal: 'SIGTERM' });
    expect(await source.next()).toBeUndefined();
  });

  it('of a resumable call is waited for 10 s, then the run ends as client-gone', async () => {
    const clock = new FakeClock();
    const { jobs } = await startJobs({}, { clock });
    const source = await jobs.stream(sh('sleep 30'), call({ resumable: true }));
    const jobId = String(dataOf(await source.next())['jobId']);
    source.close();
    clock.advance(9_900);
    expect(jobs.get({ jobId }, OWNER).state).toBe('running');
    clock.advance(200);
    await until(() => {
      clock.advance(25);
      return jobs.get({ jobId }, OWNER).state === 'ended';
    });
    expect(jobs.get({ jobId }, OWNER).endedBy).toBe('client-gone');
  });

  it('is mended by a repeat of the request: it joins the run, from its first byte', async () => {
    const { jobs, home } = await startJobs();
    const request = call({ resumable: true, requestId: 'f'.repeat(32) });
    const line = sh(`echo run >> ${home}/runs; echo one; sleep 0.3; echo two`);
    const source = await jobs.stream(line, request);
    await readUntil(source, /one/);
    source.close();
    const read = await readAll(await jobs.stream(line, request));
    expect(read.stdout.toString()).toBe('one\ntwo\n');
    expect(endOf(read)).toMatchObject({ endedBy: 'exit', exitCode: 0 });
    const late = await readAll(await jobs.stream(line, request));
    expect(late.stdout.toString()).toBe('one\ntwo\n');
    expect(await jobs.execute(line, request)).toMatchObject({ stdout: 'one\ntwo\n', exitCode: 0 });
    expect((await jobs.execute(sh(`cat ${home}/runs`), call())).stdout).toBe('run\n');
  });

  it('is mended by reading on from a cursor; nothing is lost meanwhile, however much there is', async () => {
    const { jobs } = await startJobs({ maxOutputBytes: 1_000_000 });
    const source = await jobs.stream(
      { command: 'head', args: ['-c', '9000000', '/dev/zero'] },
      call({ resumable: true }),
    );
    const before = await readAll(source, (piece) => piece.cursor > 2_000_000);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { jobId } = (await jobs.list({}, OWNER)).jobs[0] ?? { jobId: '' };
    const after = await readAll(await jobs.output({ jobId, since: before.cursor }, OWNER));
    expect(after.types).not.toContain(FRAME.gap);
    expect(before.stdout.length + after.stdout.length).toBe(9_000_000);
  });

  it('that the caller notices first goes over to its new reader', async () => {
    const { jobs } = await startJobs();
    const source = await jobs.stream(sh('sleep 0.3; echo end'), call({ resumable: true }));
    const jobId = String(dataOf(await source.next())['jobId']);
    const next = await jobs.output({ jobId }, OWNER);
    source.close();
    expect((await readAll(next)).stdout.toString()).toBe('end\n');
  });

  it('of a reader that did not start the run changes nothing', async () => {
    const { jobs } = await startJobs();
    const source = await jobs.stream(sh('echo x; sleep 0.2; echo y'), call());
    const jobId = String(dataOf(await source.next())['jobId']);
    const watcher = await jobs.output({ jobId }, OWNER);
    await watcher.next();
    watcher.close();
    expect(endOf(await readAll(source))).toMatchObject({ endedBy: 'exit', exitCode: 0 });
  });

  it('a repeat by another caller starts a run of its own', async () => {
    const { jobs } = await startJobs();
    const requestId = 'e'.repeat(32);
    const first = await jobs.execute(sh('true'), call({ resumable: true, requestId, caller: keyCaller('a') }));
    const second = await jobs.execute(sh('true'), call({ resumable: true, requestId, caller: keyCaller('b') }));
    expect(second.jobId).not.toBe(first.jobId);
  });

  it('a request whose answer is cut again and again runs its command once', async () => {
    const { jobs, home } = await startJobs();
    const request = call({ resumable: true, requestId: 'd'.repeat(32) });
    const line = sh(`echo run >> ${home}/runs; sleep 0.2; echo done`);
    for (let cut = 0; cut < 200; cut++) {
      const source = await jobs.stream(line, { ...request, signal: new AbortController().signal });
      await source.next();
      source.close();
    }
    expect((await readAll(await jobs.stream(line, request))).stdout.toString()).toBe('done\n');
    expect((await jobs.execute(sh(`cat ${home}/runs`), call())).stdout).toBe('run\n');
  });
});
