import { describe, expect, it } from 'vitest';

import { call, endOf, OWNER, readAll, sh, startJobs, until } from './setup.ts';

describe('a detached run', () => {
  it('is answered at once, goes on, and its output and end are read like those of any other', async () => {
    const { jobs } = await startJobs();
    const t0 = performance.now();
    const answer = await jobs.execute({ ...sh('echo one; sleep 0.3; echo two >&2; exit 3'), detach: true }, call());
    console.log('answered', performance.now() - t0);
    console.log(jobs.get({ jobId: answer.jobId }, OWNER));
    expect(answer).toMatchObject({ state: 'running', detached: true, exitCode: null });
    expect(answer).not.toHaveProperty('endedBy');
    const t1 = performance.now();
    const again = await jobs.execute({ ...sh('true'), detach: true }, call());
    console.log('answered again', performance.now() - t1, again.state);
    const read = await readAll(await jobs.output({ jobId: answer.jobId }, OWNER));
    expect([read.stdout.toString(), read.stderr.toString()]).toEqual(['one\n', 'two\n']);
    expect(endOf(read)).toMatchObject({ exitCode: 3, endedBy: 'exit' });
    await until(() => jobs.counts().active === 0);
    expect(jobs.get({ jobId: answer.jobId }, OWNER)).toMatchObject({ detached: true, exitCode: 3, state: 'ended' });
  });
});
