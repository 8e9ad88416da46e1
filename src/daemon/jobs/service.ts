import type { Service } from '../../kernel/lifecycle.ts';
import { withTimeLimit } from '../../kernel/sleep.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { ExecuteInput, ExecuteResult, Job as JobRow, JobSignal } from '../../protocol/jobs.ts';
import type { OutputOf, ParsedInputOf } from '../../protocol/operations.ts';
import type { Status } from '../../protocol/system.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { maySee } from '../../trust/grants.ts';
import type { Call, StreamSource } from '../edge/call.ts';
import { collectResult } from './collect.ts';
import type { EndedRun } from './ended-run.ts';
import { Job } from './job.ts';
import { type JobPage, listJobs } from './list.ts';
import type { LiveRun } from './live-run.ts';
import type { JobsOptions } from './options.ts';
import { toJob } from './record.ts';
import type { JobRecord } from './stored-record.ts';
import { REVOKED_GRACE_MS, Runs } from './runs.ts';

const CANCEL_LIMIT_MS = 5_000;
const DEFAULT_PAGE = 100;

type JobCounts = Status['jobs'];

/** The runs of this node. */
export interface Jobs extends Service {
  execute(input: ParsedInputOf<'job.execute'>, call: Call): Promise<ExecuteResult>;
  stream(input: ParsedInputOf<'job.stream'>, call: Call): Promise<StreamSource>;
  list(input: ParsedInputOf<'job.list'>, caller: Caller): Promise<JobPage>;
  get(input: ParsedInputOf<'job.get'>, caller: Caller): JobRow;
  output(input: ParsedInputOf<'job.output'>, caller: Caller): Promise<StreamSource>;
  stdin(input: ParsedInputOf<'job.stdin'>, call: Call): Promise<OutputOf<'job.stdin'>>;
  signal(input: ParsedInputOf<'job.signal'>, caller: Caller): Promise<OutputOf<'job.signal'>>;
  cancel(input: ParsedInputOf<'job.cancel'>, caller: Caller): Promise<OutputOf<'job.cancel'>>;
  /** Ends the run of a request whose answer its caller no longer wants. @returns false where there is none. */
  leave(caller: string, requestId: string): boolean;
  /** Ends the runs of revoked callers, within a second. @returns how many. */
  endRunsOf(matches: (caller: string) => boolean): Promise<number>;
  /** Asks that the runs end whose callers may run nothing any more, but those that the owner lets go on. @returns how many. */
  endOrphans(mayRun: (caller: string) => boolean): number;
  /** Lets the runs of removed callers go on, whoever reads them: the owner wants it so. */
  keepRunsOf(matches: (caller: string) => boolean): void;
  /** `active` go on, `queued` wait, `detached` of both outlive the node, `held` of these wait, `total` are known. */
  counts(): JobCounts;
  /** The processes that have detached runs, and how they are. */
  supervisors(): ReturnType<Runs['supervisors']>;
  /** True where a run of this node has the id. */
  knows(jobId: string): boolean;
  /** Settings have changed: waiting runs may start. */
  refresh(): void;
}

/** Makes the service; nothing happens before `start`. */
export const createJobs = (options: JobsOptions): Jobs => new JobService(options);

