import { opendir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { jobIdSchema } from '../../protocol/ids.ts';
import type { JobRecord } from './stored-record.ts';
import type { JobRecords } from './records.ts';

const PAGE = 50;
const DAY_MS = 86_400_000;

/** What a sweep needs. */
export interface SweepOptions {
  readonly records: JobRecords;
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly keepDays: () => number;
  readonly isLive: (jobId: string) => boolean;
  readonly signal: AbortSignal;
}

/** Forgets what is older than `jobs.keepDays`: records, and output whose record is gone. In small steps. */
export const sweepJobs = async (options: SweepOptions): Promise<void> => {
  try {
    await sweepRecords(options);
    await sweepFolders(options);
  } catch (error) {
    options.log.warn('old output not removed', { error });
  }
};

const sweepRecords = async (options: SweepOptions): Promise<void> => {
  let after: string | undefined;
  while (!options.signal.aborted) {
    const page = options.records.page(after, PAGE);
    const old = page.filter(({ record }) => record === undefined || isOld(record, options));
    await options.records.remove(old.map(({ jobId }) => jobId));
    after = page.at(-1)?.jobId;
    if (after === undefined) return;
    await setImmediate();
  }
};

const sweepFolders = async ({ dir, records, isLive, signal }: SweepOptions): Promise<void> => {
  const folders = await opendir(dir).catch(() => []);
  for await (const { name } of folders) {
    if (signal.aborted) return;
    const kept = !jobIdSchema.safeParse(name).success || isLive(name) || records.get(name) !== undefined;
    if (!kept) await rm(join(dir, name), { recursive: true, force: true });
  }
};

const isOld = ({ endedAt }: JobRecord, { clock, keepDays }: SweepOptions): boolean =>
  endedAt !== undefined && endedAt + keepDays() * DAY_MS < clock.now();
