import { LoopsyError } from '../../protocol/errors.ts';
import type { EndedBy, JobOutcome, JobSignal, JobStarted } from '../../protocol/jobs.ts';
import type { StoredOutput } from '../process/stored-output.ts';
import { type Followed, Follower } from './follower.ts';
import type { LiveRun } from './live-run.ts';
import { outcomeOf, toFinal, toStarted } from './record.ts';
import type { JobRecord } from './stored-record.ts';
import { isUnknown, type SupervisorLink } from './supervisor-link.ts';
import type { WirePlan } from './wire.ts';

/** What all detached runs of a node share. */
export interface DetachedHost {
  readonly nodeId: () => string;
  /** The way to its supervisor, while it is there. */
  readonly link: (run: DetachedRun) => SupervisorLink | undefined;
  /** Nobody waits for the answer: what is asked for is asked again when the link is back. */
  readonly tell: (answer: Promise<unknown>) => void;
  /** The record has changed. */
  changed(run: DetachedRun): void;
  /** The run has ended. */
  over(run: DetachedRun): void;
  /** A follower has gone. */
  left(run: DetachedRun): void;
}

/** A run whose process is a supervisor's child: this node asks, and reads the output where the supervisor writes it. */
export class DetachedRun implements LiveRun {
  readonly isDetached = true;
  readonly isKept = true;
  readonly isSettled = true;
  readonly record: JobRecord;
  readonly output: StoredOutput;
  /** Counts what `started` has to say: queued, then running. */
  phase = 0;
  readonly #host: DetachedHost;
  readonly #followers = new Set<Follower>();
  /** It may start, as far as the queue is concerned. */
  #letIn = false;
  #stop: { readonly cause: EndedBy; readonly graceMs?: number } | undefined;
  #waiters: (() => void)[] = [];

  constructor(record: JobRecord, parts: { readonly host: DetachedHost; readonly output: StoredOutput }) {
    this.record = record;
    this.output = parts.output;
    this.#host = parts.host;
  }

  get id(): string {
    return this.record.jobId;
  }

  get isOver(): boolean {
    return this.record.endedBy !== undefined;
  }

  get isForgettable(): boolean {
    return this.isOver && this.#followers.size === 0;
  }

  /** Hands it over to a supervisor. @throws {LoopsyError} what the supervisor answers. @throws {LinkLost} */
  async place(link: SupervisorLink, plan: WirePlan): Promise<void> {
    const go = this.#letIn;
    const { record } = await link.ask({ do: 'start', record: this.record, plan, go });
    this.update(record);
    // What was asked for meanwhile.
    if (this.#letIn && !go) void this.start();
    this.#sendStop();
  }

  async start(): Promise<void> {
    this.#letIn = true;
    const link = this.record.supervisor === undefined ? undefined : this.#host.link(this);
    if (link === undefined || this.isOver) return;
    this.#host.tell(link.ask({ do: 'go', jobId: this.id }).then(({ record }) => this.update(record)));
  }

  stop(cause: EndedBy, graceMs?: number): void {
    if (this.isOver) return;
    this.#stop = graceMs === undefined ? { cause } : { cause, graceMs };
    this.#sendStop();
  }

  /** It could not be started. */
  fail(failure: LoopsyError, now: number): void {
    // The same shape, without its readonly marks.
    const body = failure.toBody() as JobRecord['failure'];
    this.update({ ...this.record, failure: body, endedBy: 'exit', exitCode: null, endedAt: now, durationMs: 0 });
  }

  /** What its supervisor says of it. */
  update(record: JobRecord): void {
    if (this.isOver) return;
    const wasRunning = this.record.startedAt !== undefined;
    Object.assign(this.record, record);
    if (!wasRunning && record.startedAt !== undefined) this.phase += 1;
    if (this.isOver) {
      this.output.grow(record.outputBytes);
      this.#host.over(this);
    } else {
      this.#host.changed(this);
    }
    for (const resolve of this.#waiters.splice(0)) resolve();
    this.#wake();
  }

  /** So much of its output is on disk. */
  grown(end: number, truncated: boolean): void {
    this.output.grow(end);
    if (truncated) this.record.truncated = true;
    this.#wake();
  }

  /** The link to its supervisor is another one: what holds is said again. */
  relinked(): void {
    if (this.#letIn && this.record.startedAt === undefined) void this.start();
    this.#sendStop();
    if (this.#followers.size > 0) this.#sendFollow(true);
  }

  async outcome(): Promise<JobOutcome> {
    while (!this.isOver) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return outcomeOf(this.record, this.#host.nodeId());
  }

  follow(caller: string, since: number): Follower {
    const follower = new Follower(this, caller, since);
    this.#followers.add(follower);
    if (this.#followers.size === 1 && !this.isOver) this.#sendFollow(true);
    return follower;
  }

  keep(): void {
    this.record.kept = true;
    this.#host.changed(this);
  }

  async settle(): Promise<void> {}

  pace(): void {}

  async writeStdin(): Promise<number> {
    throw new LoopsyError('conflict', {
      message: 'a detached run takes no stdin: it was given as text, or not at all',
      hint: 'give it as `stdin` when the run is started',
    });
  }

  async signal(signal: JobSignal): Promise<boolean> {
    if (this.isOver) return false;
    const link = this.#host.link(this);
    if (link === undefined) {
      throw new LoopsyError('request_timeout', { message: 'the supervisor of this run does not answer at the moment' });
    }
    try {
      return (await link.ask({ do: 'signal', jobId: this.id, signal })).delivered;
    } catch (error) {
      throw isUnknown(error) ? outcomeUnknown(this.id, error) : error;
    }
  }

  now(): JobRecord {
    this.record.outputBytes = Math.max(this.record.outputBytes, this.output.end);
    return this.record;
  }

  started(): JobStarted {
    return toStarted(this.record, this.#host.nodeId());
  }

  final(): ReturnType<Followed['final']> {
    return toFinal(this.record, this.#host.nodeId());
  }

  taken(): void {}

  left(follower: Follower): void {
    this.#followers.delete(follower);
    if (this.#followers.size === 0 && !this.isOver) this.#sendFollow(false);
    this.#host.left(this);
  }

  #wake(): void {
    for (const follower of this.#followers) follower.wake();
  }

  #sendFollow(on: boolean): void {
    const link = this.#host.link(this);
    if (link !== undefined) this.#host.tell(link.ask({ do: 'follow', jobId: this.id, on }));
  }

  #sendStop(): void {
    const link = this.#stop === undefined || this.isOver ? undefined : this.#host.link(this);
    if (link !== undefined && this.#stop !== undefined) {
      this.#host.tell(link.ask({ do: 'end', jobId: this.id, ...this.#stop }));
    }
  }
}

/** What was asked of the supervisor of this run may have happened, or happen yet. */
export const outcomeUnknown = (jobId: string, cause: Error): LoopsyError =>
  new LoopsyError('outcome_unknown', {
    message: `${cause.message}: what became of run ${jobId} is not known`,
    hint: `\`loopsy jobs show ${jobId}\` says it as soon as it is`,
    cause,
  });
