import { abortReason } from '../../kernel/abort.ts';
import type { Timer } from '../../kernel/clock.ts';
import { withTimeLimit } from '../../kernel/sleep.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { ExecuteInput } from '../../protocol/jobs.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { maySee } from '../../trust/grants.ts';
import type { Call } from '../edge/call.ts';
import { EndedRun } from './ended-run.ts';
import { Job, type JobHost } from './job.ts';
import { endLostRuns } from './lost.ts';
import { createMachine } from './machine.ts';
import type { JobsOptions } from './options.ts';
import { Outputs } from './outputs.ts';
import { asWholeLine, createRecord, planRun } from './plan.ts';
import { RunQueue } from './queue.ts';
import type { JobRecord } from './record.ts';
import { JobRecords } from './records.ts';
import { Repeats } from './repeats.ts';

const SWEEP_MS = 3_600_000;
/** Not beside the start, which is busy enough. */
const FIRST_SWEEP_MS = 30_000;
/** The login shell is asked after the start, so that it costs the start nothing. */
const ASK_PATH_MS = 500;
const STOP_LIMIT_MS = 4_000;

/** The runs themselves: each from its request through the queue to the moment when only its record is left. */
export class Runs {
  readonly records: JobRecords;
  readonly #options: JobsOptions;
  readonly #queue: RunQueue<Job>;
  readonly #repeats: Repeats;
  readonly #outputs: Outputs;
  readonly #live = new Map<string, Job>();
  readonly #stopping = new AbortController();
  #host: JobHost | undefined;
  #timers: Timer[] = [];

  constructor(options: JobsOptions) {
    const { store, clock, log, settings } = options;
    this.#options = options;
    this.records = new JobRecords({ store, clock, log, keepDays: () => settings().keepDays });
    this.#outputs = new Outputs({ ...options, onRoom: () => this.#onRoom() });
    this.#queue = new RunQueue(settings, () => this.#outputs.areBehind);
    this.#repeats = new Repeats(clock);
  }

