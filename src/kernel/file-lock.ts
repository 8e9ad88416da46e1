import { mkdir, readdir, rename, rm, rmdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { errorCode } from './atomic-file.ts';
import type { Clock } from './clock.ts';
import { randomHex } from './ids.ts';
import { sleep } from './sleep.ts';

/** How a lock is waited for. */
export interface FileLockOptions {
  readonly clock: Clock;
  /** The longest wait, ms; default 15,000. It must be longer than `staleMs`, or a dead lock is never broken. */
  readonly waitMs?: number;
  /** A lock that one holder has kept for so long, ms, is a crashed process's; default 10,000. */
  readonly staleMs?: number;
}

/** Another process held the lock for the whole wait. */
export class FileLockTimeout extends Error {
  override readonly name = 'FileLockTimeout';

  constructor(lock: string, waitMs: number) {
    super(`${lock} was held by another process for ${waitMs} ms`);
  }
}

const POLL_MS = 25;
/** What a rename onto a folder that is not empty answers, on any system. */
const HELD = new Set(['ENOTEMPTY', 'EEXIST', 'EPERM', 'EACCES', 'EBUSY']);
const GONE_OR_HELD = new Set(['ENOENT', ...HELD]);

/**
 * Runs `work` while no other process (or call) is inside the same lock. For sections of milliseconds, such as the change
 * of a settings file.
 *
 * The lock is a folder that holds one file, named after its holder: it is taken by renaming a prepared folder onto it,
 * which works just where it is absent or empty. A dead holder's file is removed by its name, so that nobody can remove
 * the lock of the one who was faster. How long it has been held is measured by the one who waits, on a monotonic clock:
 * no process id is compared, and clocks that jump don't matter.
 * @throws {FileLockTimeout} where it was held for `waitMs`; whatever `work` throws.
 */
export const withFileLock = async <T>(lock: string, work: () => Promise<T>, options: FileLockOptions): Promise<T> => {
  const holder = randomHex(8);
  const prepared = `${lock}.${holder}`;
  await mkdir(prepared, { mode: 0o700 });
  try {
    await writeFile(join(prepared, holder), '', { mode: 0o600 });
    await acquire(lock, prepared, options);
  } catch (error) {
    await rm(prepared, { recursive: true, force: true });
    throw error;
  }
  try {
    return await work();
  } finally {
    await release(lock, holder);
  }
};

const acquire = async (lock: string, prepared: string, options: FileLockOptions): Promise<void> => {
  const { clock, waitMs = 15_000, staleMs = 10_000 } = options;
  const begun = clock.monotonicMs();
  let seen: { holder: string; since: number } | undefined;
  while (!(await tryTake(lock, prepared))) {
    const now = clock.monotonicMs();
    if (now - begun >= waitMs) throw new FileLockTimeout(lock, waitMs);
    const holder = await holderOf(lock);
    if (holder === undefined || holder !== seen?.holder)
      seen = holder === undefined ? undefined : { holder, since: now };
    else if (now - seen.since >= staleMs) await release(lock, holder);
    await sleep(POLL_MS, clock);
  }
};

const tryTake = async (lock: string, prepared: string): Promise<boolean> => {
  try {
    await rename(prepared, lock);
    return true;
  } catch (error) {
    if (!HELD.has(errorCode(error) ?? '')) throw error;
    // Windows replaces no folder, not even an empty one.
    await ignoring(GONE_OR_HELD, rmdir(lock));
    return false;
  }
};

const holderOf = async (lock: string): Promise<string | undefined> => {
  try {
    return (await readdir(lock))[0];
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
};

/** Takes `holder`'s own file away: where another holds the lock by now, nothing happens. */
const release = async (lock: string, holder: string): Promise<void> => {
  await ignoring(GONE_OR_HELD, unlink(join(lock, holder)));
  await ignoring(GONE_OR_HELD, rmdir(lock));
};

const ignoring = async (codes: ReadonlySet<string>, work: Promise<void>): Promise<void> => {
  try {
    await work;
  } catch (error) {
    if (!codes.has(errorCode(error) ?? '')) throw error;
  }
};
