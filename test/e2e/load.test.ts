import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Client } from '../../src/client/client.ts';
import { clientOf, patternHash, readRun } from '../helpers/links.ts';
import { connectMachines, Machine } from '../helpers/nodes.ts';
import { forgetPeak, memoryOf, NO_PROC, until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';
const BIG_MB = LONG ? 700 : 150;
const WINDOW_BYTES = LONG ? 104_857_600 : 16_777_216;
const PATTERN = fileURLToPath(new URL('../fixtures/programs/pattern.mjs', import.meta.url));
const MAX_GROWTH_MB = 50;

let a: Machine;
let b: Machine;
let asOwner: Client;
let pids: number[] = [];

const pattern = (bytes: number): { command: string; args: string[] } => ({
  command: process.execPath,
  args: [PATTERN, String(bytes)],
});

/** Memory of both nodes when all code was loaded and nothing ran, MB. */
let baseline: number[] = [];

/** The most by which the nodes' memory grew over the baseline while `work` ran, MB. */
const growthDuring = async <T>(work: () => Promise<T>): Promise<[T, number[]]> => {
  await Promise.all(pids.map(forgetPeak));
  const done = await work();
  const after = await Promise.all(pids.map(memoryOf));
  return [done, after.map(({ peak }, at) => Math.round(peak - (baseline[at] ?? 0)))];
};

const sizeOf = async (folder: string): Promise<number> => {
  const sizes = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
};

beforeAll(async () => {
  const extra = `jobs:\n  maxOutputBytes: ${WINDOW_BYTES}\nrateLimits:\n  execute: 1000\n`;
  [a, b] = [await Machine.create('near', { extra }), await Machine.create('far', { extra })];
  await connectMachines(a, b);
  asOwner = await clientOf(a);
  await until(async () => (await asOwner.call('peer.list', {})).peers[0]?.status === 'online', 10_000);
  // The first run of a kind loads code and warms buffers.
  await readRun(asOwner.stream('job.stream', pattern(5_000_000), { peer: 'far' }));
  await readRun(asOwner.stream('job.stream', pattern(5_000_000)));
  if (NO_PROC !== undefined) return;
  pids = await Promise.all([a, b].map(async (machine) => (await machine.registration()).pid));
  baseline = (await Promise.all(pids.map(memoryOf))).map(({ now }) => now);
}, 60_000);

afterAll(async () => {
  await a?.remove();
  await b?.remove();
}, 60_000);

describe('a node under load', () => {
  const hundred = `runs 100 jobs at once with 1 MB each, 10 at a time, exactly, and grows by ${MAX_GROWTH_MB} MB at most`;
  it(verifies('bench.hundred-jobs', hundred), { timeout: 60_000 }, async ({ skip }) => {
    if (NO_PROC !== undefined) skip(NO_PROC);
    const active: number[] = [];
    const watch = setInterval(() => {
      void asOwner.call('system.status', {}).then(({ jobs }) => active.push(jobs.active));
    }, 100);
    const runs = (): Promise<unknown[]> =>
      Promise.all(Array.from({ length: 100 }, () => readRun(asOwner.stream('job.stream', pattern(1_000_000)))));
    const [reads, [growth = 0]] = await growthDuring(runs).finally(() => clearInterval(watch));
    const whole = { bytes: 1_000_000, hash: patternHash(1_000_000), gaps: 0, exit: { exitCode: 0 } };
    for (const read of reads) expect(read).toMatchObject(whole);
    console.log(`100 jobs over REST: RSS growth ${growth} MB over ${Math.round(baseline[0] ?? 0)}`);
    expect(Math.max(...active)).toBeLessThanOrEqual(10);
    expect(growth).toBeLessThanOrEqual(MAX_GROWTH_MB);
  });

  const big = `passes ${BIG_MB} MB${LONG ? '' : ' (700 MB in test:long)'} on to a follower whole, and neither node grows by more than ${MAX_GROWTH_MB} MB`;
  it(
    verifies(['fault.big-output', 'jobs.window'], `${big}; its window on disk stays bounded and says what went`),
    { timeout: 60_000 },
    async ({ skip }) => {
      if (NO_PROC !== undefined) skip(NO_PROC);
      const bytes = BIG_MB * 1_000_000;
      const [read, growth] = await growthDuring(() =>
        readRun(asOwner.stream('job.stream', pattern(bytes), { peer: 'far' })),
      );
      expect(read).toMatchObject({ bytes, hash: patternHash(bytes), gaps: 0, exit: { exitCode: 0 } });
      console.log(`${BIG_MB} MB through two nodes: RSS growth ${growth.join(' and ')} MB`);
      for (const grown of growth) expect(grown).toBeLessThanOrEqual(MAX_GROWTH_MB);
      const jobId = String(read.exit['jobId']);
      const stored = await sizeOf(b.path('jobs', jobId));
      expect(stored).toBeLessThanOrEqual(WINDOW_BYTES);
      expect(stored).toBeGreaterThan(WINDOW_BYTES / 2);
      expect(await asOwner.call('job.get', { jobId })).toMatchObject({ truncated: true, outputBytes: bytes });
      const late = await readRun(asOwner.stream('job.output', { jobId, since: 0 }));
      expect(late).toMatchObject({ gaps: 1, exit: { exitCode: 0 } });
      expect(late.bytes).toBeGreaterThan(WINDOW_BYTES / 2);
      expect(late.bytes).toBeLessThanOrEqual(WINDOW_BYTES);
    },
  );

  it(verifies('link.pool', 'answers 50 short requests beside 64 open streams: p95 ≤ 50 ms'), async () => {
    const leave = new AbortController();
    const line = 'while :; do echo tick; sleep 0.2; done';
    const starts = Array.from({ length: 8 }, () =>
      asOwner.stream('job.stream', { command: line, shell: true }, { peer: 'far', signal: leave.signal }),
    );
    const ids: string[] = [];
    for (const start of starts) {
      const first = await start.next();
      ids.push(JSON.parse(Buffer.from(first.value?.bytes ?? []).toString()).jobId);
    }
    const readers = ids.flatMap((jobId) =>
      Array.from({ length: 7 }, () =>
        asOwner.stream('job.output', { jobId, since: 0 }, { peer: 'far', signal: leave.signal }),
      ),
    );
    await Promise.all(readers.map((reader) => reader.next()));
    const took: number[] = [];
    for (let at = 0; at < 50; at += 1) {
      const startedAtMs = performance.now();
      await asOwner.call('system.identity', {}, { peer: 'far' });
      took.push(performance.now() - startedAtMs);
    }
    leave.abort();
    const p95 = took.toSorted((x, y) => x - y)[47] ?? Infinity;
    console.log(`short requests beside 64 streams: p95 ${p95.toFixed(1)} ms`);
    expect(p95).toBeLessThanOrEqual(50);
    await until(async () => (await asOwner.call('system.status', {}, { peer: 'far' })).jobs.active === 0, 15_000);
  });
});
