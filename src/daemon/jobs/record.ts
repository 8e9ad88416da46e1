import { errorFromBody } from '../../protocol/errors.ts';
import { FRAME } from '../../protocol/frames.ts';
import type { Job, JobOutcome, JobStarted } from '../../protocol/jobs.ts';
import type { JobRecord } from './stored-record.ts';

const SHOWN_CHARACTERS = 2_048;

/** Shortens a command line for records and lists, so that a page of them stays small. */
export const clipWords = (command: string, args: readonly string[]): { command: string; args: string[] } => {
  let left = SHOWN_CHARACTERS;
  const clip = (word: string): string => {
    const kept = word.length <= left ? word : `${word.slice(0, Math.max(0, left))}…`;
    left -= word.length + 1;
    return kept;
  };
  const clipped = clip(command);
  const shown: string[] = [];
  for (const arg of args) {
    if (left <= 0) {
      shown.push(`… ${args.length - shown.length} more`);
      break;
    }
    shown.push(clip(arg));
  }
  return { command: clipped, args: shown };
};

/** The row that callers see. */
export const toJob = (record: JobRecord, place: number | undefined): Job => {
  const { v: _v, token: _token, kept: _kept, durationMs, failure, ...rest } = record;
  const { supervisor: _supervisor, supervisorProcess: _process, ...shown } = rest;
  return {
    ...shown,
    state: stateOf(record),
    ...(place === undefined ? {} : { place }),
    ...(durationMs === undefined ? {} : { duration: durationMs }),
    ...(failure === undefined ? {} : { error: failure.error.message }),
  };
};

/** Where a run stands. */
const stateOf = (record: JobRecord): Job['state'] => {
  if (record.endedBy !== undefined) return 'ended';
  return record.startedAt === undefined ? 'queued' : 'running';
};

/** How a run ended, as its callers are told. @throws {LoopsyError} what kept it from starting. */
export const outcomeOf = (record: JobRecord, nodeId: string): JobOutcome => {
  const failure = errorFromBody(record.failure);
  if (failure !== undefined) throw failure;
  return toOutcome(record, nodeId);
};

const toOutcome = (record: JobRecord, nodeId: string): JobOutcome => ({
  jobId: record.jobId,
  exitCode: record.exitCode ?? null,
  ...(record.signal === undefined ? {} : { signal: record.signal }),
  duration: record.durationMs ?? 0,
  killed: record.endedBy !== 'exit' && record.endedBy !== 'lost',
  endedBy: record.endedBy ?? 'lost',
  ...(record.outputCut === undefined ? {} : { outputCut: record.outputCut }),
  host: record.host,
  nodeId,
  user: record.user,
  cwd: record.cwd,
});

/** What `started` says. */
export const toStarted = (record: JobRecord, nodeId: string): JobStarted => ({
  jobId: record.jobId,
  state: stateOf(record),
  ...(record.detached === undefined ? {} : { detached: record.detached }),
  host: record.host,
  nodeId,
  user: record.user,
  cwd: record.cwd,
});

/** The last piece of a run's stream; undefined while the run goes on. */
export const toFinal = (
  record: JobRecord,
  nodeId: string,
): { readonly type: number; readonly data: object } | undefined => {
  if (record.failure !== undefined) return { type: FRAME.error, data: record.failure };
  return record.endedBy === undefined ? undefined : { type: FRAME.exit, data: toOutcome(record, nodeId) };
};
