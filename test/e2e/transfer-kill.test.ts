import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { draftsIn, hashOf, writeLarge } from '../helpers/files.ts';
import { connectMachines, Machine } from '../helpers/nodes.ts';
import { randomFrom, seedOfRun } from '../helpers/seed.ts';
import { verifies } from '../requirements.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';
const ROUNDS = LONG ? 50 : 4;
const BYTES = 50_000_000;
const SMALL_FILES = 60;
const LIMITS = 'rateLimits:\n  transfer: 1000\n';

let a: Machine;
let b: Machine;

beforeAll(async () => {
  [a, b] = [await Machine.create('near', { extra: LIMITS }), await Machine.create('far', { extra: LIMITS })];
  await connectMachines(a, b);
}, 60_000);

afterAll(async () => {
  await a?.remove();
  await b?.remove();
}, 60_000);

/** A tree of one large and many small files, all of this version. */
const writeTree = async (version: number): Promise<string> => {
  await writeLarge(join(a.home, 'tree', 'large'), BYTES + version);
  for (let at = 0; at < SMALL_FILES; at += 1)
    await writeFile(join(a.home, 'tree', `small ${at}`), `${version} `.repeat(100 + at));
  return hashOf(join(a.home, 'tree', 'large'));
};

describe(`kill -9 of either node at ${ROUNDS} random moments${LONG ? '' : ' (50 in test:long)'}`, () => {
  it(
    verifies('transfers.kill', 'the target is the old file or the new one, and the same command completes'),
    { timeout: 900_000 },
    async () => {
      const random = randomFrom(seedOfRun('transfer kill'));
      await mkdir(join(a.home, 'tree'));
      let old = await writeTree(0);
      expect((await a.run(['send', 'far', 'tree', './'])).code).toBe(0);
      const there = join(b.home, 'tree');
      for (let round = 1; round <= ROUNDS; round += 1) {
        const fresh = await writeTree(round);
        const sending = a.run(['send', 'far', 'tree', './']);
        const struck = random() < 0.5 ? a : b;
        const { pid } = await struck.registration();
        await new Promise((resolve) => setTimeout(resolve, 80 + random() * 900));
        process.kill(pid, 'SIGKILL');
        if (struck === a) await sending;
        expect([old, fresh], `round ${round}`).toContain(await hashOf(join(there, 'large')));
        for (let at = 0; at < SMALL_FILES; at += 1) {
          const text = await readFile(join(there, `small ${at}`), 'utf8');
          expect([`${round - 1} `.repeat(100 + at), `${round} `.repeat(100 + at)]).toContain(text);
        }
        await struck.start();
        await sending;
        const again = await a.run(['send', 'far', 'tree', './']);
        expect(again, `round ${round}`).toMatchObject({ code: 0 });
        expect(await hashOf(join(there, 'large'))).toBe(fresh);
        expect(await draftsIn(b.home)).toEqual([]);
        expect(await readdir(there)).toHaveLength(SMALL_FILES + 1);
        old = fresh;
      }
    },
  );
});
