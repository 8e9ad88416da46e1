import { setImmediate } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { FRAME } from '../../../src/protocol/frames.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { verifies } from '../../requirements.ts';
import { FakeNode, JOB_ID, OUTCOME, STARTED, type Answering } from '../fake-node.ts';
import { runCli } from '../run-cli.ts';

const OTHER_ID = '01j8zq0v3m8k2t4n6p8r0s2v5x';
const JOB = {
  jobId: JOB_ID, command: 'make', args: [], cwd: '/', shell: false, state: 'running', createdAt: 1, fromNodeId: 'a'.repeat(32),
  caller: 'owner', outputBytes: 0, host: 'maria', user: 'maria',
}; // prettier-ignore

/** The events of a run that ends with `codes[jobId]`. */
const ending =
  (codes: Readonly<Record<string, number>>) =>
  ({ response, input }: Answering): void => {
    const jobId = String(input['jobId']);
    const event = (type: string, data: object): string =>
      `id: ${String(input['since'])}\ndata: ${JSON.stringify({ type, data, jobId, timestamp: 1 })}\n\n`;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(event('started', { ...STARTED, jobId }));
    response.end(event('exit', { ...OUTCOME, jobId, exitCode: codes[jobId] ?? 0 }));
  };

describe('jobs list', () => {
  it('shows what is detached, and where it stands', async () => {
    const jobs = [
      { ...JOB, detached: true },
      { ...JOB, jobId: OTHER_ID, state: 'queued', place: 3, detached: true },
    ];
    const node = await FakeNode.start({ 'job.list': () => ({ jobs }) });
    const { stdout } = await runCli(['jobs'], { dataDir: node.folder });
    expect(stdout).toContain('running, detached');
    expect(stdout).toContain('queued (3), detached');
  });
});

describe('jobs wait', () => {
  it(verifies('cli.jobs-wait', 'exits as the run did, and reads none of its output'), async () => {
    const node = await FakeNode.start({ 'job.output': ending({ [JOB_ID]: 7 }) });
    expect(await runCli(['jobs', 'wait', JOB_ID], { dataDir: node.folder })).toEqual({
      code: 7,
      stdout: '',
      stderr: '',
    });
    expect(node.inputs('job.output')).toEqual([{ jobId: JOB_ID, since: Number.MAX_SAFE_INTEGER }]);
    const json = await runCli(['jobs', 'wait', JOB_ID, '--json', '--peer', 'maria'], { dataDir: node.folder });
    expect(JSON.parse(json.stdout)).toMatchObject({ type: 'exit', jobId: JOB_ID, data: { exitCode: 7 } });
    expect(node.seen.findLast(({ id }) => id === 'job.output')?.peer).toBe('maria');
  });

  it('of several says each code, and exits with 0 only if all did', async () => {
    const node = await FakeNode.start({ 'job.output': ending({ [JOB_ID]: 0, [OTHER_ID]: 3 }) });
    const wait = (...ids: string[]) => runCli(['jobs', 'wait', ...ids], { dataDir: node.folder });
    expect(await wait(JOB_ID, OTHER_ID)).toMatchObject({ code: 1, stdout: `${JOB_ID}  exit 0\n${OTHER_ID}  exit 3\n` });
    expect(await wait(JOB_ID, JOB_ID)).toMatchObject({ code: 0 });
    expect(await wait()).toMatchObject({ code: 2, stderr: expect.stringContaining('needs <job>') });
  });
});

describe('jobs attach', () => {
  it(verifies('cli.jobs-attach', 'leaves the run alone at Ctrl-C, and says so'), async () => {
    const node = await FakeNode.start({
      'job.output': ({ frames }) => {
        const { send } = frames();
        send(FRAME.started, { ...STARTED, detached: true });
        send(FRAME.stdout, Buffer.from('up'));
        return new Promise(() => undefined);
      },
    });
    const ended = await runCli(['jobs', 'attach', JOB_ID], {
      dataDir: node.folder,
      onReady: (signal, output) =>
        void (async () => {
          while (output() !== 'up') await setImmediate();
          signal('SIGINT');
        })(),
    });
    expect(ended).toMatchObject({ code: 130, stdout: 'up' });
    expect(ended.stderr).toBe(`loopsy: the job goes on; \`loopsy jobs attach ${JOB_ID}\` follows it again\n`);
    expect(node.inputs('job.signal')).toEqual([]);
  });

  it('says of a run that nobody saw the end of what ended: its supervisor, and not the node, which it outlives', async () => {
    const lost = { ...OUTCOME, exitCode: null, endedBy: 'lost' };
    const node = await FakeNode.start({
      'job.output': ({ frames }) => {
        const { send, end } = frames();
        send(FRAME.started, { ...STARTED, detached: true });
        send(FRAME.exit, lost);
        end();
      },
    });
    const { code, stderr } = await runCli(['jobs', 'attach', JOB_ID], { dataDir: node.folder });
    expect([code, stderr]).toEqual([5, expect.stringMatching(/^loopsy: its supervisor ended before the run did: /)]);
    node.on('job.output', ({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const [type, data] of [
        ['started', { ...STARTED, detached: true }],
        ['exit', lost],
      ])
        response.write(`data: ${JSON.stringify({ type, data, jobId: JOB_ID, timestamp: 1 })}\n\n`);
      response.end();
    });
    const waited = await runCli(['jobs', 'wait', JOB_ID], { dataDir: node.folder });
    expect([waited.code, waited.stderr]).toEqual([5, expect.stringMatching(/^loopsy: its supervisor ended /)]);
  });

  it('waits for a node that is away where the job outlives it, and gives up where it stays away', async () => {
    const clock = new FakeClock();
    const node = await FakeNode.start({
      'job.output': ({ frames }) => {
        const { send, cut } = frames();
        send(FRAME.started, { ...STARTED, detached: true });
        send(FRAME.stdout, Buffer.from('half'));
        void setImmediate().then(cut);
      },
    });
    const attached = runCli(['jobs', 'attach', JOB_ID], { dataDir: node.folder, clock });
    while (node.inputs('job.output').length === 0) await setImmediate();
    node.close();
    const { code, stdout, stderr } = await driveClock(clock, attached);
    expect([code, stdout]).toEqual([3, 'half']);
    expect(stderr.match(/the node is away; the job goes on/g)).toHaveLength(1);
  });
});
