import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { StreamSource } from '../../../src/daemon/edge/call.ts';
import type { Jobs } from '../../../src/daemon/jobs/service.ts';
import { FRAME, isOutput } from '../../../src/protocol/frames.ts';
import { verifies } from '../../requirements.ts';
import { call, dataOf, endOf, OWNER, readAll, readUntil, runProgram, sh, startJobs, until } from './setup.ts';

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const pattern = (length: number): Buffer => {
  const block = Buffer.from(Array.from({ length: 65_521 }, (_, at) => at % 251));
  return Buffer.alloc(length, block);
};

const newest = async (jobs: Jobs): Promise<string> => (await jobs.list({ state: 'all' }, OWNER)).jobs[0]?.jobId ?? '';

const diskBytes = async (folder: string): Promise<number> => {
  // A segment that goes between the two looks counts for nothing.
  const sizeOf = (name: string): Promise<number> =>
    stat(join(folder, name)).then(
      ({ size }) => size,
      () => 0,
    );
  const sizes = await Promise.all((await readdir(folder)).map(sizeOf));
  return sizes.reduce((sum, size) => sum + size, 0);
};

const stored = (jobs: Jobs, jobId: string, since = 0): Promise<StreamSource> => jobs.output({ jobId, since }, OWNER);

describe('the output of a run', () => {
  it(verifies('jobs.bytes', 'is exact: every byte value on both streams, streamed and stored'), async () => {
    const { jobs } = await startJobs();
    const all = Buffer.from(Array.from({ length: 256 }, (_, at) => at));
    const line = `const b=Buffer.from(Array.from({length:256},(_,i)=>i));process.stdout.write(b);process.stderr.write(b)`;
    const live = await readAll(await jobs.stream({ command: process.execPath, args: ['-e', line] }, call()));
    expect([live.stdout, live.stderr]).toEqual([all, all]);
    const again = await readAll(await stored(jobs, await newest(jobs)));
    expect([again.stdout, again.stderr]).toEqual([all, all]);
    const buffered = await jobs.execute({ command: process.execPath, args: ['-e', line] }, call());
    expect(buffered).toMatchObject({ encoding: 'base64', stdout: all.toString('base64'), cursor: 512 });
  });

  it('is text where it is UTF-8, on both streams alike', async () => {
    const { jobs } = await startJobs();
    const text = await jobs.execute({ command: 'printf', args: ['grün ✓ 🦊'] }, call());
    expect(text).toMatchObject({ stdout: 'grün ✓ 🦊', stderr: '' });
    expect(text).not.toHaveProperty('encoding');
    const mixed = await jobs.execute(sh(`printf 'ok'; printf '\\377' >&2`), call());
    expect(mixed).toMatchObject({ encoding: 'base64', stdout: 'b2s=', stderr: '/w==' });
  });

  it('holds 5000 interleaved pieces, each stream in its order, started first and exit last', async () => {
    const { jobs } = await startJobs();
    const read = await readAll(await jobs.stream(runProgram('interleave', '5000'), call()));
    const numbers = (rest: number): string => Array.from({ length: 2500 }, (_, at) => `${at * 2 + rest};`).join('');
    expect(read.stdout.toString()).toBe(numbers(0));
    expect(read.stderr.toString()).toBe(numbers(1));
    expect(read.types[0]).toBe(FRAME.started);
    expect(read.types.at(-1)).toBe(FRAME.exit);
    expect(read.types.slice(1, -1).every(isOutput)).toBe(true);
    expect(endOf(read)).toMatchObject({ exitCode: 0, endedBy: 'exit' });
  });

  it('can be resumed at every cursor, exactly, while it runs, after its end, and after a restart', async () => {
    const { jobs, dir, store } = await startJobs();
    const live = await jobs.stream(sh('cat; sleep 0.4; printf END'), call());
    await readAll(live);
    const source = await jobs.stream(runProgram('pattern', '300000'), call());
    const whole = await readAll(source);
    const jobId = await newest(jobs);
    expect(sha(whole.stdout)).toBe(sha(pattern(300_000)));
    const resumesExactly = async (from: Jobs): Promise<void> => {
      const property = fc.asyncProperty(fc.nat(300_000), async (since) => {
        const rest = await readAll(await stored(from, jobId, since));
        expect(rest.stdout.equals(whole.stdout.subarray(since))).toBe(true);
        expect(rest.cursor).toBe(300_000);
      });
      await fc.assert(property, { numRuns: 40 });
    };
    await resumesExactly(jobs);
    await jobs.stop();
    const { jobs: next } = await startJobs({}, { dir, store });
    await resumesExactly(next);
  });

  it('reaches followers that come at different times, each with its own cursor', async () => {
    const { jobs } = await startJobs();
    const first = await jobs.stream(sh('printf one; sleep 0.3; printf two; sleep 0.2; printf three'), call());
    await readUntil(first, /one/);
    const second = await stored(jobs, await newest(jobs), 1);
    await readUntil(first, /two/);
    const third = await stored(jobs, await newest(jobs), 6);
    const [b, c] = await Promise.all([readAll(second), readAll(third), readAll(first)]);
    expect(b.stdout.toString()).toBe('netwothree');
    expect(c.stdout.toString()).toBe('three');
  });

  it('in a buffered answer is its first 4 MiB, with the cursor of the rest', { timeout: 20_000 }, async () => {
    const { jobs } = await startJobs();
    const total = 20 * 1_048_576;
    const result = await jobs.execute(runProgram('pattern', String(total)), call());
    expect(result).toMatchObject({ truncated: true, exitCode: 0, cursor: 4 * 1_048_576, encoding: 'base64' });
    const rest = await readAll(await stored(jobs, result.jobId, result.cursor ?? 0));
    const whole = Buffer.concat([Buffer.from(result.stdout, 'base64'), rest.stdout]);
    expect(sha(whole)).toBe(sha(pattern(total)));
  });

  it('in a cut buffered answer never ends inside a character', { timeout: 20_000 }, async () => {
    const { jobs } = await startJobs();
    const result = await jobs.execute(sh(`printf x; yes '€€€€' | tr -d '\\n' | head -c 18000000`), call());
    expect(result.truncated).toBe(true);
    expect(result).not.toHaveProperty('encoding');
    expect(result.stdout.endsWith('€')).toBe(true);
    expect(Buffer.byteLength(result.stdout)).toBe(result.cursor);
  });

  it('of a silent run makes no file', async () => {
    const { jobs, dir } = await startJobs();
    await jobs.execute(sh('true'), call());
    await jobs.stop();
    expect(await readdir(dir)).toEqual([]);
  });
});

