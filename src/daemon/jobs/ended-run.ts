import type { JobOutcome, JobStarted } from '../../protocol/jobs.ts';
import type { StoredOutput } from '../process/stored-output.ts';
import { type Followed, Follower } from './follower.ts';
import { outcomeOf, toFinal, toStarted } from './record.ts';
import type { JobRecord } from './stored-record.ts';

/** A run that has ended, read from its record and its stored output. */
export class EndedRun implements Followed {
  readonly record: JobRecord;
  readonly output: StoredOutput;
  readonly phase = 0;
  readonly #nodeId: string;

  constructor(record: JobRecord, output: StoredOutput, nodeId: string) {
    this.record = record;
    this.output = output;
    this.#nodeId = nodeId;
  }

  follow(caller: string, since: number): Follower {
    return new Follower(this, caller, since);
  }

  async outcome(): Promise<JobOutcome> {
    return outcomeOf(this.record, this.#nodeId);
  }

  started(): JobStarted {
    return toStarted(this.record, this.#nodeId);
  }

  final(): ReturnType<Followed['final']> {
    return toFinal(this.record, this.#nodeId);
  }

  /** Nothing is paced by it. */
  taken(): void {}

  /** Nothing ends by it. */
  left(): void {}
}