  async start(): Promise<void> {
    const { clock } = this.#options;
    await this.#outputs.start();
    const machine = await createMachine(this.#options);
    this.#host = {
      ...machine,
      mustWait: () => this.#outputs.areBehind,
      changed: (job) => this.records.save(job.record),
      over: (job) => this.#onOver(job),
      left: (job) => this.#forgetIfOver(job),
    };
    await endLostRuns({ ...this.#options, records: this.records });
    const sweep = (): void => {
      void this.#outputs.sweep(this.records, (jobId) => this.#live.has(jobId), this.#stopping.signal);
    };
    this.#timers = [
      clock.after(ASK_PATH_MS, () => void machine.environment(undefined)),
      clock.after(FIRST_SWEEP_MS, sweep),
      clock.every(SWEEP_MS, sweep),
    ];
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers) timer.cancel();
    const jobs = this.live();
    for (const job of jobs) job.stop('shutdown');
    const ended = Promise.allSettled(jobs.map((job) => job.outcome())).then(() =>
      Promise.all(jobs.map((job) => job.output.settle())),
    );
    await withTimeLimit(ended, STOP_LIMIT_MS, this.#options.clock);
    await this.records.flush();
  }

  /** The run of this request: the one that it started before, or a new one. */
  async obtain(input: ExecuteInput, call: Call): Promise<Job | EndedRun> {
    const known = call.resumable ? this.#repeats.find(callerName(call.caller), call.requestId) : undefined;
    if (known !== undefined) return this.#repeat(known, call);
    if (call.repeatAgeMs !== undefined && this.#repeats.mayHaveForgotten(call.repeatAgeMs)) {
      throw new LoopsyError('outcome_unknown', {
        message:
          'this repeats a request whose run, if it started one, is not known any more: no second one was started',
        hint: 'see `loopsy jobs list` for what ran',
      });
    }
    const job = this.#create(input, call);
    const mayStart = this.#queue.enter(job);
    this.#live.set(job.id, job);
    this.records.save(job.record);
    if (call.resumable) this.#repeats.add(job.record.caller, call.requestId, job.id);
    call.announce(job.id);
    endWith(job, call);
    if (mayStart) await job.start();
    return job;
  }

  /** What is known of a run. @throws {LoopsyError} job_not_found, for the runs of others too. */
  visible(jobId: string, caller: Caller): JobRecord {
    const record = this.#live.get(jobId)?.now() ?? this.records.get(jobId);
    if (record !== undefined && maySee(caller, record.caller)) return record;
    throw new LoopsyError('job_not_found', { message: `no job has the id ${jobId}`, details: { jobId } });
  }

  /** A run that can be read. @throws {LoopsyError} as `visible`. */
  async find(jobId: string, caller: Caller): Promise<Job | EndedRun> {
    const record = this.visible(jobId, caller);
    const live = this.#live.get(jobId);
    if (live !== undefined) return live;
    const output = await this.#outputs.open(jobId, record.outputBytes);
    return new EndedRun(record, output, this.#options.facts().nodeId);
  }

  /** The run that a request of this caller has started, while it is in memory. */
  ofRequest(caller: string, requestId: string): Job | undefined {
    return this.#live.get(this.#repeats.find(caller, requestId) ?? '');
  }

  /** A run in memory: it goes on, or somebody reads it, or its output is not on disk yet. */
  get(jobId: string): Job | undefined {
    return this.#live.get(jobId);
  }

  /** All runs in memory. */
  live(): Job[] {
    return [...this.#live.values()];
  }

  /** How many wait in the queue. */
  get waiting(): number {
    return this.#queue.waiting;
  }

  /** The place in the queue, from 1; undefined where it isn't waiting. */
  place(jobId: string): number | undefined {
    return this.#queue.place(jobId);
  }

  /** Starts those that wait, as far as they may. */
  startNext(): void {
    if (this.#stopping.signal.aborted) return;
    for (let job = this.#queue.next(); job !== undefined; job = this.#queue.next()) void job.start();
  }

  #create(input: ExecuteInput, call: Call): Job {
    const host = this.#host;
    if (host === undefined || this.#stopping.signal.aborted) throw new LoopsyError('node_stopping');
    const command = this.#options.guardCommand(asWholeLine(input, host.processes.shell.kind));
    if (call.signal.aborted) throw new LoopsyError('execution_cancelled');
    const record = createRecord(input, call.caller, this.#options);
    const { defaultTimeoutMs } = this.#options.settings();
    const plan = planRun(input, { command, resumable: call.resumable, defaultTimeoutMs });
    const output = this.#outputs.begin(record.jobId, () => job.pace());
    const job: Job = new Job(record, plan, { host, output });
    return job;
  }

  async #repeat(jobId: string, call: Call): Promise<Job | EndedRun> {
    call.announce(jobId);
    const run = await this.find(jobId, call.caller);
    if (run instanceof Job) {
      run.rejoin();
      endWith(run, call);
    }
    return run;
  }

  #onRoom(): void {
    for (const job of this.#live.values()) job.pace();
    this.startNext();
  }

  #onOver(job: Job): void {
    if (!this.#queue.withdraw(job.id)) this.#queue.leave();
    this.records.save(job.record);
    this.startNext();
    void this.#forget(job);
  }

  /** Once all of its output is on disk and nobody reads, the run is only what the store says. */
  async #forget(job: Job): Promise<void> {
    if (!job.output.settled) {
      await job.output.settle();
      if (job.output.truncated) this.records.save(job.now());
    }
    this.#forgetIfOver(job);
  }

  #forgetIfOver(job: Job): void {
    if (job.isForgettable) this.#live.delete(job.id);
  }
}

/** The caller no longer wants it. A lost connection of a resumable call is not said here, but by its follower's close. */
const endWith = (job: Job, { signal }: Call): void => {
  const onAbort = (): void => {
    if (job.isKept) return;
    const reason: unknown = signal.reason;
    const word = typeof reason === 'string' ? reason : abortReason(signal);
    job.stop(word === 'client-gone' || word === 'shutdown' ? word : 'cancel');
  };
  signal.addEventListener('abort', onAbort, { once: true });
};
