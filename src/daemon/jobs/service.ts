import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { abortReason } from '../../kernel/abort.ts';
import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import type { Log } from '../../kernel/log.ts';
import { withTimeLimit } from '../../kernel/sleep.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { ExecuteInput, ExecuteResult, Job as JobRow, JobSignal } from '../../protocol/jobs.ts';
import type { OutputOf, ParsedInputOf } from '../../protocol/operations.ts';
import type { Store } from '../../store/store.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import type { AllowedCommand } from '../../trust/command-guard.ts';
import { maySee } from '../../trust/grants.ts';
import type { Call, StreamSource } from '../edge/call.ts';
import type { Variables } from '../process/environment.ts';
import type { LoginPath } from '../process/login-path.ts';
import { Spool, type SpoolOptions } from '../process/spool.ts';
import { collectResult } from './collect.ts';
import { EndedRun } from './ended-run.ts';
import { Job, type JobHost } from './job.ts';
import { type JobPage, listJobs } from './list.ts';
import { endLostRuns } from './lost.ts';
import { RunQueue } from './queue.ts';
import { createMachine } from './machine.ts';
import { asWholeLine, createRecord, planRun } from './plan.ts';
import { type JobRecord, toJob } from './record.ts';
import { JobRecords } from './records.ts';
import { Repeats } from './repeats.ts';
import { sweepJobs } from './retention.ts';

const SWEEP_MS = 3_600_000;
/** Not beside the start, which is busy enough. */
const FIRST_SWEEP_MS = 30_000;
/** The login shell is asked after the start, so that it costs the start nothing. */
const ASK_PATH_MS = 500;
const STOP_LIMIT_MS = 4_000;
const CANCEL_LIMIT_MS = 5_000;
/** A revoked caller's runs end within a second. */
const REVOKED_GRACE_MS = 300;
const DEFAULT_PAGE = 100;

/** Live settings: asked for at each use. */
export interface JobSettings {
  readonly maxConcurrent: number;
  readonly maxQueued: number;
  readonly defaultTimeoutMs: number;
  /** The window of each run's output on disk. */
  readonly maxOutputBytes: number;
  readonly keepDays: number;
  /** `execution.env`; the same object while it has not changed. */
  readonly env: Variables;
}

/** What jobs are made of. */
export interface JobsOptions {
  readonly store: Store;
  /** The folder of all output. */
  readonly dir: string;
  readonly settings: () => JobSettings;
  /** Gets a line for a shell whole, without further words. @throws {LoopsyError} command_denied */
  readonly guardCommand: (input: ExecuteInput) => AllowedCommand;
  readonly clock: Clock;
  readonly log: Log;
  readonly facts: () => {
    readonly host: string;
    readonly nodeId: string;
    readonly user: string;
    readonly home: string;
  };
  readonly platform: NodeJS.Platform;
  /** The node's own environment. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** The user's login shell. */
  readonly shell?: string;
  /** Default: the login shell is asked. */
  readonly loginPath?: LoginPath;
}

/** The runs of this node. */
export interface Jobs extends Service {
  execute(input: ParsedInputOf<'job.execute'>, call: Call): Promise<ExecuteResult>;
  stream(input: ParsedInputOf<'job.stream'>, call: Call): Promise<StreamSource>;
  list(input: ParsedInputOf<'job.list'>, caller: Caller): Promise<JobPage>;
  get(input: ParsedInputOf<'job.get'>, caller: Caller): JobRow;
  output(input: ParsedInputOf<'job.output'>, caller: Caller): Promise<StreamSource>;
  stdin(input: ParsedInputOf<'job.stdin'>, call: Call): Promise<OutputOf<'job.stdin'>>;
  signal(input: ParsedInputOf<'job.signal'>, caller: Caller): OutputOf<'job.signal'>;
  cancel(input: ParsedInputOf<'job.cancel'>, caller: Caller): Promise<OutputOf<'job.cancel'>>;
  /** Ends the run of a request whose answer its caller no longer wants. @returns false where there is none. */
  leave(caller: string, requestId: string): boolean;
  /** Ends the runs of revoked callers, within a second. @returns how many. */
  endRunsOf(matches: (caller: string) => boolean): Promise<number>;
  /** Lets the runs of removed callers go on, whoever reads them: the owner wants it so. */
  keepRunsOf(matches: (caller: string) => boolean): void;
  /** `active` go on, `queued` wait, `total` are known. */
  counts(): { active: number; queued: number; total: number };
  /** True where a run of this node has the id. */
  knows(jobId: string): boolean;
  /** Settings have changed: waiting runs may start. */
  refresh(): void;
}

