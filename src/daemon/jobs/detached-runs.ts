import { LoopsyError } from '../../protocol/errors.ts';
import { StoreFull } from '../../store/store.ts';
import { DetachedRun, type DetachedHost, outcomeUnknown } from './detached-run.ts';
import { closeLostRun } from './lost.ts';
import type { JobsOptions } from './options.ts';
import type { Outputs } from './outputs.ts';
import type { JobRecords } from './records.ts';
import { readRunFile } from './run-file.ts';
import { type JobRecord, parseRecord, toRecord } from './stored-record.ts';
import { isUnknown, type SupervisorLink } from './supervisor-link.ts';
import { Supervisors, type SupervisorState } from './supervisors.ts';
import type { WireAnswers, WireNotice, WirePlan } from './wire.ts';

/** What detached runs need beside what jobs are made of. */
export interface DetachedParts {
  readonly outputs: Outputs;
  readonly records: JobRecords;
  over(run: DetachedRun): void;
  left(run: DetachedRun): void;
}

/** The runs that outlive the node: begun, found again, and taken over when they have ended. */
export class DetachedRuns {
  readonly #options: JobsOptions;
  readonly #parts: DetachedParts;
  readonly #supervisors: Supervisors;
  readonly #host: DetachedHost;
  readonly #runs = new Map<string, DetachedRun>();
  #comparing: Promise<unknown>[] = [];
  /** Until then, what a supervisor has and the store does not is taken over. */
  #recovered = false;

