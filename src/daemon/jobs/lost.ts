import { join } from 'node:path';

import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { signalTree, treeLives } from '../process/kill-tree.ts';
import { isSameProcess } from '../process/process-identity.ts';
import { Spool } from '../process/spool.ts';
import type { JobRecord } from './record.ts';
import type { JobRecords } from './records.ts';

const KILL_AFTER_MS = 2_000;

/** What the search for cut-off runs needs. */
export interface LostOptions {
  readonly records: JobRecords;
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly platform: NodeJS.Platform;
}

/** Runs that were cut off by the node's sudden end: nobody saw their end, and what still lives of them is ended. */
export const endLostRuns = async (options: LostOptions): Promise<void> => {
  for (const record of options.records.cutOff()) {
    if (record.endedBy === undefined) {
      await endProcess(record, options);
      await closeRecord(record, options);
    }
    options.records.save(record);
  }
  await options.records.flush();
};

const endProcess = async (record: JobRecord, { clock, log, platform }: LostOptions): Promise<void> => {
  const { pid, startedAt, token } = record;
  if (pid === undefined || startedAt === undefined) return;
  const identity = { pid, startedAt, ...(token === undefined ? {} : { token }) };
  if (!(await isSameProcess(identity, platform))) return;
  log.warn('ending a run that outlived the node', { jobId: record.jobId, pid });
  signalTree(pid, 'SIGTERM', platform);
  clock.after(KILL_AFTER_MS, () => {
    if (treeLives(pid, platform)) signalTree(pid, 'SIGKILL', platform);
  });
};

const closeRecord = async (record: JobRecord, { dir, clock }: LostOptions): Promise<void> => {
  const spool = await Spool.open({
    dir: join(dir, record.jobId),
    windowBytes: () => 0,
    clock,
    onFault: () => undefined,
    onWritten: () => undefined,
  });
  record.endedBy = 'lost';
  record.exitCode = null;
  record.endedAt = clock.now();
  record.outputBytes = Math.max(record.outputBytes, spool.end);
  if (spool.truncated) record.truncated = true;
};
