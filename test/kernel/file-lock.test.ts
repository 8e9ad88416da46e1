import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { systemClock } from '../../src/kernel/clock.ts';
import { FileLockTimeout, withFileLock } from '../../src/kernel/file-lock.ts';
import { bundleFixture } from '../helpers/bundle-fixture.ts';
import { FakeClock } from '../helpers/clock.ts';
import { driveClock } from '../helpers/drive-clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';

describe('a file lock', () => {
  it('gives what the work gives, passes on what it throws, and leaves nothing behind', async () => {
    const folder = await tempFolder();
    const lock = join(folder, 'config.lock');
    const clock = new FakeClock();
    expect(await withFileLock(lock, async () => 7, { clock })).toBe(7);
    await expect(withFileLock(lock, () => Promise.reject(new Error('no')), { clock })).rejects.toThrow('no');
    expect(await readdir(folder)).toEqual([]);
  });

  it('lets one after the other in', async () => {
    const lock = join(await tempFolder(), 'lock');
    let inside = 0;
    let most = 0;
    const section = async (): Promise<void> => {
      most = Math.max(most, ++inside);
      await new Promise(setImmediate);
      inside -= 1;
    };
    await Promise.all(Array.from({ length: 10 }, () => withFileLock(lock, section, { clock: systemClock })));
    expect(most).toBe(1);
  });

  it('loses no change of four processes that write the same file', async () => {
    const folder = await tempFolder();
    const file = join(folder, 'count');
    await writeFile(file, '0');
    const program = await bundleFixture('test/fixtures/counter.ts', folder);
    const children = Array.from({ length: 4 }, () =>
      spawn(process.execPath, [program, file, join(folder, 'lock'), '25'], { stdio: 'inherit' }),
    );
    const codes = await Promise.all(children.map(async (child) => (await once(child, 'exit'))[0] as unknown));
    expect(codes).toEqual([0, 0, 0, 0]);
    expect(await readFile(file, 'utf8')).toBe('100');
  });

  it('of a process killed inside it is free again after its time', async () => {
    const folder = await tempFolder();
    const file = join(folder, 'count');
    const lock = join(folder, 'lock');
    await writeFile(file, '0');
    const program = await bundleFixture('test/fixtures/counter.ts', folder);
    spawnSync(process.execPath, [program, file, lock, '1', 'inside']);
    expect(await readdir(lock)).toHaveLength(1);
    const clock = new FakeClock();
    const begun = clock.monotonicMs();
    expect(
      await driveClock(
        clock,
        withFileLock(lock, async () => 'in', { clock }),
      ),
    ).toBe('in');
    expect(clock.monotonicMs() - begun).toBeGreaterThanOrEqual(10_000);
    spawnSync(process.execPath, [program, file, lock, '1']);
    expect(await readFile(file, 'utf8')).toBe('1');
  });

  it('that is dead is taken over by one of many who wait, at a time', async () => {
    const folder = await tempFolder();
    const lock = join(folder, 'lock');
    await mkdir(lock);
    await writeFile(join(lock, 'dead'), '');
    let inside = 0;
    const section = async (): Promise<void> => {
      expect(++inside).toBe(1);
      await new Promise(setImmediate);
      inside -= 1;
    };
    const clock = new FakeClock();
    const waiting = Array.from({ length: 8 }, () => withFileLock(lock, section, { clock, waitMs: 3_600_000 }));
    await driveClock(clock, Promise.all(waiting));
    expect(await readdir(folder)).toEqual([]);
  });

  it('whose holder was late leaves the lock of its successor alone', async () => {
    const folder = await tempFolder();
    const lock = join(folder, 'lock');
    const clock = new FakeClock();
    let leave: () => void = () => undefined;
    const late = withFileLock(lock, () => new Promise<void>((resolve) => (leave = resolve)), { clock });
    while ((await readdir(folder)).join() !== 'lock') await new Promise(setImmediate);
    await driveClock(
      clock,
      withFileLock(
        lock,
        async () => {
          const [successor] = await readdir(lock);
          leave();
          await late;
          expect(await readdir(lock)).toEqual([successor]);
        },
        { clock },
      ),
    );
    expect(await readdir(folder)).toEqual([]);
  });

  it('that is held too long is an error that names it', async () => {
    const lock = join(await tempFolder(), 'config.lock');
    const clock = new FakeClock();
    let leave: () => void = () => undefined;
    const holding = withFileLock(lock, () => new Promise<void>((resolve) => (leave = resolve)), { clock });
    while ((await readdir(join(lock, '..'))).join() !== 'config.lock') await new Promise(setImmediate);
    const waiting = withFileLock(lock, async () => 'in', { clock, waitMs: 500 });
    await expect(driveClock(clock, waiting)).rejects.toThrow(FileLockTimeout);
    await expect(waiting).rejects.toThrow(/config\.lock was held by another process for 500 ms/);
    leave();
    await holding;
    expect(await withFileLock(lock, async () => 'in', { clock })).toBe('in');
  });
});
