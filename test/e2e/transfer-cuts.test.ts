import { stat } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { Transfer } from '../../src/protocol/transfers.ts';
import { draftsIn, hashOf, writeLarge } from '../helpers/files.ts';
import { connectThroughRelays } from '../helpers/links.ts';
import { Machine } from '../helpers/nodes.ts';
import { NO_RELAYS, type Relay } from '../helpers/relay.ts';
import { seedOfRun } from '../helpers/seed.ts';
import { verifies } from '../requirements.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';
const BYTES = LONG ? 1_073_741_824 : 134_217_728;
const CUTS = LONG ? 200 : 25;
const CHUNK_BYTES = 4 * 1_048_576;
const LIMITS = 'rateLimits:\n  transfer: 1000\ntransfer:\n  maxFileSize: 2000000000\n';

let a: Machine;
let b: Machine;
let way: Awaited<ReturnType<typeof connectThroughRelays>>;
let toB: Relay;

/** The last event of a command with `--json`. */
const endOf = (stdout: string): Transfer => {
  const last: { type: string; transfer: Transfer } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  expect(last.type).toBe('end');
  return last.transfer;
};

beforeAll(async () => {
  if (NO_RELAYS !== undefined) return;
  [a, b] = [await Machine.create('near', { extra: LIMITS }), await Machine.create('far', { extra: LIMITS })];
  way = await connectThroughRelays(a, b, seedOfRun('transfer cuts'));
  ({ toB } = way);
}, 60_000);

afterAll(async () => {
  await way?.close();
  await a?.remove();
  await b?.remove();
}, 60_000);

beforeEach(({ skip }) => {
  if (NO_RELAYS !== undefined) skip(NO_RELAYS);
  toB.chaos = {};
});

const size = LONG ? '1 GiB' : '128 MiB (1 GiB in test:long)';

describe(`${size} over a connection that is cut ${CUTS} times at random places`, () => {
  const expectWhole = async (source: string, target: string, sent: number): Promise<void> => {
    expect(toB.cuts).toBe(CUTS);
    expect((await stat(target)).size).toBe(BYTES);
    expect(await hashOf(target)).toBe(await hashOf(source));
    expect(sent - BYTES).toBeLessThanOrEqual(CUTS * CHUNK_BYTES);
    console.log(`sent again: ${sent - BYTES} bytes for ${CUTS} cuts`);
  };

  it(
    verifies('transfers.cuts', 'is sent, byte-identical, at most a chunk again for each cut'),
    { timeout: 180_000 },
    async () => {
      const source = join(a.home, 'large');
      await writeLarge(source, BYTES);
      toB.chaos = { cutAskedWithin: (BYTES / CUTS) * 1.2, maxCuts: CUTS };
      toB.cutAll();
      const { code, stdout } = await a.run(['send', 'far', source, 'sent', '--json']);
      expect(code, stdout).toBe(0);
      const { bytes } = endOf(stdout);
      await expectWhole(source, join(b.home, 'sent'), bytes.sent);
      expect(await draftsIn(b.home)).toEqual([]);
    },
  );

  it(verifies('transfers.cuts', 'is pulled, the same'), { timeout: 180_000 }, async () => {
    const source = join(b.home, 'theirs');
    await writeLarge(source, BYTES);
    toB.chaos = { cutWithin: (BYTES / CUTS) * 1.2, maxCuts: CUTS };
    toB.cutAll();
    const { code, stdout } = await a.run(['pull', 'far', 'theirs', join(a.home, 'pulled'), '--json']);
    expect(code, stdout).toBe(0);
    const { bytes } = endOf(stdout);
    await expectWhole(source, join(a.home, 'pulled'), bytes.sent);
    expect(await draftsIn(a.home)).toEqual([]);
  });
});
