import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { type Clock, systemClock } from '../../../src/kernel/clock.ts';
import type { Answer } from '../../helpers/ask.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { until } from '../../helpers/process-facts.ts';
import { verifies } from '../../requirements.ts';

const MINUTE_MS = 60_000;

/** The real clock, which can be put forward: as if nothing had happened for so long. */
const shiftedClock = (): { clock: Clock; shift: (ms: number) => void } => {
  let shiftMs = 0;
  const { after, every } = systemClock;
  const clock: Clock = {
    sinceBootMs: systemClock.sinceBootMs,
    now: () => systemClock.now() + shiftMs,
    monotonicMs: () => systemClock.monotonicMs() + shiftMs,
    after,
    every,
  };
  return { clock, shift: (ms) => (shiftMs += ms) };
};

const startPair = async (clock: Clock): Promise<[near: InProcessNode, far: InProcessNode]> => {
  const [near, far] = [await startNode({ name: 'near', clock }), await startNode({ name: 'far', clock })];
  onTestFinished(async () => {
    await near.remove();
    await far.remove();
  });
  for (const [node, other] of [
    [near, far],
    [far, near],
  ] as const) {
    const { fingerprint } = other.identity;
    const at = { address: '127.0.0.1', port: other.port, name: 'other' };
    await node.owner('POST', '/peers/trust', { ...at, fingerprint });
  }
  const isOnline = async (): Promise<boolean> =>
    (await near.owner<{ peers: { status: string }[] }>('GET', '/peers')).peers[0]?.status === 'online';
  await until(isOnline, 5000);
  return [near, far];
};

describe("a client's late repeat through two nodes", () => {
  it.each(['/execute', '/execute/stream'])(verifies('link.once', 'is never run twice: %s'), async (path) => {
    const { clock, shift } = shiftedClock();
    const [near, far] = await startPair(clock);
    const file = join(far.paths.dataDir, 'ran');
    const ask = (ageMs?: number): Promise<Answer> =>
      near.ask({
        method: 'POST',
        path: `${path}?peer=other`,
        key: near.tokens.start,
        headers: {
          'loopsy-request-id': 'ab'.repeat(16),
          ...(ageMs === undefined ? {} : { 'loopsy-repeat': `${near.boot}.${ageMs}` }),
        },
        body: { command: `echo ran >> "${file}"; echo done`, shell: true },
      });
    expect((await ask()).text).toContain('done');
    expect((await ask(500)).text).toContain('done');
    shift(12 * MINUTE_MS);
    expect((await ask(12 * MINUTE_MS)).outcome).toBe('outcome_unknown');
    // What is younger than what is remembered, but not than what is sure.
    expect((await ask(9.5 * MINUTE_MS)).outcome).toBe('outcome_unknown');
    expect(await readFile(file, 'utf8')).toBe('ran\n');
  });
});
