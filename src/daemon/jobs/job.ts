import type { Readable } from 'node:stream';

import type { Clock, Timer } from '../../kernel/clock.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { EndedBy, JobOutcome, JobSignal, JobStarted } from '../../protocol/jobs.ts';
import type { AllowedCommand } from '../../trust/command-guard.ts';
import type { Variables } from '../process/environment.ts';
import {
  type ProcessEnd,
  type ProcessHost,
  type ProcessSpec,
  type RunningProcess,
  startProcess,
} from '../process/run.ts';
import type { Spool } from '../process/spool.ts';
import type { Followed, Follower } from './follower.ts';
import type { LiveRun } from './live-run.ts';
import { Readers, type ReadRun } from './readers.ts';
import { outcomeOf, toFinal, toStarted } from './record.ts';
import type { JobRecord } from './stored-record.ts';

/** Between the request to end and the kill. */
const END_GRACE_MS = 2_000;

/** What one run is to do. */
export interface JobPlan {
  readonly command: AllowedCommand;
  readonly env: Variables | undefined;
  readonly stdin: ProcessSpec['stdin'];
  /** 0: none. */
  readonly timeoutMs: number;
  /** True where a lost connection is no reason to end it at once. */
  readonly resumable: boolean;
}

/** What all runs of a node share. */
export interface JobHost {
  readonly clock: Clock;
  readonly nodeId: () => string;
  readonly processes: ProcessHost;
  readonly environment: (sent: Variables | undefined) => Variables | Promise<Variables>;
  /** True while the disk is too far behind for all runs together. */
  readonly mustWait: () => boolean;
  /** The record has changed. */
  changed(job: Job): void;
  /** The run has ended. */
  over(job: Job): void;
  /** A follower has gone. */
  left(job: Job): void;
}

/** One run whose process is a child of this one, from the queue to its end. */
export class Job implements LiveRun, ReadRun {
  readonly isDetached = false;
  readonly record: JobRecord;
  readonly output: Spool;
  /** Counts what `started` has to say: queued, then running. */
  phase = 0;
  readonly #plan: JobPlan;
  readonly #host: JobHost;
  readonly #readers: Readers;
  #process: RunningProcess | undefined;
  #starting = false;
  #exited = false;
  #cause: EndedBy | undefined;
  #startedMs = 0;
  #timeout: Timer | undefined;
  /** It was told to end: what it still says is read at once. */
  #ending = false;
  #waiters: (() => void)[] = [];