/** What callers can do with runs. */
class JobService implements Jobs {
  readonly name = 'jobs';
  readonly #options: JobsOptions;
  readonly #runs: Runs;

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#runs = new Runs(options);
  }

  start(): Promise<void> {
    return this.#runs.start();
  }

  stop(): Promise<void> {
    return this.#runs.stop();
  }

  async execute(input: ExecuteInput, call: Call): Promise<ExecuteResult> {
    const run = await this.#runs.obtain(input, call);
    if (input.detach === true) return this.#accept(run);
    return collectResult(run.follow(callerName(call.caller), 0), () => run.outcome());
  }

  async stream(input: ExecuteInput, call: Call): Promise<StreamSource> {
    const caller = callerName(call.caller);
    const run = await this.#runs.obtain(input, call);
    // What couldn't be started is answered with its own status, not inside a stream.
    if (run.record.failure !== undefined) await run.outcome();
    return run instanceof Job && !run.isOver ? run.attach(caller) : run.follow(caller, 0);
  }

  list(input: ParsedInputOf<'job.list'>, caller: Caller): Promise<JobPage> {
    const all = input.state === 'all';
    const { records } = this.#runs;
    const live = new Map<string, JobRecord>();
    if (all) for (const record of records.fresh()) live.set(record.jobId, record);
    for (const job of this.#runs.live()) if (all || !job.isOver) live.set(job.id, job.now());
    const show = (record: JobRecord): JobRow | undefined =>
      maySee(caller, record.caller) ? this.#toRow(record) : undefined;
    return listJobs({ live, stored: all ? records : undefined, show }, input.cursor, input.limit ?? DEFAULT_PAGE);
  }

  get({ jobId }: { readonly jobId: string }, caller: Caller): JobRow {
    return this.#toRow(this.#runs.visible(jobId, caller));
  }

  async output({ jobId, since = 0 }: ParsedInputOf<'job.output'>, caller: Caller): Promise<StreamSource> {
    const run = this.#runs.find(jobId, caller);
    return run.follow(callerName(caller), since);
  }

  async stdin({ jobId }: { readonly jobId: string }, call: Call): Promise<OutputOf<'job.stdin'>> {
    this.#runs.visible(jobId, call.caller);
    const job = this.#runs.get(jobId);
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

  async signal(
    { jobId, signal }: { jobId: string; signal: JobSignal },
    caller: Caller,
  ): Promise<OutputOf<'job.signal'>> {
    this.#runs.visible(jobId, caller);
    return { success: true, jobId, delivered: (await this.#runs.get(jobId)?.signal(signal)) ?? false };
  }

  async cancel({ jobId }: { readonly jobId: string }, caller: Caller): Promise<OutputOf<'job.cancel'>> {
    const before = this.#runs.visible(jobId, caller);
    const job = this.#runs.get(jobId);
    if (job === undefined || before.endedBy !== undefined) return { success: true, jobId, state: 'ended' };
    job.stop('cancel');
    await withTimeLimit(Promise.allSettled([job.outcome()]), CANCEL_LIMIT_MS, this.#options.clock);
    const endedBy: string | undefined = job.record.endedBy;
    if (job.isDetached && endedBy === undefined) {
      throw new LoopsyError('request_timeout', {
        message: 'the supervisor of this run does not answer: the run ends when it does',
        details: { jobId },
      });
    }
    return { success: true, jobId, state: endedBy === undefined || endedBy === 'cancel' ? 'cancelled' : 'ended' };
  }

  leave(caller: string, requestId: string): boolean {
    const job = this.#runs.ofRequest(caller, requestId);
    if (job === undefined || job.isOver || job.isDetached) return false;
    job.stop('client-gone');
    return true;
  }

  async endRunsOf(matches: (caller: string) => boolean): Promise<number> {
    const jobs = this.#runs.live().filter((job) => !job.isOver && matches(job.record.caller));
    for (const job of jobs) job.stop('cancel', REVOKED_GRACE_MS);
    await Promise.allSettled(jobs.map((job) => job.outcome()));
    return jobs.length;
  }

  endOrphans(mayRun: (caller: string) => boolean): number {
    const isOrphan = ({ isOver, record }: LiveRun): boolean =>
      !isOver && record.kept !== true && !mayRun(record.caller);
    const orphans = this.#runs.live().filter(isOrphan);
    for (const run of orphans) run.stop('cancel', REVOKED_GRACE_MS);
    return orphans.length;
  }

  keepRunsOf(matches: (caller: string) => boolean): void {
    for (const job of this.#runs.live()) if (matches(job.record.caller)) job.keep();
  }

  supervisors(): ReturnType<Runs['supervisors']> {
    return this.#runs.supervisors();
  }

  counts(): JobCounts {
    const live = this.#runs.live().filter((job) => !job.isOver);
    const detached = live.filter(({ isDetached }) => isDetached);
    const queued = this.#runs.waiting;
    return {
      active: live.length - queued,
      queued,
      detached: detached.length,
      held: detached.filter(({ id }) => this.#runs.place(id) !== undefined).length,
      total: Math.max(live.length, this.#runs.records.count()),
    };
  }

  knows(jobId: string): boolean {
    return this.#runs.get(jobId) !== undefined || this.#runs.records.get(jobId) !== undefined;
  }

  refresh(): void {
    this.#runs.refresh();
  }

  /** The answer to who started a run that it need not wait for. @throws {LoopsyError} what kept it from starting. */
  async #accept(run: LiveRun | EndedRun): Promise<ExecuteResult> {
    if (run.record.failure !== undefined) await run.outcome();
    const running = { exitCode: null, duration: 0, killed: false, stdout: '', stderr: '', cursor: 0 };
    return { ...run.started(), ...running };
  }

  #toRow(record: JobRecord): JobRow {
    return toJob(record, this.#runs.place(record.jobId));
  }
}
