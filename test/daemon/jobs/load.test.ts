import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { describe, expect, it } from 'vitest';

import { bundleFixture } from '../../helpers/bundle-fixture.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';
import { FRAME } from '../../../src/protocol/frames.ts';
import { call, OWNER, program, startJobs } from './setup.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';
const BIG_MB = LONG ? 700 : 200;

interface Measured {
  readonly total: number;
  readonly hashes: string[];
  readonly growthMB: number;
}

const probe = async (...args: string[]): Promise<Measured> => {
  const folder = await tempFolder();
  const entry = fileURLToPath(new URL('load-probe.ts', import.meta.url));
  const file = await bundleFixture(entry, folder);
  const { stdout } = await promisify(execFile)(process.execPath, [file, ...args, program('pattern')]);
  return JSON.parse(stdout) as Measured;
};

const patternHash = (length: number): string => {
  const block = Buffer.from(Array.from({ length: 65_521 }, (_, at) => at % 251));
  const hash = createHash('sha256');
  for (let left = length; left > 0; left -= block.length) hash.update(block.subarray(0, Math.min(left, block.length)));
  return hash.digest('hex');
};

describe('under load', () => {
  const much = `${BIG_MB} MB${LONG ? '' : ' (700 MB in test:long)'} reach a follower whole; memory grows by 50 MB at most`;
  it(verifies('fault.big-output', much), { timeout: 60_000 }, async () => {
    const bytes = BIG_MB * 1_000_000;
    const measured = await probe('1', String(bytes));
    expect(measured).toMatchObject({ total: bytes, hashes: [patternHash(bytes)] });
    expect(measured.growthMB).toBeLessThanOrEqual(50);
  });

  const many = '100 runs at once with 1 MB each, 10 at a time: complete, exact, memory grows by 50 MB at most';
  it(verifies('bench.hundred-jobs', many), { timeout: 60_000 }, async () => {
    const measured = await probe('100', '1000000');
    expect(measured).toMatchObject({ total: 100_000_000, hashes: [patternHash(1_000_000)], stored: 110 });
    expect(measured.growthMB).toBeLessThanOrEqual(50);
  });
});

describe('who follows a detached run', () => {
  it('reads what it writes within 50 ms', async () => {
    const { jobs } = await startJobs();
    const line = 'for (let n = 0; n < 20; n++) setTimeout(() => console.log(Date.now()), n * 50)';
    const run = { command: process.execPath, args: ['-e', line], detach: true };
    const { jobId } = await jobs.execute(run, call());
    const source = await jobs.output({ jobId }, OWNER);
    const delays: number[] = [];
    for (let piece = await source.next(); piece !== undefined; piece = await source.next()) {
      if (piece.type !== FRAME.stdout) continue;
      for (const wrote of Buffer.from(piece.bytes).toString().trim().split('\n'))
        delays.push(Date.now() - Number(wrote));
    }
    source.close();
    delays.sort((a, b) => a - b);
    console.log(`detached output arrives after ${delays[10] ?? 0} ms, at the latest ${delays.at(-1) ?? 0} ms`);
    expect(delays).toHaveLength(20);
    // The median: this machine may be busy with something else for a moment.
    expect(delays[10]).toBeLessThanOrEqual(50);
  });
});
