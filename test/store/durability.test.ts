import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { systemClock } from '../../src/kernel/clock.ts';
import { openStore } from '../../src/store/engine.ts';
import { acquireLock } from '../../src/store/lock.ts';
import type { Store } from '../../src/store/store.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { KeptLog } from './open.ts';
import { buildProgram, startProgram } from './program.ts';
import { verifies } from '../requirements.ts';

const ROUNDS = 20;

let built: Awaited<ReturnType<typeof buildProgram>>;
beforeAll(async () => {
  built = await buildProgram();
});
afterAll(() => built.remove());

const open = (file: string): Store => {
  const store = openStore({ file, clock: systemClock, log: new KeptLog() });
  onTestFinished(() => store.close());
  return store;
};

// A small generator of random numbers below 1 (mulberry32), so that a seed repeats a run.
const randomFrom = (seed: number) => {
  let state = seed;
  return (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

describe('a process that is killed with -9', () => {
  it(verifies('store.group-commit', 'has lost nothing that it acknowledged'), async () => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
    const random = randomFrom(seed);
    const file = join(await tempFolder(), 'loopsy.db');
    const acknowledged: string[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const program = startProgram(built.path, 'write', file, `${round}`);
      await program.nextLine();
      const target = Math.floor(random() * 1500);
      while (program.lines.length < target) await program.nextLine();
      program.child.kill('SIGKILL');
      await program.ended;
      // What was said, the last line perhaps cut, is on disk; the next process must keep it too.
      acknowledged.push(...program.lines.filter((line) => /^\d+\/\d+\/\d+$/.test(line)).slice(0, -1));
    }
    const store = open(file);
    const lost = acknowledged.filter((key) => store.get(key)?.value !== key.repeat(20));
    console.log(`kill -9: ${ROUNDS} rounds, ${acknowledged.length} acknowledged, seed ${seed}`);
    expect({ seed, lost: lost.slice(0, 5) }).toEqual({ seed, lost: [] });
    expect(acknowledged.length).toBeGreaterThan(ROUNDS);
  });

  it(verifies('kernel.lock', 'has let go of its lock'), async () => {
    const file = join(await tempFolder(), 'node.lock');
    const program = startProgram(built.path, 'lock', file);
    expect(await program.nextLine()).toBe('locked');
    expect(acquireLock(file)).toBeUndefined();
    program.child.kill('SIGKILL');
    await program.ended;
    const lock = acquireLock(file);
    expect(lock).toBeDefined();
    lock?.release();
  });
});

describe('several processes', () => {
  it('can make the same store at the same moment', async () => {
    const file = join(await tempFolder(), 'trust.db');
    const programs = ['a', 'b', 'c', 'd', 'e'].map((key) => startProgram(built.path, 'put', file, key));
    await Promise.all(programs.map(({ ended }) => ended));
    expect(programs.map(({ lines }) => lines.join()).toSorted()).toEqual(['1', '2', '3', '4', '5']);
    expect(open(file).count('')).toBe(5);
  });

  it(verifies('store.two-processes', 'see a change of one in another within a second'), async () => {
    const file = join(await tempFolder(), 'trust.db');
    const store = open(file);
    let changedAt = 0;
    const changed = new Promise<number>((resolve) => {
      store.onForeignChange(() => resolve(performance.now() - changedAt));
    });
    const program = startProgram(built.path, 'put', file, 'pin');
    await program.nextLine();
    changedAt = performance.now();
    expect(await changed).toBeLessThan(1000);
    expect(store.get('pin')?.value).toBe('pin');
    await program.ended;
  });

  it(verifies('kernel.lock', 'that want a lock at the same moment: exactly one gets it'), async () => {
    const file = join(await tempFolder(), 'node.lock');
    const programs = Array.from({ length: 4 }, () => startProgram(built.path, 'lock', file));
    const said = await Promise.all(programs.map((program) => program.nextLine()));
    expect(said.toSorted()).toEqual(['locked', 'taken', 'taken', 'taken']);
    for (const { child } of programs) child.kill();
    await Promise.all(programs.map(({ ended }) => ended));
  });
});
