import type { Readable } from 'node:stream';

import type { EndedBy, JobOutcome, JobSignal } from '../../protocol/jobs.ts';
import type { Followed, Follower } from './follower.ts';
import type { JobRecord } from './stored-record.ts';

/** A run in memory, wherever its process lives: in this process, or with a supervisor. */
export interface LiveRun extends Followed {
  readonly id: string;
  /** Changed in place. */
  readonly record: JobRecord;
  /** The record as it is now. */
  now(): JobRecord;
  /** True where it outlives the node. */
  readonly isDetached: boolean;
  readonly isOver: boolean;
  /** True where it goes on without its caller. */
  readonly isKept: boolean;
  /** True where its output is on disk. */
  readonly isSettled: boolean;
  settle(): Promise<void>;
  /** True where nobody needs this object: the record and the stored output say all. */
  readonly isForgettable: boolean;
  /** The queue lets it in. A failure is an end of the run: it is in the record, and followers are told. */
  start(): Promise<void>;
  /** Ends it for this cause; the first one wins. `graceMs` before the kill: a later call can shorten it. */
  stop(cause: EndedBy, graceMs?: number): void;
  /** Resolves with how it ended. @throws {LoopsyError} what kept it from starting. */
  outcome(): Promise<JobOutcome>;
  /** A reader that does not decide over the run. */
  follow(caller: string, since: number): Follower;
  /** Goes on without its caller, for the owner. */
  keep(): void;
  /** Passes `source` to its stdin. @returns the bytes that it took. @throws {LoopsyError} conflict */
  writeStdin(source: Readable): Promise<number>;
  /** @returns false where the run had ended. */
  signal(signal: JobSignal): boolean | Promise<boolean>;
  /** Its reader has come further, or there is room on the disk. */
  pace(): void;
}
