import type { Clock } from '../../kernel/clock.ts';
import type { LoopsyError } from '../../protocol/errors.ts';
import type { EndClose, Transfer } from '../../protocol/transfers.ts';
import type { EndFailures } from './end-failures.ts';

/** What is open on this node's disk, and for whom. */
export interface OpenEnd {
  readonly endId: string;
  readonly role: 'source' | 'target';
  readonly caller: string;
  /** The peer's node; empty for this node's own movers. */
  readonly nodeId: string;
  /** The mover's start, where it has said it. */
  readonly boot: string | undefined;
  readonly about: Pick<Transfer, 'from' | 'to' | 'sources' | 'dest'>;
  readonly startedAt: number;
  readonly startedAtMs: number;
  readonly release: () => void;
  readonly failures: EndFailures;
  /** Where it really goes. */
  path: string | undefined;
  usedAtMs: number;
  /** Over the wire. */
  sent: number;
  /** Of files. */
  done: number;
  busy: number;
}

/** How an end is left. */
export type EndLeaving = Omit<EndClose, 'endId'>;

/** An end as people see it. */
export const rowOfEnd = (end: OpenEnd, clock: Clock, leaving?: EndLeaving): Transfer => {
  const { endId, role, caller, about, path, startedAt, startedAtMs, failures, sent, done } = end;
  const { files = 0, failed = failures.count, outcome = 'lost' } = leaving ?? {};
  const isDone = leaving?.outcome === 'done';
  return {
    transferId: endId,
    role,
    ...about,
    ...(path === undefined ? {} : { path }),
    state: leaving === undefined ? 'running' : 'ended',
    ...(leaving === undefined ? {} : { outcome, endedAt: clock.now() }),
    ...(leaving !== undefined && outcome === 'failed' ? failures.main : {}),
    caller,
    startedAt,
    duration: clock.monotonicMs() - startedAtMs,
    counting: false,
    files: { found: files + failed, done: files, skipped: 0, failed },
    folders: 0,
    links: 0,
    removed: 0,
    bytes: { found: done, sent, done },
    failures: isDone ? [] : failures.kept,
  };
};

/** One that was refused before it was open. */
export const refusedRow = (end: OpenEnd, clock: Clock, { error, message }: LoopsyError): Transfer => ({
  ...rowOfEnd(end, clock, { outcome: 'failed' }),
  error,
  message,
});
