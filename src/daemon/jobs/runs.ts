import { abortReason } from '../../kernel/abort.ts';
import type { Timer } from '../../kernel/clock.ts';
import { withTimeLimit } from '../../kernel/sleep.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { EndedBy, ExecuteInput } from '../../protocol/jobs.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { maySee } from '../../trust/grants.ts';
import type { Call } from '../edge/call.ts';
import type { NodeEnding } from '../edge/open-requests.ts';
import { DetachedRun } from './detached-run.ts';
import { DetachedRuns } from './detached-runs.ts';
import { EndedRun } from './ended-run.ts';
import { Job, type JobHost, type JobPlan } from './job.ts';
import type { LiveRun } from './live-run.ts';
import { closeLostRun } from './lost.ts';
import { createMachine } from './machine.ts';
import type { JobsOptions } from './options.ts';
import { Outputs } from './outputs.ts';
import { asWholeLine, createRecord, planRun } from './plan.ts';
import { RunQueue } from './queue.ts';
import { JobRecords } from './records.ts';
import { Repeats } from './repeats.ts';
import { sweepJobs } from './retention.ts';
import type { JobRecord } from './stored-record.ts';

const SWEEP_MS = 3_600_000;
/** Not beside the start, which is busy enough. */
const FIRST_SWEEP_MS = 30_000;
/** The login shell is asked after the start, so that it costs the start nothing. */
const ASK_PATH_MS = 500;
const STOP_LIMIT_MS = 4_000;
/** A revoked caller's runs end within a second, those that don't listen too. */
export const REVOKED_GRACE_MS = 300;
/** Why the edge aborts a request whose caller may no longer have it. */
const REVOCATIONS: ReadonlySet<unknown> = new Set<NodeEnding>(['revoked', 'expired_key', 'scope_missing']);

