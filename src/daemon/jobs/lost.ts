import { join } from 'node:path';

import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { isSameProcess } from '../process/process-identity.ts';
import { ProcessTree } from '../process/process-tree.ts';
import { StoredOutput } from '../process/stored-output.ts';
import type { JobRecord } from './stored-record.ts';

const KILL_AFTER_MS = 2_000;

/** What the search for cut-off runs needs. */
export interface LostOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly platform: NodeJS.Platform;
}

/**
 * A run that was cut off by the sudden end of its node or supervisor: nobody saw its end, and what still lives of it is
 * ended. @returns its last record.
 */
export const closeLostRun = async (record: JobRecord, options: LostOptions): Promise<JobRecord> => {
  await endProcess(record, options);
  const output = await StoredOutput.open(join(options.dir, record.jobId));
  return {
    ...record,
    endedBy: 'lost',
    exitCode: null,
    endedAt: options.clock.now(),
    outputBytes: Math.max(record.outputBytes, output.end),
    ...(output.truncated ? { truncated: true } : {}),
  };
};

const endProcess = async (record: JobRecord, { clock, log, platform }: LostOptions): Promise<void> => {
  const { pid, startedAt, token } = record;
  if (pid === undefined || startedAt === undefined) return;
  const identity = { pid, startedAt, ...(token === undefined ? {} : { token }) };
  if (!(await isSameProcess(identity, platform))) return;
  log.warn('ending a run that outlived the node', { jobId: record.jobId, pid });
  const tree = new ProcessTree(pid, platform);
  await tree.look(false);
  tree.signal('SIGTERM');
  clock.after(KILL_AFTER_MS, () => void killRest(tree));
};

const killRest = async (tree: ProcessTree): Promise<void> => {
  if (tree.lives && (await tree.look(false))) tree.signal('SIGKILL');
};