describe('the window', () => {
  it(verifies(['jobs.window', 'config.jobs.maxOutputBytes'], 'bounds the disk, and says what went'), async () => {
    const { jobs, dir } = await startJobs({ maxOutputBytes: 1_000_000 });
    const whole = await readAll(await jobs.stream(runProgram('pattern', '8000000'), call()));
    expect(sha(whole.stdout)).toBe(sha(pattern(8_000_000)));
    const jobId = await newest(jobs);
    await until(
      async () => jobs.get({ jobId }, OWNER).truncated === true && (await diskBytes(join(dir, jobId))) <= 1_000_000,
    );
    await jobs.stop();
    const { jobs: next } = await startJobs({ maxOutputBytes: 1_000_000 }, { dir });
    expect(next.counts().active).toBe(0);
  });

  it('answers a cursor that is gone with a gap, and goes on exactly behind it', async () => {
    const { jobs, dir, store } = await startJobs({ maxOutputBytes: 1_000_000 });
    await readAll(await jobs.stream(runProgram('pattern', '8000000'), call()));
    const jobId = await newest(jobs);
    await jobs.stop();
    const { jobs: next } = await startJobs({}, { dir, store });
    const read = await readAll(await stored(next, jobId, 1000));
    const [, gap] = read.notes;
    expect(gap?.type).toBe(FRAME.gap);
    const to = Number(gap?.data['to']);
    expect(gap?.data).toEqual({ from: 1000, to });
    expect(to).toBeGreaterThan(7_000_000);
    expect(to).toBeLessThanOrEqual(7_250_000);
    expect(read.stdout.equals(pattern(8_000_000).subarray(to))).toBe(true);
    expect(next.get({ jobId }, OWNER)).toMatchObject({ truncated: true, outputBytes: 8_000_000 });
  });

  it('can be changed while a run goes on', async () => {
    const { jobs, dir, settings } = await startJobs({ maxOutputBytes: 100_000_000 });
    const source = await jobs.stream(sh('head -c 3000000 /dev/zero; sleep 0.4; head -c 3000000 /dev/zero'), call());
    const folder = join(dir, await newest(jobs));
    const read = readAll(source);
    await until(
      async () => (await readdir(folder).catch(() => [])).length > 0 && (await diskBytes(folder)) > 2_900_000,
    );
    settings.maxOutputBytes = 500_000;
    await read;
    await until(async () => (await diskBytes(folder)) <= 1_000_000);
  });

  it('a slow watcher loses the oldest, and never slows the run', async () => {
    const { jobs } = await startJobs({ maxOutputBytes: 1_000_000 });
    const source = await jobs.stream(sh('sleep 0.2; head -c 20000000 /dev/zero'), call());
    const watcher = await stored(jobs, await newest(jobs));
    expect(dataOf(await watcher.next())).toMatchObject({ state: 'running' });
    expect((await readAll(source)).stdout.length).toBe(20_000_000);
    const read = await readAll(watcher);
    expect(read.notes[0]?.type).toBe(FRAME.gap);
    expect(read.cursor).toBe(20_000_000);
  });
});

describe('the pace', () => {
  it(
    verifies('jobs.back-pressure', 'is set by the reader of the run: it waits a little over 512 KiB ahead'),
    async () => {
      const { jobs } = await startJobs();
      const source = await jobs.stream({ command: 'head', args: ['-c', '50000000', '/dev/zero'] }, call());
      const jobId = await newest(jobs);
      await until(() => jobs.get({ jobId }, OWNER).outputBytes > 524_288);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(jobs.get({ jobId }, OWNER).outputBytes).toBeLessThan(1_000_000);
      expect((await readAll(source)).stdout.length).toBe(50_000_000);
    },
  );

  it('holds for pieces of one byte too', async () => {
    const { jobs } = await startJobs();
    const source = await jobs.stream(runProgram('interleave', '400000'), call());
    const jobId = await newest(jobs);
    await new Promise((resolve) => setTimeout(resolve, 800));
    const read = await readAll(source);
    expect(read.stdout.length + read.stderr.length).toBe(jobs.get({ jobId }, OWNER).outputBytes);
    expect(read.types).not.toContain(FRAME.gap);
  });

  it('an endless run ends when its reader has enough', async () => {
    const { jobs } = await startJobs();
    const source = await jobs.stream({ command: 'yes' }, call());
    const jobId = await newest(jobs);
    const read = await readAll(source, (piece) => piece.cursor > 100_000);
    expect(read.stdout.toString()).toMatch(/^(y\n)+y?$/);
    await until(() => jobs.get({ jobId }, OWNER).state === 'ended');
    expect(jobs.get({ jobId }, OWNER).endedBy).toBe('client-gone');
  });
});
