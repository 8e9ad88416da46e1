import { describe, expect, it } from 'vitest';

import { LoopsyError } from '../../src/protocol/errors.ts';
import { verifies } from '../requirements.ts';
import { JOB_ID, OUTCOME, STARTED, type FakeNode } from './fake-node.ts';
import { runCli } from './run-cli.ts';
import { idOf, linesOf, nodeWith, rowOf } from './three-peers.ts';

describe('a command on several peers with --detach', () => {
  const answerOf = (jobId: string) => {
    const { endedBy: _endedBy, ...running } = { ...OUTCOME, exitCode: null, ...STARTED };
    return { ...running, jobId, stdout: '', stderr: '', cursor: 0, detached: true };
  };
  const IDS: Readonly<Record<string, string>> = { [idOf('kai')]: JOB_ID, [idOf('bo')]: JOB_ID.replace('w', 'x') };
  const accepting = async (): Promise<FakeNode> => {
    const node = await nodeWith({});
    node.on('job.execute', ({ peer }) => {
      const jobId = IDS[peer ?? ''];
      if (jobId === undefined) throw new LoopsyError('command_denied', { message: 'no', hint: 'ask its owner' });
      return answerOf(jobId);
    });
    return node;
  };

  it(verifies('cli.exec.many', 'starts one run on each, and prints whose has which id'), async () => {
    const node = await accepting();
    const { code, stdout, stderr } = await runCli(['exec', 'kai,bo', '--detach', 'make'], {
      dataDir: node.folder,
      stdin: 'text',
    });
    expect([code, linesOf(stdout).toSorted()]).toEqual([0, [`bo   ${IDS[idOf('bo')]}`, `kai  ${JOB_ID}`]]);
    expect(stderr).toMatch(/^kai +started .*\nbo +started /m);
    const input = { command: 'make', args: [], stdin: 'text', detach: true };
    expect(node.inputs('job.execute')).toEqual([input, input]);
  });

  it('names those that refused or are absent, and ends with 0 only if all others began', async () => {
    const node = await accepting();
    const refused = await runCli(['exec', '--all', '--detach', 'make'], { dataDir: node.folder });
    expect([refused.code, linesOf(refused.stdout).length]).toEqual([1, 2]);
    expect(refused.stderr).toMatch(/^maria +no .*\nbo +started .*\n {2}maria: ask its owner$/m);
    node.on('peer.list', () => ({ peers: [rowOf('kai'), { ...rowOf('maria'), status: 'offline' }] }));
    const absent = await runCli(['exec', '--all', '--detach', 'make'], { dataDir: node.folder });
    expect([absent.code, absent.stderr]).toEqual([0, expect.stringMatching(/^maria +absent: offline/m)]);
  });

  it('prints a line of JSON for each', async () => {
    const node = await accepting();
    const { stdout } = await runCli(['exec', 'kai,maria', '--detach', '--json', 'make'], { dataDir: node.folder });
    const documents: { peer?: string; type: string }[] = linesOf(stdout).map((line) => JSON.parse(line));
    expect(documents.find(({ peer }) => peer === 'kai')).toMatchObject({
      type: 'started',
      jobId: JOB_ID,
      data: answerOf(JOB_ID),
    });
    expect(documents.find(({ peer }) => peer === 'maria')).toMatchObject({ type: 'error', data: { error: {} } });
    expect(documents.at(-1)).toMatchObject({ type: 'summary', results: [{ jobId: JOB_ID }, { reason: 'no' }] });
  });
});
