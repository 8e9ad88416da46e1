import { errorCode } from '../../kernel/atomic-file.ts';
import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { EndedBy, JobSignal } from '../../protocol/jobs.ts';
import { Job } from '../jobs/job.ts';
import { createProcessHost } from '../jobs/machine.ts';
import { Outputs } from '../jobs/outputs.ts';
import { RunFile } from '../jobs/run-file.ts';
import type { JobRecord } from '../jobs/stored-record.ts';
import type { WireAnswers, WireNotice, WirePlan } from '../jobs/wire.ts';
import { readToken } from '../process/process-identity.ts';
import type { ProcessHost } from '../process/run.ts';

/** More runs than a node lets in and keeps waiting. */
const MAX_RUNS = 10_000;
/** While a run is followed: how long its output waits for the disk, and the word of it for the next. */
const FOLLOWED_FLUSH_MS = 10;
const FOLLOWED_NOTICE_MS = 5;
/** The same while nobody reads. */
const FLUSH_MS = 200;
const NOTICE_MS = 1_000;
const SAVE_AGAIN_MS = 1_000;
const UNWRITTEN_GRACE_MS = 300;
/** A page of the list is little beside what may wait for a node that reads. */
const PAGE_CHARACTERS = 1_048_576;
const DEFAULT_OUTPUT_BYTES = 104_857_600;

/** What a host of runs is made of. */
export interface HostOptions {
  /** The folder of all output. */
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly platform: NodeJS.Platform;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly tell: (notice: WireNotice) => void;
  /** The last run has ended. */
  readonly onIdle: () => void;
}

interface Hosted {
  readonly job: Job;
  readonly file: RunFile;
  /** Who follows it: links of nodes. */
  readonly followers: Set<object>;
  notice: Timer | undefined;
  begun: Promise<void> | undefined;
  /** Its last record has been written, or could not be. */
  readonly done: Promise<void>;
  readonly setDone: () => void;
}

/** The detached runs of one supervisor: the same jobs as a node's own, each with its record beside its output. */
export class RunHost {
  readonly #options: HostOptions;
  readonly #outputs: Outputs;
  readonly #runs = new Map<string, Hosted>();
  /** While it takes runs. */
  #processes: ProcessHost | undefined;
  #maxOutputBytes = DEFAULT_OUTPUT_BYTES;

