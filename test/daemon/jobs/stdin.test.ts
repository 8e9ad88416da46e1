import { PassThrough, Readable } from 'node:stream';

import { describe, expect, it } from 'vitest';

import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';
import { call, dataOf, endOf, OWNER, readAll, readUntil, sh, startJobs, until } from './setup.ts';

describe('the stdin of a run', () => {
  it(verifies('jobs.stdin', 'is empty and closed where none is given: nothing waits for it'), async () => {
    const { jobs } = await startJobs();
    expect(await jobs.execute({ command: 'cat' }, call())).toMatchObject({ stdout: '', exitCode: 0 });
    expect(await jobs.execute({ command: 'cat', stdin: '' }, call())).toMatchObject({ stdout: '', exitCode: 0 });
  });

  it('is the given text, whole, however long', async () => {
    const { jobs } = await startJobs();
    const text = 'grün✓\n'.repeat(100_000);
    expect((await jobs.execute({ command: 'cat', stdin: text }, call())).stdout).toBe(text);
  });

  it('may be left unread: a process that closes it is no error', async () => {
    const { jobs } = await startJobs();
    const stdin = 'x'.repeat(4_000_000);
    expect(await jobs.execute({ ...sh('head -c 3'), stdin }, call())).toMatchObject({ stdout: 'xxx', exitCode: 0 });
    expect(await jobs.execute({ ...sh('exec 0<&-; sleep 0.1; echo ok'), stdin }, call())).toMatchObject({
      stdout: 'ok\n',
    });
  });

  it('can be streamed, byte for byte; its end closes it', async () => {
    const { jobs } = await startJobs();
    const bytes = Buffer.alloc(3_000_000, Buffer.from(Array.from({ length: 256 }, (_, at) => at)));
    const source = await jobs.stream({ command: 'cat', stdinStream: true }, call());
    const jobId = String(dataOf(await source.next())['jobId']);
    const body = Readable.from(
      (function* () {
        for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
      })(),
    );
    const [read, answer] = await Promise.all([readAll(source), jobs.stdin({ jobId }, call({ body }))]);
    expect(read.stdout.equals(bytes)).toBe(true);
    expect(answer).toEqual({ success: true, jobId, bytes: bytes.length });
  });

  it('has one writer: a second one is a conflict, and so is one where none was announced', async () => {
    const { jobs } = await startJobs();
    const source = await jobs.stream({ command: 'cat', stdinStream: true }, call());
    const jobId = String(dataOf(await source.next())['jobId']);
    const body = new PassThrough();
    const first = jobs.stdin({ jobId }, call({ body }));
    await expect(jobs.stdin({ jobId }, call({ body: Readable.from(['no']) }))).rejects.toMatchObject({
      error: 'conflict',
    });
    body.end('yes');
    await first;
    expect((await readAll(source)).stdout.toString()).toBe('yes');
    const plain = await jobs.stream(sh('sleep 30'), call());
    const other = String(dataOf(await plain.next())['jobId']);
    await expect(jobs.stdin({ jobId: other }, call({ body: Readable.from(['no']) }))).rejects.toMatchObject({
      error: 'conflict',
    });
    plain.close();
  });

  it('is closed after 30 s without a writer', async () => {
    const clock = new FakeClock();
    const { jobs } = await startJobs({}, { clock });
    const source = await jobs.stream({ command: 'cat', stdinStream: true }, call());
    await source.next();
    clock.advance(29_000);
    expect(jobs.counts().active).toBe(1);
    clock.advance(1_001);
    expect(endOf(await readAll(source))).toMatchObject({ exitCode: 0, endedBy: 'exit' });
  });

  it('that is cut before its end ends the run: half an input must not pass for a whole one', async () => {
    const { jobs } = await startJobs();
    const source = await jobs.stream({ command: 'cat', stdinStream: true }, call());
    const jobId = String(dataOf(await source.next())['jobId']);
    const body = new PassThrough();
    body.write('half');
    const answer = jobs.stdin({ jobId }, call({ body }));
    await readUntil(source, /half/);
    body.destroy();
    await expect(answer).rejects.toMatchObject({ error: 'invalid_request' });
    expect(endOf(await readAll(source))).toMatchObject({ endedBy: 'client-gone', exitCode: null });
  });

  it('a writer is let go when the run ends, though its own input goes on', async () => {
    const { jobs } = await startJobs();
    const source = await jobs.stream({ ...sh('head -c 1'), stdinStream: true }, call());
    const jobId = String(dataOf(await source.next())['jobId']);
    const body = new PassThrough();
    body.write('abc');
    expect(await jobs.stdin({ jobId }, call({ body }))).toMatchObject({ success: true, bytes: 3 });
    expect(body.destroyed).toBe(false);
    expect((await readAll(source)).stdout.toString()).toBe('a');
  });

  it('of a waiting run waits with it', async () => {
    const { jobs } = await startJobs({ maxConcurrent: 1 });
    const first = await jobs.stream(sh('sleep 30'), call());
    const second = await jobs.stream({ command: 'cat', stdinStream: true }, call());
    const jobId = String(dataOf(await second.next())['jobId']);
    const answer = jobs.stdin({ jobId }, call({ body: Readable.from(['later']) }));
    first.close();
    expect((await readAll(second)).stdout.toString()).toBe('later');
    expect(await answer).toMatchObject({ bytes: 5 });
    expect(jobs.get({ jobId }, OWNER).state).toBe('ended');
    expect(await jobs.stdin({ jobId }, call({ body: Readable.from(['late']) }))).toMatchObject({ bytes: 0 });
    await until(() => jobs.counts().active === 0);
  });
});