/** Makes the service; nothing happens before `start`. */
export const createJobs = (options: JobsOptions): Jobs => new JobService(options);

class JobService implements Jobs {
  readonly name = 'jobs';
  readonly #options: JobsOptions;
  readonly #records: JobRecords;
  readonly #queue: RunQueue<Job>;
  readonly #repeats: Repeats;
  readonly #live = new Map<string, Job>();
  readonly #stopping = new AbortController();
  #host: JobHost | undefined;
  #timers: Timer[] = [];
  #diskFaultSaid = false;

  constructor(options: JobsOptions) {
    const { store, clock, log, settings } = options;
    this.#options = options;
    this.#records = new JobRecords({ store, clock, log, keepDays: () => settings().keepDays });
    this.#queue = new RunQueue(settings);
    this.#repeats = new Repeats(clock);
  }

  async start(): Promise<void> {
    const { clock, log, dir, platform } = this.#options;
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const machine = await createMachine(this.#options);
    this.#host = {
      ...machine,
      changed: (job) => this.#records.save(job.record),
      over: (job) => this.#onOver(job),
      left: (job) => this.#forgetIfOver(job),
    };
    await endLostRuns({ records: this.#records, dir, clock, log, platform });
    this.#timers = [
      clock.after(ASK_PATH_MS, () => void machine.environment(undefined)),
      clock.after(FIRST_SWEEP_MS, () => void this.#sweep()),
      clock.every(SWEEP_MS, () => void this.#sweep()),
    ];
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers) timer.cancel();
    const jobs = [...this.#live.values()];
    for (const job of jobs) job.stop('shutdown');
    const ended = Promise.allSettled(jobs.map((job) => job.outcome())).then(() =>
      Promise.all(jobs.map((job) => job.output.settle())),
    );
    await withTimeLimit(ended, STOP_LIMIT_MS, this.#options.clock);
    await this.#records.flush();
  }

  async execute(input: ExecuteInput, call: Call): Promise<ExecuteResult> {
    const run = await this.#obtain(input, call);
    return collectResult(run.follow(callerName(call.caller), 0), () => run.outcome());
  }

  async stream(input: ExecuteInput, call: Call): Promise<StreamSource> {
    const caller = callerName(call.caller);
    const run = await this.#obtain(input, call);
    // What couldn't be started is answered with its own status, not inside a stream.
    if (run.record.failure !== undefined) await run.outcome();
    return run instanceof Job && !run.isOver ? run.attach(caller) : run.follow(caller, 0);
  }

  list(input: ParsedInputOf<'job.list'>, caller: Caller): Promise<JobPage> {
    const all = input.state === 'all';
    const live = new Map<string, JobRecord>();
    if (all) for (const record of this.#records.fresh()) live.set(record.jobId, record);
    for (const job of this.#live.values()) if (all || !job.isOver) live.set(job.id, job.now());
    const show = (record: JobRecord): JobRow | undefined =>
      maySee(caller, record.caller) ? this.#toRow(record) : undefined;
    return listJobs({ live, stored: all ? this.#records : undefined, show }, input.cursor, input.limit ?? DEFAULT_PAGE);
  }

  get({ jobId }: { readonly jobId: string }, caller: Caller): JobRow {
    return this.#toRow(this.#visible(jobId, caller));
  }

  async output({ jobId, since = 0 }: ParsedInputOf<'job.output'>, caller: Caller): Promise<StreamSource> {
    const run = await this.#find(jobId, caller);
    return run.follow(callerName(caller), since);
  }

  async stdin({ jobId }: { readonly jobId: string }, call: Call): Promise<OutputOf<'job.stdin'>> {
    this.#visible(jobId, call.caller);
    const job = this.#live.get(jobId);
    if (job === undefined || call.body === undefined) return { success: true, jobId, bytes: 0 };
    try {
      return { success: true, jobId, bytes: await job.writeStdin(call.body) };
    } catch (error) {
      if (error instanceof LoopsyError) throw error;
      // Half an input looks whole to the process that reads it: such a run must not go on as if nothing were wrong.
      job.stop('client-gone');
      throw new LoopsyError('invalid_request', {
        message: 'stdin was cut before its end: the run was ended',
        cause: error,
      });
    }
  }

  signal({ jobId, signal }: { jobId: string; signal: JobSignal }, caller: Caller): OutputOf<'job.signal'> {
    this.#visible(jobId, caller);
    return { success: true, jobId, delivered: this.#live.get(jobId)?.signal(signal) ?? false };
  }

  async cancel({ jobId }: { readonly jobId: string }, caller: Caller): Promise<OutputOf<'job.cancel'>> {
    const before = this.#visible(jobId, caller);
    const job = this.#live.get(jobId);
    if (job === undefined || before.endedBy !== undefined) return { success: true, jobId, state: 'ended' };
    job.stop('cancel');
    await withTimeLimit(Promise.allSettled([job.outcome()]), CANCEL_LIMIT_MS, this.#options.clock);
    const endedBy: string | undefined = job.record.endedBy;
    return { success: true, jobId, state: endedBy === undefined || endedBy === 'cancel' ? 'cancelled' : 'ended' };
  }

  async endRunsOf(matches: (caller: string) => boolean): Promise<number> {
    const jobs = [...this.#live.values()].filter((job) => !job.isOver && matches(job.record.caller));
    for (const job of jobs) job.stop('cancel', REVOKED_GRACE_MS);
    await Promise.allSettled(jobs.map((job) => job.outcome()));
    return jobs.length;
  }

  keepRunsOf(matches: (caller: string) => boolean): void {
    for (const job of this.#live.values()) if (matches(job.record.caller)) job.keep();
  }

  leave(caller: string, requestId: string): boolean {
    const job = this.#live.get(this.#repeats.find(caller, requestId) ?? '');
    if (job === undefined || job.isOver) return false;
    job.stop('client-gone');
    return true;
  }

  knows(jobId: string): boolean {
    return this.#live.has(jobId) || this.#records.get(jobId) !== undefined;
  }

  counts(): { active: number; queued: number; total: number } {
    const live = [...this.#live.values()].filter((job) => !job.isOver).length;
    const queued = this.#queue.waiting;
    return { active: live - queued, queued, total: Math.max(live, this.#records.count()) };
  }

  refresh(): void {
    if (this.#stopping.signal.aborted) return;
    for (let job = this.#queue.next(); job !== undefined; job = this.#queue.next()) void job.start();
  }

  /** The run of this request: the one that it started before, or a new one. */
  async #obtain(input: ExecuteInput, call: Call): Promise<Job | EndedRun> {
    const known = call.resumable ? this.#repeats.find(callerName(call.caller), call.requestId) : undefined;
    if (known !== undefined) return this.#repeat(known, call);
    if (call.repeatAgeMs !== undefined && this.#repeats.mayHaveForgotten(call.repeatAgeMs)) {
      throw new LoopsyError('outcome_unknown', {
        message:
          'this repeats a request whose run, if it started one, is not known any more: no second one was started',
        hint: 'see `loopsy jobs list` for what ran',
      });
    }
    const host = this.#host;
    if (host === undefined || this.#stopping.signal.aborted) throw new LoopsyError('node_stopping');
    const command = this.#options.guardCommand(asWholeLine(input, host.processes.shell.kind));
    if (call.signal.aborted) throw new LoopsyError('execution_cancelled');
    const record = createRecord(input, call.caller, this.#options);
    const plan = planRun(input, {
      command,
      resumable: call.resumable,
      defaultTimeoutMs: this.#options.settings().defaultTimeoutMs,
    });
    const output = new Spool(this.#spoolOptions(record.jobId, () => job.pace()));
    const job: Job = new Job(record, plan, { host, output });
    const mayStart = this.#queue.enter(job);
    this.#live.set(job.id, job);
    this.#records.save(record);
    if (call.resumable) this.#repeats.add(record.caller, call.requestId, job.id);
    call.announce(job.id);
    this.#endWith(job, call);
    if (mayStart) await job.start();
    return job;
  }

  async #repeat(jobId: string, call: Call): Promise<Job | EndedRun> {
    call.announce(jobId);
    const run = await this.#find(jobId, call.caller);
    if (run instanceof Job) {
      run.rejoin();
      this.#endWith(run, call);
    }
    return run;
  }

  /** The caller no longer wants it. A lost connection of a resumable call is not said here, but by its follower's close. */
  #endWith(job: Job, { signal }: Call): void {
    const onAbort = (): void => {
      if (job.isKept) return;
      const reason: unknown = signal.reason;
      const word = typeof reason === 'string' ? reason : abortReason(signal);
      job.stop(word === 'client-gone' || word === 'shutdown' ? word : 'cancel');
    };
    signal.addEventListener('abort', onAbort, { once: true });
  }

  /** @throws {LoopsyError} job_not_found, for the runs of others too. */
  #visible(jobId: string, caller: Caller): JobRecord {
    const record = this.#live.get(jobId)?.now() ?? this.#records.get(jobId);
    if (record !== undefined && maySee(caller, record.caller)) return record;
    throw new LoopsyError('job_not_found', { message: `no job has the id ${jobId}`, details: { jobId } });
  }

  async #find(jobId: string, caller: Caller): Promise<Job | EndedRun> {
    const record = this.#visible(jobId, caller);
    const live = this.#live.get(jobId);
    if (live !== undefined) return live;
    return EndedRun.open(
      record,
      this.#options.facts().nodeId,
      this.#spoolOptions(jobId, () => undefined),
    );
  }

  #toRow(record: JobRecord): JobRow {
    return toJob(record, this.#queue.place(record.jobId));
  }

  #onOver(job: Job): void {
    if (!this.#queue.withdraw(job.id)) this.#queue.leave();
    this.#records.save(job.record);
    this.refresh();
    void this.#forget(job);
  }

  /** Once all of its output is on disk and nobody reads, the run is only what the store says. */
  async #forget(job: Job): Promise<void> {
    if (!job.output.settled) {
      await job.output.settle();
      if (job.output.truncated) this.#records.save(job.now());
    }
    if (job.isForgettable) this.#live.delete(job.id);
  }

  #spoolOptions(jobId: string, onWritten: () => void): SpoolOptions {
    const { dir, clock, settings } = this.#options;
    const windowBytes = (): number => settings().maxOutputBytes;
    return {
      dir: join(dir, jobId),
      windowBytes,
      clock,
      onWritten,
      onFault: (error) => this.#onDiskFault(error, jobId),
    };
  }

  #onDiskFault(error: unknown, jobId: string): void {
    if (!this.#diskFaultSaid) this.#options.log.error('output not kept on disk', { jobId, error });
    this.#diskFaultSaid = true;
  }

  #sweep(): Promise<void> {
    const { dir, clock, log, settings } = this.#options;
    this.#diskFaultSaid = false;
    const isLive = (jobId: string): boolean => this.#live.has(jobId);
    const keepDays = (): number => settings().keepDays;
    const sweep = sweepJobs({ records: this.#records, dir, clock, keepDays, isLive, signal: this.#stopping.signal });
    return sweep.catch((error: unknown) => log.warn('old output not removed', { error }));
  }

  #forgetIfOver(job: Job): void {
    if (job.isForgettable) this.#live.delete(job.id);
  }
}
