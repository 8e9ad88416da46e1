import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { entriesOf } from '../../store/entries.ts';
import type { Change, Store } from '../../store/store.ts';
import { readToken } from '../process/process-identity.ts';
import { type JobRecord, parseRecord } from './stored-record.ts';

const PREFIX = 'job/';
const ACTIVE_PREFIX = 'job-active/';
const WRITE_MS = 100;
const RETRY_MS = 1_000;
/** Changed records that the disk has not taken; beyond it the oldest are given up. */
const MAX_UNWRITTEN = 10_000;
/** So many are looked for in the store when runs are counted; with a disk that takes nothing, the others count as new. */
const MAX_LOOKED = 1000;
const DAY_MS = 86_400_000;

/** What records need. */
export interface RecordsOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly keepDays: () => number;
}

/**
 * The records of all runs. They are written behind, many in one commit: a short run's start and end become one write.
 * `job/<id>` holds the record; `job-active/<id>` is there while the run goes on, so that a start finds what was cut off.
 */
export class JobRecords {
  readonly #options: RecordsOptions;
  #unwritten = new Map<string, JobRecord>();
  #writing = new Map<string, JobRecord>();
  readonly #marked = new Set<string>();
  #timer: Timer | undefined;
  #flushing: Promise<void> | undefined;
  #faultSaid = false;

  constructor(options: RecordsOptions) {
    this.#options = options;
  }

  /** The record has changed: what it is when it is written counts. */
  save(record: JobRecord): void {
    this.#unwritten.set(record.jobId, record);
    this.#timer ??= this.#options.clock.after(WRITE_MS, () => void this.flush());
  }

  /** Puts the record on disk before it resolves. @throws what the store does. */
  async commit(record: JobRecord): Promise<void> {
    await this.#options.store.commit(this.#changesOf(record));
  }

  get(jobId: string): JobRecord | undefined {
    const fresh = this.#unwritten.get(jobId) ?? this.#writing.get(jobId);
    if (fresh !== undefined) return fresh;
    const entry = this.#options.store.get(PREFIX + jobId);
    return entry === undefined ? undefined : parseRecord(entry.value);
  }

  /** Those that are not in the store yet. */
  fresh(): JobRecord[] {
    return [...this.#writing.values(), ...this.#unwritten.values()];
  }

  /** Stored ones, newest first, behind the id `after`; none where there is no more. */
  page(after: string | undefined, limit: number): { readonly jobId: string; readonly record: JobRecord | undefined }[] {
    const entries = this.#options.store.list({
      prefix: PREFIX,
      limit,
      reverse: true,
      ...(after === undefined ? {} : { after: PREFIX + after }),
    });
    return entries.map(({ key, value }) => ({ jobId: key.slice(PREFIX.length), record: parseRecord(value) }));
  }

  /** How many there are, with those that the store does not have yet. */
  count(): number {
    const { store } = this.#options;
    let looked = 0;
    const isMissing = (jobId: string): boolean => (looked += 1) > MAX_LOOKED || store.get(PREFIX + jobId) === undefined;
    const fresh = new Set([...this.#writing.keys(), ...this.#unwritten.keys()]);
    return store.count(PREFIX) + [...fresh].filter(isMissing).length;
  }

  /** Runs that went on when the node ended: read once, at the start. */
  cutOff(): JobRecord[] {
    const ids = Array.from(entriesOf(this.#options.store, ACTIVE_PREFIX), ({ key }) => key.slice(ACTIVE_PREFIX.length));
    for (const id of ids) this.#marked.add(id);
    return ids.map((id) => this.get(id)).filter((record) => record !== undefined);
  }

  /** Forgets runs. */
  async remove(jobIds: readonly string[]): Promise<void> {
    if (jobIds.length === 0) return;
    await this.#options.store.commit(
      jobIds.map((id) => ({ delete: PREFIX + id })),
      { durability: 'later' },
    );
  }

  /** Writes what has changed. */
  async flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    while (this.#flushing !== undefined) await this.#flushing;
    if (this.#unwritten.size === 0) return;
    this.#flushing = this.#write().finally(() => (this.#flushing = undefined));
    await this.#flushing;
  }

  async #write(): Promise<void> {
    this.#writing = this.#unwritten;
    this.#unwritten = new Map();
    const changes = [...this.#writing.values()].flatMap((record) => this.#changesOf(record));
    try {
      await this.#options.store.commit(changes, { durability: 'later' });
      this.#faultSaid = false;
    } catch (error) {
      this.#keepForLater(error);
    }
    this.#writing = new Map();
  }

  #changesOf(record: JobRecord): Change[] {
    const { jobId } = record;
    const put = PREFIX + jobId;
    if (record.endedBy === undefined) {
      if (record.pid !== undefined && record.token === undefined) record.token = readToken(record.pid);
      this.#marked.add(jobId);
      return [
        { put, value: JSON.stringify(record) },
        { put: ACTIVE_PREFIX + jobId, value: '' },
      ];
    }
    const expiresAt = (record.endedAt ?? record.createdAt) + this.#options.keepDays() * DAY_MS;
    const change: Change = { put, value: JSON.stringify(record), expiresAt };
    return this.#marked.delete(jobId) ? [change, { delete: ACTIVE_PREFIX + jobId }] : [change];
  }

  #keepForLater(error: unknown): void {
    if (!this.#faultSaid) this.#options.log.error('job records not written', { error });
    this.#faultSaid = true;
    // The mark of an ended run may be there from before: it is taken away with the next try.
    for (const jobId of this.#writing.keys()) this.#marked.add(jobId);
    const all = [...this.#writing, ...this.#unwritten];
    this.#unwritten = new Map(all.slice(Math.max(0, all.length - MAX_UNWRITTEN)));
    this.#timer ??= this.#options.clock.after(RETRY_MS, () => void this.flush());
  }
}
