import { statSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { Context } from '../../src/daemon/context/service.ts';
import { openStore } from '../../src/store/engine.ts';
import type { Store } from '../../src/store/store.ts';
import type { FakeClock } from '../helpers/clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { verifies } from '../requirements.ts';
import { KeptLog } from '../store/open.ts';
import { callBy, OWNER, settle, twoDesks } from './messages/desk.ts';

const LONG = process.env['LOOPSY_LONG'] === '1';
/** A step is a quarter of a simulated hour; in `test:long` one is half a minute. */
const STEPS = LONG ? 2880 : 96;
const STEP_MS = 86_400_000 / STEPS;
const KEEP_MS = 7 * 86_400_000;

/** What a store takes on the disk, its log included. */
const bytesOf = (file: string): number =>
  [file, `${file}-wal`].reduce((sum, one) => sum + (statSync(one, { throwIfNoEntry: false })?.size ?? 0), 0);

const turns = async (clock: FakeClock, ms: number): Promise<void> => {
  clock.advance(ms);
  await settle();
  // The writer is a thread of its own.
  await new Promise((resolve) => setTimeout(resolve, 2));
  await settle();
};

describe(`24 simulated hours of traffic in ${STEPS} steps${LONG ? '' : ' (2,880 in test:long)'}`, () => {
  it(
    verifies('context.day', 'level off: memory, the file, and what is kept; what is over leaves the disk'),
    { timeout: 1_200_000 },
    async () => {
      const folder = await tempFolder();
      const files = new Map<string, string>();
      const stores = new Map<string, Store>();
      const { kai, maria, clock } = await twoDesks(
        { perMinute: 1e6, loopGuard: false, ttl: 60, maxBytes: 150_000 },
        (time, name) => {
          const file = join(folder, `${name}.db`);
          files.set(name, file);
          const store = openStore({ file, clock: time, log: new KeptLog() });
          stores.set(name, store);
          return store;
        },
      );
      const file = files.get('maria') ?? '';
      const store = stores.get('maria');
      if (store === undefined) throw new Error('there is no store');
      const limits = { maxBytes: 1e9, maxBytesPerPeer: 1e9 };
      const events = { publish: () => undefined };
      const context = new Context({ store, clock, nodeId: maria.nodeId, events, limits: () => limits });
      await context.start();
      const sizes: number[] = [];
      const heaps: number[] = [];
      for (let step = 0; step < STEPS; step += 1) {
        for (let at = 0; at < 5; at += 1) {
          await context.set({ key: `step/${step}/${at}`, value: 'x'.repeat(500), ttl: 3600 }, callBy(OWNER));
          await context.set({ key: `fixed/${at}`, value: `${step}` }, callBy(OWNER));
          await kai.send('maria', 'x'.repeat(200));
        }
        await turns(clock, STEP_MS);
        const [first] = maria.waiting();
        if (first !== undefined) await maria.take(first.id).catch(() => undefined);
        sizes.push(bytesOf(file));
        globalThis.gc?.();
        heaps.push(process.memoryUsage().heapUsed);
      }
      const quarter = Math.floor(STEPS / 4);
      const peak = (values: readonly number[]): number => Math.max(...values);
      expect(peak(sizes.slice(-quarter))).toBeLessThan(peak(sizes.slice(quarter, 2 * quarter)) * 1.25);
      expect(peak(heaps.slice(-quarter))).toBeLessThan(peak(heaps.slice(quarter, 2 * quarter)) * 1.25 + 20e6);
      for (let day = 0; day < 9; day += 1) await turns(clock, KEEP_MS / 7);
      // What ends an entry is written by the writer's thread, in its own time.
      const left = (): string[] =>
        store
          .list({ prefix: '', limit: 1000 })
          .map(({ key }) => key)
          .filter((key) => !/^(?:ctx\/fixed\/\d|mail\/epoch)$/.test(key));
      for (let minute = 0; minute < 500 && left().length > 0; minute += 1) await turns(clock, 60_000);
      expect(left()).toEqual([]);
      await context.stop();
    },
  );
});
