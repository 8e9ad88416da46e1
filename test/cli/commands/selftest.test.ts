import { describe, expect, it } from 'vitest';

import { FRAME } from '../../../src/protocol/frames.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FakeNode, OUTCOME, PEER, STARTED } from '../fake-node.ts';
import { runCli } from '../run-cli.ts';

const EXECUTED = { ...OUTCOME, stdout: '', stderr: '' };

/** Says of everything that it was done, and has done nothing. */
const liar = (): Promise<FakeNode> =>
  FakeNode.start({
    'job.execute': () => EXECUTED,
    'job.stream': ({ frames }) => {
      const { send, end } = frames();
      send(FRAME.started, STARTED);
      send(FRAME.exit, OUTCOME);
      end();
    },
  });

describe('selftest', () => {
  it('catches a node that says it did and did not', async () => {
    const node = await liar();
    const { code, stdout } = await runCli(['selftest', 'maria', '--json'], { dataDir: node.folder });
    expect(code).toBe(1);
    const document: { checks: { name: string; state: string }[] } = JSON.parse(stdout);
    expect(document).toMatchObject({ peer: 'maria', ok: false });
    expect(document.checks.map(({ name, state }) => `${name} ${state}`)).toEqual([
      'way passed',
      'command failed',
      'bytes failed',
      'latency passed',
      'throughput failed',
      'ctrl-c failed',
      'cancel failed',
      'detached failed',
      'files failed',
      'context failed',
      'messages failed',
    ]);
  });

  it('asks the peer that was named, and this node where none is', async () => {
    const node = await liar();
    await runCli(['selftest', 'maria'], { dataDir: node.folder });
    const peers = () => node.seen.filter(({ id }) => id === 'job.execute').map(({ peer }) => peer);
    expect(new Set(peers())).toEqual(new Set(['maria']));
    node.seen.length = 0;
    await runCli(['selftest'], { dataDir: node.folder });
    expect(new Set(peers())).toEqual(new Set([undefined]));
  });

  it('uses the programs of the other system, and no more than fourteen runs', async () => {
    const node = await liar();
    node.on('peer.show', () => ({ ...PEER, platform: 'win32' }));
    await runCli(['selftest', 'maria'], { dataDir: node.folder });
    const runs = node.seen.filter(({ id }) => id === 'job.execute' || id === 'job.stream');
    expect(runs.length).toBeLessThanOrEqual(14);
    expect(new Set(runs.map(({ input }) => input['command']))).toEqual(new Set(['node', 'cmd']));
  });

  it('tries nothing on a peer that can not be reached, and says why', async () => {
    const node = await liar();
    node.on('peer.ping', () => {
      throw new LoopsyError('peer_unreachable', { message: 'no\u202E answer', hint: 'start it' });
    });
    const { code, stdout } = await runCli(['selftest', 'maria'], { dataDir: node.folder });
    expect(code).toBe(1);
    expect(stdout).toContain('✗ way         no\\u{202e} answer\n              start it\n- command     not tried');
    expect(node.seen.some(({ id }) => id.startsWith('job.'))).toBe(false);
  });

  it('refuses a peer that is not known, or not trusted', async () => {
    const node = await liar();
    node.on('peer.show', () => ({ ...PEER, trusted: false, reason: 'not trusted: `loopsy pair 10.0.0.7`' }));
    const { code, stderr } = await runCli(['selftest', 'maria'], { dataDir: node.folder });
    expect([code, stderr]).toEqual([1, 'loopsy: maria is not trusted here\n  not trusted: `loopsy pair 10.0.0.7`\n']);
  });

  it('does not count what was measured while it had to wait', async () => {
    const node = await liar();
    let asked = 0;
    node.on('job.execute', () => {
      asked += 1;
      if (asked % 2 === 0) throw new LoopsyError('rate_limited', { details: { retryAfterMs: 1 } });
      return EXECUTED;
    });
    const { stdout } = await runCli(['selftest', 'maria'], { dataDir: node.folder });
    expect(stdout).toContain('✓ latency     not measured: the commands of this minute are used up there');
  });
});
