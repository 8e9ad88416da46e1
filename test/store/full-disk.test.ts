import { appendFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { openStore } from '../../src/store/engine.ts';
import { StoreFull, type Store } from '../../src/store/store.ts';
import { FakeClock } from '../helpers/clock.ts';
import { mountSmallDisk, type SmallDisk } from '../helpers/small-disk.ts';
import { KeptLog } from './open.ts';
import { verifies } from '../requirements.ts';

const NO_DISK = 'a small disk can be mounted by root on Linux alone';
const LARGE = 'y'.repeat(900_000);
const ACCOUNT = { account: 'here' };

const openOn = (disk: SmallDisk, clock = new FakeClock()): Store => {
  const store = openStore({ file: join(disk.folder, 'loopsy.db'), clock, log: new KeptLog() });
  onTestFinished(() => store.close());
  return store;
};

/** One commit each, some at once: as they come from callers. */
const each = async (count: number, run: (at: number) => Promise<unknown>): Promise<void> => {
  for (let from = 0; from < count; from += 50)
    await Promise.all(Array.from({ length: Math.min(50, count - from) }, (_, at) => run(from + at)));
};

/** Takes the last byte, too: what lies in the last blocks of files. */
const fillUp = async (disk: SmallDisk): Promise<void> => {
  await disk.fill();
  expect(() => appendFileSync(join(disk.folder, 'more'), Buffer.alloc(4096))).toThrow('ENOSPC');
};

describe('a disk that another file has filled to its last byte', () => {
  it(
    verifies('store.full-disk-deletes', 'keeps nobody from deleting, however much there is, and whatever its size'),
    async ({ skip }) => {
      const disk = await mountSmallDisk(24 * 1024);
      if (disk === undefined) return skip(NO_DISK);
      const store = openOn(disk);
      await each(5000, (at) => store.commit([{ put: `s${at}`, value: `${at}`, ...ACCOUNT }]));
      for (let at = 0; at < 6; at += 1) await store.commit([{ put: `large${at}`, value: LARGE, ...ACCOUNT }]);
      await fillUp(disk);
      await expect(store.commit([{ put: 'n', value: LARGE }])).rejects.toThrow(StoreFull);
      for (let at = 0; at < 400; at += 1) await store.commit([{ delete: `s${at}` }]);
      await store.commit([{ delete: 'large0' }]);
      await each(4600, (at) => store.commit([{ delete: `s${at + 400}` }]));
      for (let at = 1; at < 6; at += 1) await store.commit([{ delete: `large${at}` }]);
      expect([store.count(''), store.usage('here').bytes]).toEqual([0, 0]);
      // What was given back inside of the file can be used, though the disk has nothing.
      await store.commit([{ put: 'n', value: 'x'.repeat(5000) }]);
      await disk.free();
      await store.commit([{ put: 'n', value: LARGE }]);
      expect(store.get('n')?.value).toBe(LARGE);
    },
  );

  it('keeps nobody from deleting where the store itself has filled it', async ({ skip }) => {
    const disk = await mountSmallDisk(14 * 1024);
    if (disk === undefined) return skip(NO_DISK);
    const store = openOn(disk);
    let count = 0;
    for (; count < 5000; count += 1) {
      const value = count % 10 === 0 ? 'z'.repeat(200_000) : 'x'.repeat(count % 3000);
      const done = await store.commit([{ put: `k${count}`, value, ...ACCOUNT }]).then(
        () => true,
        (thrown: unknown) => thrown,
      );
      if (done !== true) {
        expect(done).toBeInstanceOf(StoreFull);
        break;
      }
    }
    expect(count).toBeGreaterThan(100);
    await fillUp(disk).catch(() => undefined);
    for (let at = 0; at < count; at += 1) await store.commit([{ delete: `k${at}` }]);
    expect(store.count('')).toBe(0);
    await each(200, (at) => store.commit([{ put: `n${at}`, value: 'x'.repeat(1000) }]));
    expect(store.count('')).toBe(200);
  });

  it('is no reason for what has expired to stay', async ({ skip }) => {
    const disk = await mountSmallDisk(14 * 1024);
    if (disk === undefined) return skip(NO_DISK);
    const clock = new FakeClock();
    const store = openOn(disk, clock);
    // As a node does: until somebody follows, nothing is swept for a minute.
    store.follow('', () => undefined);
    const expiresAt = clock.now() + 1000;
    await each(3000, (at) => store.commit([{ put: `s${at}`, value: 'x'.repeat(1000), expiresAt, ...ACCOUNT }]));
    await fillUp(disk);
    clock.advance(1000);
    await expect
      .poll(
        () => {
          clock.advance(100);
          return store.usage('here').entries;
        },
        { timeout: 20_000 },
      )
      .toBe(0);
  });

  it('lets a store be opened again, and deleted from', async ({ skip }) => {
    const disk = await mountSmallDisk(14 * 1024);
    if (disk === undefined) return skip(NO_DISK);
    const first = openOn(disk);
    await each(1000, (at) => first.commit([{ put: `s${at}`, value: 'x'.repeat(1000), ...ACCOUNT }]));
    await first.close();
    await fillUp(disk);
    const second = openOn(disk);
    expect(second.get('s7')?.value).toBe('x'.repeat(1000));
    for (let at = 0; at < 1000; at += 1) await second.commit([{ delete: `s${at}` }]);
    expect(second.count('')).toBe(0);
  });

  it('has room kept beside it for what the log holds and the file does not have yet', async ({ skip }) => {
    const disk = await mountSmallDisk(14 * 1024);
    if (disk === undefined) return skip(NO_DISK);
    const store = openOn(disk);
    await store.commit([{ put: 'a', value: LARGE }]);
    const file = join(disk.folder, 'loopsy.db');
    const missing = statSync(`${file}-wal`).size - statSync(file).size;
    expect(missing).toBeGreaterThan(800_000);
    expect(statSync(`${file}-spare`).size).toBeGreaterThan(missing);
  });
});
