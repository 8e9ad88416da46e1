import type { Clock, Timer } from '../kernel/clock.ts';
import type { BatchResult, GroupResult, SweepResult } from './file-writer.ts';
import { StoreBusy, StoreConflict, StoreFull, StoreOverBudget, type Change } from './store.ts';
import { MAX_COMMIT_LENGTH } from './text.ts';
import type { WriterAnswer, WriterBatch, WriterFailure, WriterTask } from './writer-protocol.ts';

const LATER_MS = 200;
const MAX_WAITING = 10_000;
// Lengths are UTF-16 units of keys and values.
const MAX_WAITING_LENGTH = 2 * MAX_COMMIT_LENGTH;
const MAX_GROUP = 1024;
const MAX_GROUP_LENGTH = MAX_COMMIT_LENGTH / 2;
/** So many commits do not wait for the end of the group that is being written: the thread has them when it is free. */
const ENOUGH = 8;
const MAX_AHEAD = 4;
const MAX_AHEAD_LENGTH = 1_048_576;

interface Batch {
  readonly batch: WriterBatch;
  readonly length: number;
  readonly resolve: (revision: number) => void;
  readonly reject: (error: Error) => void;
}

/** What the queue needs of its store. */
export interface CommitQueueOptions {
  readonly file: string;
  readonly clock: Clock;
  /** The time by which entries expire. */
  readonly now: () => number;
  readonly ask: (task: WriterTask) => Promise<WriterAnswer>;
  /** Called before the promises of a group resolve: what was done, and the changes of each batch. */
  readonly onCommitted: (group: GroupResult, changes: readonly (readonly Change[])[]) => void;
  /** True where somebody hears of what expires. */
  readonly isFollowed: () => boolean;
  readonly onSwept: (swept: SweepResult) => void;
  readonly onSweepFailed: (message: string) => void;
}

/** Gathers commits into groups: what comes while one group is written makes the next. */
export class CommitQueue {
  readonly #options: CommitQueueOptions;
  #waiting: Batch[] = [];
  #waitingLength = 0;
  #urgent = false;
  #later: Timer | undefined;
  #sweepDue = false;
  /** How many tasks the thread has; it answers in their order. */
  #ahead = 0;
  #isGathering = false;
  #onIdle: (() => void)[] = [];

  constructor(options: CommitQueueOptions) {
    this.#options = options;
  }

  /** True while the thread works on a group or a sweep. */
  get isWriting(): boolean {
    return this.#ahead > 0 || this.#isGathering;
  }

  /** True until a sweep that was begun has found nothing more. */
  get isSweeping(): boolean {
    return this.#sweepDue;
  }

  /** Resolves with the commit's revision. `length`: what the batch adds to the bounds of the queue. */
  add(batch: WriterBatch, { length, urgent }: { length: number; urgent: boolean }): Promise<number> {
    if (this.#waiting.length >= MAX_WAITING || this.#waitingLength + length > MAX_WAITING_LENGTH) {
      return Promise.reject(new StoreBusy(`too many commits wait for ${this.#options.file}`));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batch, length, resolve, reject });
      this.#waitingLength += length;
      if (urgent) this.#hurry();
      else this.#later ??= this.#options.clock.after(LATER_MS, () => this.#hurry());
    });
  }

  /** Removes what has expired, a little at a time, between the commits. */
  sweep(): void {
    this.#sweepDue = true;
    this.#run();
  }

  /** Resolves when nothing waits any more. */
  async drain(): Promise<void> {
    this.#sweepDue = false;
    if (this.#waiting.length > 0) this.#hurry();
    if (this.isWriting) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }

  #hurry(): void {
    this.#later?.cancel();
    this.#later = undefined;
    this.#urgent = true;
    if (this.#ahead > 0 && this.#mayGoAhead) void this.#write();
    else this.#run();
  }

  get #mayGoAhead(): boolean {
    const isEnough = this.#waiting.length >= ENOUGH && this.#waitingLength <= MAX_AHEAD_LENGTH;
    return isEnough && this.#ahead < MAX_AHEAD;
  }

  /** What is committed in the same turn of the event loop goes together. */
  #run(): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    queueMicrotask(() => {
      this.#isGathering = false;
      this.#next();
    });
  }

  #next(): void {
    if (this.#ahead > 0) return;
    if (this.#urgent) void this.#write();
    else if (this.#sweepDue) void this.#sweepSome();
    else for (const tell of this.#onIdle.splice(0)) tell();
  }

  async #write(): Promise<void> {
    const group = this.#takeGroup();
    const task = {
      kind: 'commit',
      batches: group.map(({ batch }) => batch),
      now: this.#options.now(),
    } as const;
    this.#settle(group, await this.#ask(task));
    this.#run();
  }

  #settle(group: readonly Batch[], answer: WriterAnswer): void {
    if (answer.kind === 'committed') {
      this.#options.onCommitted(
        answer.group,
        group.map(({ batch }) => batch.changes),
      );
      group.forEach((batch, index) => settle(batch, answer.group.results[index], this.#options.file));
      return;
    }
    const failure = answer.kind === 'failed' ? answer.failure : unexpected(answer);
    for (const { reject } of group) reject(this.#explain(failure));
  }

  #takeGroup(): Batch[] {
    let size = 0;
    let length = 0;
    for (const batch of this.#waiting) {
      if (size === MAX_GROUP || (size > 0 && length + batch.length > MAX_GROUP_LENGTH)) break;
      size += 1;
      length += batch.length;
    }
    const group = this.#waiting.splice(0, size);
    this.#waitingLength -= length;
    this.#urgent = this.#waiting.length > 0;
    if (!this.#urgent) {
      this.#later?.cancel();
      this.#later = undefined;
    }
    return group;
  }

  async #sweepSome(): Promise<void> {
    const answer = await this.#ask({ kind: 'sweep', now: this.#options.now(), counts: this.#options.isFollowed() });
    if (answer.kind !== 'swept' || !answer.swept.more) this.#sweepDue = false;
    if (answer.kind === 'failed') this.#options.onSweepFailed(answer.failure.message);
    if (answer.kind === 'swept') this.#options.onSwept(answer.swept);
    this.#run();
  }

  async #ask(task: WriterTask): Promise<WriterAnswer> {
    this.#ahead += 1;
    try {
      return await this.#options.ask(task);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return { kind: 'failed', failure: { reason: 'other', message } };
    } finally {
      this.#ahead -= 1;
    }
  }

  #explain({ reason, message }: WriterFailure): Error {
    const { file } = this.#options;
    switch (reason) {
      case 'full':
        return fullDisk(file);
      case 'busy':
        return new StoreBusy(`another process holds ${file}: nothing was changed`);
      case 'other':
        return new Error(`${file} was not written: ${message}`);
    }
  }
}

const unexpected = (answer: WriterAnswer): WriterFailure => ({
  reason: 'other',
  message: `the writer answered ${answer.kind}`,
});

const fullDisk = (file: string): StoreFull => new StoreFull(`the disk of ${file} is full: nothing was changed`);

const settle = ({ resolve, reject }: Batch, result: BatchResult | undefined, file: string): void => {
  if (typeof result === 'number') resolve(result);
  else if (result === undefined) reject(new Error('the writer has not answered this commit'));
  else if ('full' in result) reject(fullDisk(file));
  else if ('budget' in result) reject(new StoreOverBudget(result.budget, result.bytes));
  else reject(new StoreConflict(result.key, result.revision));
};
