import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Call } from '../../../src/daemon/edge/call.ts';
import { createJobs, type Jobs } from '../../../src/daemon/jobs/service.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import type { Log } from '../../../src/kernel/log.ts';
import { FRAME } from '../../../src/protocol/frames.ts';
import { guardCommand } from '../../../src/trust/command-guard.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';

/**
 * A process of its own, so that its memory is that of runs alone: `<runs> <bytes of each> <program>`.
 * Prints one line of JSON.
 */
const dir = mkdtempSync(join(tmpdir(), 'loopsy-load-'));
const env = {};
const log: Log = { debug() {}, info() {}, warn: console.error, error: console.error, child: () => log };

const jobs: Jobs = createJobs({
  store: openMemoryStore({ clock: systemClock }),
  dir,
  supervisorsDir: join(dir, 'supervisors'),
  settings: () => ({
    maxConcurrent: 10,
    maxQueued: 200,
    defaultTimeoutMs: 0,
    maxOutputBytes: 104_857_600,
    keepDays: 7,
    env,
  }),
  guardCommand: ({ command, args = [] }) =>
    guardCommand({ command, args }, { denylist: [], allowlist: [], platform: process.platform }),
  clock: systemClock,
  log,
  facts: () => ({ host: 'h', nodeId: 'n', user: 'u', home: dir }),
  platform: process.platform,
  variables: process.env,
  loginPath: { value: () => process.env['PATH'] ?? '' },
});

let requests = 0;
const call = (): Call => ({
  operation: 'job.stream',
  caller: { kind: 'owner' },
  requestId: String(requests++),
  digest: '',
  resumable: false,
  signal: new AbortController().signal,
  announce: () => undefined,
  note: () => undefined,
});

let peak = 0;
const look = (): void => {
  peak = Math.max(peak, process.memoryUsage.rss());
};

const stream = async (bytes: string, program: string): Promise<{ bytes: number; hash: string }> => {
  const source = await jobs.stream({ command: process.execPath, args: [program, bytes] }, call());
  const hash = createHash('sha256');
  let got = 0;
  for (let piece = await source.next(); piece !== undefined; piece = await source.next()) {
    if (piece.type !== FRAME.stdout) continue;
    hash.update(piece.bytes);
    got += piece.bytes.length;
  }
  source.close();
  return { bytes: got, hash: hash.digest('hex') };
};

const [, , count = '1', bytes = '0', program = ''] = process.argv;
await jobs.start(new AbortController().signal);
// What is loaded and compiled at first use is no growth.
await Promise.all(Array.from({ length: 10 }, () => stream('1000000', program)));
const before = process.memoryUsage.rss();
const timer = setInterval(look, 10);
const begun = performance.now();
const results = await Promise.all(Array.from({ length: Number(count) }, () => stream(bytes, program)));
const ms = performance.now() - begun;
look();
clearInterval(timer);
const stored = (await jobs.list({ state: 'all', limit: 1000 }, { kind: 'owner' })).jobs.length;
await jobs.stop();
rmSync(dir, { recursive: true, force: true });
const hashes = [...new Set(results.map(({ hash }) => hash))];
const total = results.reduce((sum, result) => sum + result.bytes, 0);
console.log(
  JSON.stringify({ total, hashes, stored, ms: Math.round(ms), growthMB: Math.round((peak - before) / 1_000_000) }),
);