/** The runs themselves: each from its request through the queue to the moment when only its record is left. */
export class Runs {
  readonly records: JobRecords;
  readonly #options: JobsOptions;
  readonly #queue: RunQueue<LiveRun>;
  readonly #repeats: Repeats;
  readonly #outputs: Outputs;
  readonly #detached: DetachedRuns;
  /** Detached runs that are not on disk yet. */
  readonly #placing = new Map<string, Promise<void>>();
  readonly #live = new Map<string, LiveRun>();
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
    this.#detached = new DetachedRuns(options, {
      outputs: this.#outputs,
      records: this.records,
      over: (run) => this.#onOver(run),
      left: (run) => this.#forgetIfOver(run),
    });
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
    await this.#recover();
    const sweep = (): void => this.#sweep();
    this.#timers = [
      clock.after(ASK_PATH_MS, () => void machine.environment(undefined)),
      clock.after(FIRST_SWEEP_MS, sweep),
      clock.every(SWEEP_MS, sweep),
    ];
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers) timer.cancel();
    const jobs = this.live().filter((job) => !job.isDetached);
    for (const job of jobs) job.stop('shutdown');
    const ended = Promise.allSettled(jobs.map((job) => job.outcome())).then(() =>
      Promise.all(jobs.map((job) => job.settle())),
    );
    await withTimeLimit(ended, STOP_LIMIT_MS, this.#options.clock);
    this.#detached.close();
    await this.records.flush();
  }

  /** The run of this request: the one that it started before, or a new one. */
  async obtain(input: ExecuteInput, call: Call): Promise<LiveRun | EndedRun> {
    const known = call.resumable ? this.#repeats.find(callerName(call.caller), call.requestId, call.digest) : undefined;
    if (known !== undefined) return await this.#repeat(known, call);
    if (call.repeatAgeMs !== undefined && this.#repeats.mayHaveForgotten(call.repeatAgeMs)) {
      throw new LoopsyError('outcome_unknown', {
        message:
          'this repeats a request whose run, if it started one, is not known any more: no second one was started',
        hint: 'see `loopsy jobs list` for what ran',
      });
    }
    const { run, plan } = this.#create(input, call);
    const mayStart = this.#queue.enter(run);
    this.#live.set(run.id, run);
    if (call.resumable) this.#knowRepeats(run, call);
    call.announce(run.id);
    if (run instanceof Job) {
      this.records.save(run.record);
      endWith(run, call);
    }
    const begun = mayStart ? run.start() : undefined;
    if (run instanceof DetachedRun) await this.#placeOnce(run, { begun, plan, call });
    else await begun;
    return run;
  }

  /** What is known of a run. @throws {LoopsyError} job_not_found, for the runs of others too. */
  visible(jobId: string, caller: Caller): JobRecord {
    const record = this.#live.get(jobId)?.now() ?? this.records.get(jobId);
    if (record !== undefined && maySee(caller, record.caller)) return record;
    throw new LoopsyError('job_not_found', { message: `no job has the id ${jobId}`, details: { jobId } });
  }

  /** A run that can be read. @throws {LoopsyError} as `visible`. */
  find(jobId: string, caller: Caller): LiveRun | EndedRun {
    const record = this.visible(jobId, caller);
    const live = this.#live.get(jobId);
    if (live !== undefined) return live;
    const output = this.#outputs.stored(jobId, record.outputBytes);
    return new EndedRun(record, output, this.#options.facts().nodeId);
  }

  /** The run that a request of this caller has started, while it is in memory. */
  ofRequest(caller: string, requestId: string): LiveRun | undefined {
    return this.#live.get(this.#repeats.find(caller, requestId) ?? '');
  }

  /** A run in memory: it goes on, or somebody reads it, or its output is not on disk yet. */
  get(jobId: string): LiveRun | undefined {
    return this.#live.get(jobId);
  }

  /** All runs in memory. */
  live(): LiveRun[] {
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

  /** The processes that have detached runs. */
  supervisors(): ReturnType<DetachedRuns['supervisors']> {
    return this.#detached.supervisors();
  }

  /** The settings have changed. */
  refresh(): void {
    this.#detached.refresh();
    this.startNext();
  }

  /** Starts those that wait, as far as they may. */
  startNext(): void {
    if (this.#host === undefined || this.#stopping.signal.aborted) return;
    for (let job = this.#queue.next(); job !== undefined; job = this.#queue.next()) void job.start();
  }

  #create(input: ExecuteInput, call: Call): { readonly run: Job | DetachedRun; readonly plan: JobPlan } {
    const host = this.#running();
    const command = this.#options.guardCommand(asWholeLine(input, host.processes.shell.kind));
    if (call.signal.aborted) throw new LoopsyError('execution_cancelled');
    const record = createRecord(input, call.caller, this.#options);
    const { defaultTimeoutMs } = this.#options.settings();
    const plan = planRun(input, { command, resumable: call.resumable, defaultTimeoutMs });
    if (input.detach === true) return { run: this.#detached.create(record), plan };
    const output = this.#outputs.begin(record.jobId, { onWritten: () => job.pace() });
    const job: Job = new Job(record, plan, { host, output });
    return { run: job, plan };
  }

  #running(): JobHost {
    if (this.#host === undefined || this.#stopping.signal.aborted) throw new LoopsyError('node_stopping');
    return this.#host;
  }

  async #placeOnce(run: DetachedRun, { begun, plan, call }: Placing): Promise<void> {
    const placed = Promise.resolve(begun).then(() => this.#place(run, plan, call));
    this.#placing.set(run.id, placed);
    try {
      await placed;
    } finally {
      this.#placing.delete(run.id);
    }
  }

  /** When it returns, the run is on disk, and its caller may be told of it: from then on it goes on without it. */
  async #place(run: DetachedRun, { command, env: sent, stdin, timeoutMs }: JobPlan, { signal }: Call): Promise<void> {
    const { processes, environment } = this.#running();
    const env = await environment(sent);
    const given = stdin === 'stream' ? 'none' : stdin;
    await this.#detached.place(run, { command, shell: processes.shell, env, stdin: given, timeoutMs });
    if (signal.aborted) endFor(run, signal);
  }

  /** What the last start of this node has left: runs that were cut off with it, and those that outlived it. */
  async #recover(): Promise<void> {
    const cutOff = this.records.cutOff();
    const isOut = ({ detached, endedBy }: JobRecord): boolean => detached === true && endedBy === undefined;
    for (const record of cutOff.filter((one) => !isOut(one))) {
      this.records.save(record.endedBy === undefined ? await closeLostRun(record, this.#options) : record);
    }
    const found = await this.#detached.recover(cutOff.filter(isOut));
    // At once: one that ended in between would keep its place for ever.
    for (const run of found.filter(({ isOver }) => !isOver).sort((a, b) => (a.id < b.id ? -1 : 1))) {
      this.#live.set(run.id, run);
      this.#queue.adopt(run, run.record.startedAt !== undefined);
      this.records.save(run.record);
    }
    await this.records.flush();
    this.startNext();
  }

  #sweep(): void {
    const { dir, clock, log, settings } = this.#options;
    this.#outputs.sayAgain();
    void sweepJobs({
      records: this.records,
      dir,
      clock,
      log,
      keepDays: () => settings().keepDays,
      isLive: (jobId) => this.#live.has(jobId),
      signal: this.#stopping.signal,
    });
  }

  #knowRepeats(run: LiveRun, { requestId, digest }: Call): void {
    const know = (): void => this.#repeats.add(run.record.caller, requestId, { jobId: run.id, digest });
    know();
    // One that could not begin has ended, too.
    void run.outcome().then(know, know);
  }

  async #repeat(jobId: string, call: Call): Promise<LiveRun | EndedRun> {
    // Nobody is told of a detached run before it is on disk.
    await this.#placing.get(jobId);
    call.announce(jobId);
    const run = this.find(jobId, call.caller);
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

  #onOver(run: LiveRun): void {
    this.records.save(run.record);
    // One that ended while the node was away was in no queue of this start.
    if (!this.#live.has(run.id)) return;
    if (!this.#queue.withdraw(run.id)) this.#queue.leave();
    this.startNext();
    void this.#forget(run);
  }

  /** Once all of its output is on disk and nobody reads, the run is only what the store says. */
  async #forget(run: LiveRun): Promise<void> {
    if (!run.isSettled) {
      await run.settle();
      if (run.now().truncated === true) this.records.save(run.record);
    }
    this.#forgetIfOver(run);
  }

  #forgetIfOver(run: LiveRun): void {
    if (run.isForgettable) this.#live.delete(run.id);
  }
}

/** A detached run on its way to its supervisor. */
interface Placing {
  readonly begun: Promise<void> | undefined;
  readonly plan: JobPlan;
  readonly call: Call;
}

/** The caller no longer wants it. A lost connection of a resumable call is not said here, but by its follower's close. */
const endWith = (job: Job, { signal }: Call): void => {
  const onAbort = (): void => {
    if (!job.isKept) endFor(job, signal);
  };
  signal.addEventListener('abort', onAbort, { once: true });
};

const endFor = (run: LiveRun, signal: AbortSignal): void => {
  const reason: unknown = signal.reason;
  run.stop(causeOf(signal), REVOCATIONS.has(reason) ? REVOKED_GRACE_MS : undefined);
};

const causeOf = (signal: AbortSignal): EndedBy => {
  const reason: unknown = signal.reason;
  const word = typeof reason === 'string' ? reason : abortReason(signal);
  return word === 'client-gone' || word === 'shutdown' ? word : 'cancel';
};