  constructor(options: JobsOptions, parts: DetachedParts) {
    const { log, settings, facts, clock, platform, variables } = options;
    this.#options = options;
    this.#parts = parts;
    this.#supervisors = new Supervisors({
      clock,
      log,
      platform,
      variables,
      dir: options.supervisorsDir,
      jobsDir: options.dir,
      home: facts().home,
      maxOutputBytes: () => settings().maxOutputBytes,
      onNotice: (notice) => this.#hear(notice),
      isUsed: (id) => this.#runsOf(id).length > 0,
      onLinked: (id, link) => {
        const work = this.#onLinked(id, link);
        this.#compare(work);
        return work;
      },
      onMissed: (id) => this.#compare(this.#onMissed(id)),
      onGone: (id) => this.#compare(this.#onGone(id)),
    });
    this.#host = {
      nodeId: () => facts().nodeId,
      link: ({ record }) => this.#supervisors.link(record.supervisor),
      tell: (answer) => void answer.catch((error: unknown) => log.debug('supervisor not asked', { error })),
      changed: (run) => parts.records.save(run.record),
      over: (run) => this.#onOver(run),
      left: (run) => parts.left(run),
    };
  }

  /** Finds again those that went on, or ended, while the node was away. @returns those that go on or wait. */
  async recover(records: readonly JobRecord[]): Promise<DetachedRun[]> {
    for (const record of records) this.#add(this.#make(record));
    await this.#supervisors.find();
    await this.#compared();
    const expected = Array.from(this.#runs.values(), ({ record: { supervisor = '', supervisorProcess } }) =>
      this.#supervisors.expect(supervisor, supervisorProcess),
    );
    await Promise.all(expected);
    await this.#compared();
    for (const run of this.#runs.values()) {
      if (!this.#supervisors.lives(run.record.supervisor)) await this.#closeWithout(run);
    }
    this.#recovered = true;
    return [...this.#runs.values()];
  }

  /** A new one; it begins with `place`. */
  create(record: JobRecord): DetachedRun {
    record.detached = true;
    return this.#make(record);
  }

  /**
   * Writes it down and hands it over to a supervisor, which starts it where the queue has let it in. Where that fails,
   * the run has ended with the reason. @throws {LoopsyError} outcome_unknown
   */
  async place(run: DetachedRun, plan: WirePlan): Promise<void> {
    this.#add(run);
    try {
      const { entry, link } = await this.#supervisors.forNewRun();
      const { id, pid, startedAt, token } = entry;
      run.record.supervisor = id;
      run.record.supervisorProcess = { pid, startedAt, token };
      await this.#parts.records.commit(run.record);
      await run.place(link, plan);
    } catch (error) {
      if (!isUnknown(error)) return run.fail(asFailure(error), this.#options.clock.now());
      // One that is slow may still come to it, and then to this: what it says of the run is its end.
      if (error instanceof LoopsyError) run.stop('cancel');
      throw outcomeUnknown(run.id, error);
    }
  }

  /** The processes that have them, and how many each. */
  async supervisors(): Promise<(SupervisorState & { readonly runs: number })[]> {
    const states = await this.#supervisors.look();
    return states.map((state) => ({ ...state, runs: this.#runsOf(state.id).length }));
  }

  /** The settings have changed. */
  refresh(): void {
    this.#supervisors.refresh();
  }

  /** Leaves them to their supervisors. */
  close(): void {
    this.#supervisors.close();
  }

  #make(record: JobRecord): DetachedRun {
    // How much of it is on disk by now, its supervisor says.
    const output = this.#parts.outputs.stored(record.jobId, 0);
    return new DetachedRun(record, { host: this.#host, output });
  }

  #add(run: DetachedRun): void {
    this.#runs.set(run.id, run);
  }

  #onOver(run: DetachedRun): void {
    this.#runs.delete(run.id);
    this.#supervisors.release(run.record.supervisor);
    this.#parts.over(run);
  }

  #hear(notice: WireNotice): void {
    if (notice.notice === 'output') this.#runs.get(notice.jobId)?.grown(notice.end, notice.truncated);
    if (notice.notice !== 'run') return;
    const record = toRecord(notice.record);
    if (record !== undefined) this.#runs.get(record.jobId)?.update(record);
  }

  #compare(work: Promise<unknown>): void {
    const done = work.catch((error: unknown) => this.#options.log.warn('detached runs not compared', { error }));
    this.#comparing.push(done);
    void done.then(() => (this.#comparing = this.#comparing.filter((one) => one !== done)));
  }

  async #compared(): Promise<void> {
    while (this.#comparing.length > 0) await Promise.all(this.#comparing.splice(0));
  }

  /** Compares what this node knows with what the supervisor has. Runs that begin meanwhile are not looked at. */
  async #onLinked(id: string, link: SupervisorLink): Promise<void> {
    const mine = new Map(this.#runsOf(id).map((run) => [run.id, run]));
    if (mine.size === 0 && this.#recovered) return;
    for (let after: string | undefined = ''; after !== undefined;) {
      const { runs, more }: WireAnswers['list'] = await link.ask({ do: 'list', after });
      for (const one of runs) {
        this.#takeUp(toRecord(one), mine.get(one.jobId));
        mine.delete(one.jobId);
      }
      after = more === true ? runs.at(-1)?.jobId : undefined;
    }
    for (const run of mine.values()) await this.#closeWithout(run);
  }

  /** A page at a time: what is told of its runs meanwhile comes after it. */
  #takeUp(record: JobRecord | undefined, run: DetachedRun | undefined): void {
    if (record !== undefined) run?.update(record);
    if (run?.isOver === false) run.relinked();
    if (record === undefined || this.#recovered || this.#runs.has(record.jobId)) return;
    // Nothing would tell of its end again: one that has ended would hold its supervisor for ever.
    if (record.endedBy === undefined) this.#add(this.#make(record));
  }

  /** It can't be asked, and goes on writing down what its runs do. */
  async #onMissed(id: string): Promise<void> {
    for (const run of this.#runsOf(id)) {
      const stored = await this.#stored(run);
      if (stored !== undefined) run.update(stored);
    }
  }

  async #onGone(id: string): Promise<void> {
    for (const run of this.#runsOf(id)) await this.#closeWithout(run);
  }

  #runsOf(id: string): DetachedRun[] {
    return [...this.#runs.values()].filter(({ record }) => record.supervisor === id);
  }

  /** No supervisor has it any more: it has ended, as its file says, or nobody saw its end. */
  async #closeWithout(run: DetachedRun): Promise<void> {
    const record = { ...run.record, ...(await this.#stored(run)) };
    run.update(record.endedBy === undefined ? await closeLostRun(record, this.#options) : record);
  }

  async #stored(run: DetachedRun): Promise<JobRecord | undefined> {
    return parseRecord((await readRunFile(this.#options.dir, run.id)) ?? '');
  }
}

const asFailure = (error: unknown): LoopsyError => {
  if (error instanceof LoopsyError) return error;
  const why = error instanceof StoreFull ? 'the disk is full' : error instanceof Error ? error.message : String(error);
  return new LoopsyError('execution_failed', {
    message: `the run could not be written down, so it was not started: ${why}`,
    cause: error,
  });
};