  constructor(record: JobRecord, plan: JobPlan, parts: { readonly host: JobHost; readonly output: Spool }) {
    this.record = record;
    this.output = parts.output;
    this.#plan = plan;
    this.#host = parts.host;
    this.#readers = new Readers(this, {
      clock: parts.host.clock,
      resumable: plan.resumable,
      onGone: () => this.stop('client-gone'),
    });
  }

  get id(): string {
    return this.record.jobId;
  }

  get isOver(): boolean {
    return this.record.endedBy !== undefined;
  }

  get isSettled(): boolean {
    return this.output.settled;
  }

  settle(): Promise<void> {
    return this.output.settle();
  }

  get isForgettable(): boolean {
    return this.isOver && this.#readers.count === 0 && this.isSettled;
  }

  /** Starts the process. */
  async start(): Promise<void> {
    this.#starting = true;
    const { command, env: sent, stdin } = this.#plan;
    try {
      const built = this.#host.environment(sent);
      const env = built instanceof Promise ? await built : built;
      if (this.#cause !== undefined) return this.#finish();
      const spec = { command, cwd: this.record.cwd, env, stdin };
      this.#process = await startProcess(spec, this.#host.processes, {
        output: (type, bytes) => this.#onOutput(type, bytes),
        exited: () => this.#onExit(),
        ended: (end) => this.#finish(end),
      });
      this.#onStarted(this.#process);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** After the exit of the main process it ends those that it left behind and that still hold the output. */
  stop(cause: EndedBy, graceMs = END_GRACE_MS): void {
    if (this.isOver) return;
    this.#cause ??= cause;
    this.#ending = true;
    if (this.#process !== undefined) {
      this.#process.end(graceMs);
      this.pace();
      return;
    }
    if (!this.#starting) this.#finish();
  }

  async outcome(): Promise<JobOutcome> {
    while (!this.isOver) await this.#change();
    return outcomeOf(this.record, this.#host.nodeId());
  }

  /** The reader of the request that started the run, or of its repeat: it sets the pace, and its end ends the run. */
  attach(caller: string): Follower {
    return this.#readers.attach(caller);
  }

  follow(caller: string, since: number): Follower {
    return this.#readers.follow(caller, since);
  }

  /** The caller is back. */
  rejoin(): void {
    this.#readers.rejoin();
  }

  keep(): void {
    this.#readers.keep();
  }

  get isKept(): boolean {
    return this.#readers.isKept;
  }

  async writeStdin(source: Readable): Promise<number> {
    if (this.#plan.stdin !== 'stream') {
      throw new LoopsyError('conflict', {
        message: 'this run takes no stdin: it was given as text, or not at all',
        hint: 'start it with stdinStream: true',
      });
    }
    while (this.#process === undefined && !this.isOver) await this.#change();
    // Input for a run that has ended meanwhile is no error: it is not read, as with a process that closed its stdin.
    return this.#exited ? 0 : ((await this.#process?.stdin?.write(source)) ?? 0);
  }

  /** A run that still waits ends by a signal that ends runs. */
  signal(signal: JobSignal): boolean | Promise<boolean> {
    if (this.#process !== undefined) return this.#process.signal(signal);
    const ends = ['SIGINT', 'SIGTERM', 'SIGKILL', 'SIGHUP', 'SIGQUIT'].includes(signal);
    if (this.isOver || !ends) return false;
    this.stop('cancel');
    return true;
  }

  now(): JobRecord {
    this.record.outputBytes = this.output.end;
    if (this.output.truncated) this.record.truncated = true;
    return this.record;
  }

  started(): JobStarted {
    return toStarted(this.record, this.#host.nodeId());
  }

  final(): ReturnType<Followed['final']> {
    return toFinal(this.record, this.#host.nodeId());
  }

  taken(): void {
    this.pace();
  }

  left(follower: Follower): void {
    this.#readers.remove(follower);
    this.#host.left(this);
  }

  /** The process waits while its reader or the disk is behind. */
  pace(): void {
    if (this.#process === undefined) return;
    const { output } = this;
    const { cursor } = this.#readers;
    const behind = !this.#ending && cursor !== undefined && output.isFarBehind(cursor);
    // What a run that ends still has to say is little: it ends, whatever other runs have left to the disk.
    const crowded = !this.#ending && !this.#exited && this.#host.mustWait();
    if (behind || crowded || output.overfull) this.#process.pause();
    else this.#process.resume();
  }

  #onStarted(process: RunningProcess): void {
    const { clock } = this.#host;
    const { timeoutMs } = this.#plan;
    this.record.pid = process.pid;
    this.record.startedAt = clock.now();
    this.#startedMs = clock.monotonicMs();
    if (timeoutMs > 0) this.#timeout = clock.after(timeoutMs, () => this.stop('timeout'));
    if (this.#cause !== undefined) process.end(END_GRACE_MS);
    this.phase += 1;
    this.#host.changed(this);
    this.#announce();
  }

  #onOutput(type: number, bytes: Uint8Array): void {
    this.output.append(type, bytes);
    this.pace();
    this.#readers.wake();
  }

  #onExit(): void {
    this.#exited = true;
    this.#cause ??= 'exit';
    this.pace();
  }

  #fail(error: unknown): void {
    const failure = error instanceof LoopsyError ? error : new LoopsyError('execution_failed', { cause: error });
    this.record.failure = failure.toBody() as JobRecord['failure']; // the same shape, without its readonly marks
    this.#cause = 'exit';
    this.#finish();
  }

  #finish(end?: ProcessEnd): void {
    const { clock } = this.#host;
    const { record } = this;
    this.#timeout?.cancel();
    this.rejoin();
    const cause = this.#cause ?? 'exit';
    // A process that we ended never counts as a success, even where it answered the signal with exit 0.
    record.exitCode = cause === 'exit' ? (end?.exitCode ?? null) : null;
    const signal = end?.signal ?? (cause === 'exit' ? undefined : end?.sent);
    if (signal !== undefined) record.signal = signal;
    record.endedAt = clock.now();
    record.durationMs = end === undefined ? 0 : Math.round((clock.monotonicMs() - this.#startedMs) * 10) / 10;
    record.endedBy = cause;
    if (end?.outputCut === true) record.outputCut = true;
    this.output.finish();
    this.now();
    this.#host.over(this);
    this.#announce();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Tells everyone who waits that the state is another. */
  #announce(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
    this.#readers.wake();
  }
}