  constructor(options: HostOptions) {
    this.#options = options;
    this.#outputs = new Outputs({
      ...options,
      settings: () => ({ maxOutputBytes: this.#maxOutputBytes }),
      onRoom: () => {
        for (const { job } of this.#runs.values()) job.pace();
      },
    });
  }

  /** From now on it takes runs. */
  async open(): Promise<void> {
    const { clock, platform, variables } = this.#options;
    this.#processes = await createProcessHost(platform, variables, clock);
  }

  get isIdle(): boolean {
    return this.#runs.size === 0;
  }

  /** False where all of them wait for a node to let them in. */
  get hasBegun(): boolean {
    return [...this.#runs.values()].some(({ begun }) => begun !== undefined);
  }

  /**
   * Takes a run in, and starts it where it may. What is asked of it meanwhile is not lost: it is here at once.
   * @returns its record, which is on disk. @throws the system's error.
   */
  async start(record: JobRecord, plan: WirePlan, go: boolean): Promise<JobRecord> {
    const { jobId } = record;
    if (this.#runs.has(jobId)) throw new LoopsyError('conflict', { message: `run ${jobId} is here already` });
    if (this.#runs.size >= MAX_RUNS) throw new LoopsyError('too_many_jobs');
    const hosted = this.#make(record, plan);
    this.#runs.set(jobId, hosted);
    try {
      await hosted.file.save(hosted.job.now());
    } catch (error) {
      this.#runs.delete(jobId);
      this.#options.onIdle();
      throw asUnwritten(error, 'the run could not be written down, so it was not started');
    }
    return go ? this.#go(hosted) : hosted.job.now();
  }

  /** Starts one that waits. @returns its record, which is on disk, with its process or with why there is none. */
  async go(jobId: string): Promise<JobRecord> {
    return this.#go(this.#find(jobId));
  }

  async signal(jobId: string, signal: JobSignal): Promise<boolean> {
    return (await this.#runs.get(jobId)?.job.signal(signal)) ?? false;
  }

  end(jobId: string, cause: EndedBy, graceMs: number | undefined): void {
    this.#find(jobId).job.stop(cause, graceMs);
  }

  /** While somebody follows a run, its output is on disk at once, and said to be. */
  follow(jobId: string, follower: object, on: boolean): void {
    const hosted = this.#runs.get(jobId);
    if (!on) return void hosted?.followers.delete(follower);
    if (hosted === undefined) return;
    hosted.followers.add(follower);
    hosted.job.output.flush();
    this.#noticeOutput(hosted);
  }

  /** A link has gone. */
  left(follower: object): void {
    for (const { followers } of this.#runs.values()) followers.delete(follower);
  }

  setOutputBytes(maxOutputBytes: number): void {
    this.#maxOutputBytes = maxOutputBytes;
  }

  /** All of them, or a page: those behind `after`, at least one. */
  list(after?: string): WireAnswers['list'] {
    const all = Array.from(this.#runs.values(), ({ job }) => job.now());
    if (after === undefined) return { runs: all };
    const rest = all.filter(({ jobId }) => jobId > after).sort((a, b) => (a.jobId < b.jobId ? -1 : 1));
    let left = PAGE_CHARACTERS;
    const runs = rest.filter((record, at) => (left -= JSON.stringify(record).length) >= 0 || at === 0);
    return { runs, more: runs.length < rest.length };
  }

  /** Ends all of them, and takes no more. Resolves when that is on disk. */
  async endAll(): Promise<void> {
    this.#processes = undefined;
    const all = [...this.#runs.values()];
    for (const { job } of all) job.stop('shutdown');
    await Promise.all(all.map(({ done }) => done));
  }

  #find(jobId: string): Hosted {
    const hosted = this.#runs.get(jobId);
    if (hosted === undefined) throw new LoopsyError('job_not_found', { message: `run ${jobId} is not here` });
    return hosted;
  }

  #opened(): ProcessHost {
    if (this.#processes !== undefined) return this.#processes;
    throw new LoopsyError('node_stopping', { message: 'the supervisor of detached runs is ending: it starts no more' });
  }

  #make(record: JobRecord, plan: WirePlan): Hosted {
    const { clock, dir } = this.#options;
    const processes = { ...this.#opened(), shell: plan.shell };
    const output = this.#outputs.begin(record.jobId, {
      onWritten: () => {
        job.pace();
        this.#noticeLater(hosted);
      },
      flushMs: () => (hosted.followers.size > 0 ? FOLLOWED_FLUSH_MS : FLUSH_MS),
    });
    const host = {
      clock,
      processes,
      nodeId: () => record.fromNodeId,
      // It was built by the node; nothing of this process's own reaches a run.
      environment: () => plan.env,
      mustWait: () => this.#outputs.areBehind,
      changed: () => (record.token = record.pid === undefined ? undefined : readToken(record.pid)),
      over: () => void this.#finish(hosted),
      left: () => undefined,
    };
    const job: Job = new Job(record, { ...plan, resumable: false }, { host, output });
    let setDone = (): void => undefined;
    const done = new Promise<void>((resolve) => (setDone = resolve));
    const hosted: Hosted = {
      job,
      file: new RunFile(dir, record.jobId),
      followers: new Set(),
      notice: undefined,
      begun: undefined,
      done,
      setDone,
    };
    return hosted;
  }

  async #go(hosted: Hosted): Promise<JobRecord> {
    await (hosted.begun ??= this.#begin(hosted));
    return hosted.job.now();
  }

  async #begin(hosted: Hosted): Promise<void> {
    const { job, file, done } = hosted;
    if (job.isOver) return done;
    this.#opened();
    await job.start();
    try {
      if (!job.isOver) await file.save(job.now());
    } catch (error) {
      // Nobody would find it again: it must not go on.
      const failure = asUnwritten(error, 'the run had begun, could not be written down, and was ended');
      job.record.failure = failure.toBody() as JobRecord['failure']; // the same shape, without its readonly marks
      job.stop('cancel', UNWRITTEN_GRACE_MS);
    }
    if (job.record.failure !== undefined || job.isOver) return done;
    this.#options.tell({ notice: 'run', record: job.now() });
  }

  async #finish(hosted: Hosted): Promise<void> {
    const { job, setDone } = hosted;
    await job.settle();
    hosted.notice?.cancel();
    const isWritten = await this.#save(hosted);
    this.#options.tell({ notice: 'run', record: job.now() });
    setDone();
    if (isWritten) this.#forget(job.id);
    else this.#saveLater(hosted);
  }

  async #save({ job, file }: Hosted): Promise<boolean> {
    try {
      await file.save(job.now());
      return true;
    } catch (error) {
      this.#options.log.error('the end of a run is not on disk', { jobId: job.id, error: String(error) });
      // Its folder was removed: nobody will ask for it.
      return errorCode(error) === 'ENOENT';
    }
  }

  /** Until then it stays here, for a node that asks. */
  #saveLater(hosted: Hosted): void {
    this.#options.clock.after(SAVE_AGAIN_MS, () => void this.#saveOrLater(hosted));
  }

  async #saveOrLater(hosted: Hosted): Promise<void> {
    if (await this.#save(hosted)) this.#forget(hosted.job.id);
    else this.#saveLater(hosted);
  }

  #forget(jobId: string): void {
    this.#runs.delete(jobId);
    if (this.isIdle) this.#options.onIdle();
  }

  #noticeLater(hosted: Hosted): void {
    const waitMs = hosted.followers.size > 0 ? FOLLOWED_NOTICE_MS : NOTICE_MS;
    hosted.notice ??= this.#options.clock.after(waitMs, () => this.#noticeOutput(hosted));
  }

  #noticeOutput(hosted: Hosted): void {
    hosted.notice?.cancel();
    hosted.notice = undefined;
    const { id: jobId, output } = hosted.job;
    this.#options.tell({ notice: 'output', jobId, end: output.writtenTo, truncated: output.truncated });
  }
}

const asUnwritten = (error: unknown, what: string): LoopsyError => {
  const isFull = error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
  return new LoopsyError('execution_failed', {
    message: `${what}: ${isFull ? 'the disk is full' : String(error)}`,
    cause: error,
  });
};
