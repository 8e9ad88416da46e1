import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';

import { describe, expect, it, onTestFinished } from 'vitest';

import type { Clock } from '../../../src/kernel/clock.ts';
import { FRAMES_TYPE } from '../../../src/protocol/frames.ts';
import { BASE_PATH } from '../../../src/protocol/version.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { until } from '../../helpers/process-facts.ts';
import { NO_RELAYS, Relay } from '../../helpers/relay.ts';
import { verifies } from '../../requirements.ts';

/** The real clock, ten times as fast. Time-outs of sockets stay as they are. */
const fastClock = (): Clock => {
  const beganAt = Date.now();
  const monotonicMs = (): number => performance.now() * 10;
  const beganMs = monotonicMs();
  return {
    now: () => beganAt + monotonicMs() - beganMs,
    monotonicMs,
    sinceBootMs: monotonicMs,
    after(ms, run) {
      const timer = setTimeout(run, ms / 10);
      return { cancel: () => clearTimeout(timer) };
    },
    every(ms, run) {
      const timer = setInterval(run, ms / 10);
      return { cancel: () => clearInterval(timer) };
    },
  };
};

const startFast = async (name: string): Promise<InProcessNode> => {
  const node = await startNode({ name, clock: fastClock() });
  onTestFinished(() => node.remove());
  return node;
};

/** Makes `node` trust `other`, which it reaches through a relay alone. */
const connect = async (node: InProcessNode, other: InProcessNode, from: string): Promise<Relay> => {
  const relay = await Relay.open({ port: other.port, from });
  onTestFinished(() => relay.close());
  const { fingerprint } = other.identity;
  await node.owner('POST', '/peers/trust', { address: '127.0.0.1', port: relay.port, fingerprint, name: 'other' });
  return relay;
};

const isOnline = (node: InProcessNode) => async (): Promise<boolean> =>
  (await node.owner<{ peers: { status: string }[] }>('GET', '/peers')).peers[0]?.status === 'online';

const runs = async (node: InProcessNode): Promise<Record<string, unknown>[]> =>
  (await node.owner<{ jobs: Record<string, unknown>[] }>('GET', '/execute/jobs?state=all')).jobs;

/** A run on the peer that writes without end, and whose reader has paused. */
const runUnread = async (node: InProcessNode): Promise<IncomingMessage> => {
  const request = http.request({
    port: node.port,
    method: 'POST',
    path: `${BASE_PATH}/execute/stream?peer=other`,
    headers: {
      authorization: `Bearer ${node.tokens.start}`,
      'content-type': 'application/json',
      accept: FRAMES_TYPE,
    },
  });
  request.end(JSON.stringify({ command: 'while :; do echo and on and on; done', shell: true }));
  // The event's arguments are not typed.
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  answer.on('error', () => undefined);
  onTestFinished(() => void answer.destroy());
  return answer;
};

describe('a peer that takes nothing of what it asked for', () => {
  it(
    verifies('jobs.tree', 'keeps its run while its machine lives, and loses it soon when that was switched off'),
    async ({ skip }) => {
      if (NO_RELAYS !== undefined) skip(NO_RELAYS);
      const [asker, runner] = [await startFast('asker'), await startFast('runner')];
      const toRunner = await connect(asker, runner, '127.0.0.91');
      const toAsker = await connect(runner, asker, '127.0.0.92');
      await until(isOnline(asker), 5000);
      await until(isOnline(runner), 5000);
      await runUnread(asker);
      // For half a minute of the nodes' time: longer than a dead one is given.
      await new Promise((resolve) => setTimeout(resolve, 3000));
      expect(await runs(runner)).toMatchObject([{ state: 'running' }]);
      expect(await isOnline(runner)()).toBe(true);
      for (const relay of [toRunner, toAsker]) relay.dead = true;
      const ended = async (): Promise<boolean> => (await runs(runner))[0]?.['state'] !== 'running';
      const took = await until(ended, 10_000);
      expect(await runs(runner)).toMatchObject([{ endedBy: 'client-gone' }]);
      console.log(`a machine that was switched off: its unread run ended after ${Math.round(took)} ms`);
    },
  );
});
