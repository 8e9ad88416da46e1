import type { Clock, Timer } from '../kernel/clock.ts';
import type { Log } from '../kernel/log.ts';
import { CommitQueue } from './commit-queue.ts';
import { openReader } from './connection.ts';
import { SteadyTime } from '../kernel/steady-time.ts';
import type { GroupResult, SweepResult } from './file-writer.ts';
import { Followers } from './followers.ts';
import { MIGRATIONS, type Migrations } from './schema.ts';
import type { Database, SqlValue, Statement } from './sqlite.ts';
import type { Change, CommitOptions, Entry, ListQuery, Seen, Store, Usage } from './store.ts';
import { TurnReads } from './turn-reads.ts';
import { checkBudgets, checkChanges, cutList, isStorable, listRange, prefixRange } from './text.ts';
import { writerThreadOf, type WriterThread } from './writer-thread.ts';

const SWEEP_MS = 60_000;
/** Between two sweeps; what expires in it goes together. */
const SWEEP_GAP_MS = 100;
/** Nobody hears of what is swept before somebody follows: an opened store waits for that, and not for ever. */
const UNHEARD_MS = 60_000;
const POLL_MS = 500;

/** What a store is opened with. */
export interface StoreOptions {
  /** Its folder is made where it is missing. One process opens a file once. */
  readonly file: string;
  /** Stores with the same clock share one writer thread. */
  readonly clock: Clock;
  readonly log: Log;
  /** Default: those of every store. */
  readonly migrations?: Migrations;
  /** Default: the one of the clock. */
  readonly thread?: WriterThread;
}

/** Opens the durable store in `file`, made or migrated where needed. Throws a StoreUnusable. */
export const openStore = (options: StoreOptions): Store =>
  new SqliteStore(options, openReader(options.file, options.migrations ?? MIGRATIONS));

interface Row {
  readonly key: string;
  readonly value: string;
  readonly revision: number;
  readonly expires_at: number | null;
}

const COLUMNS = 'key, value, revision, expires_at';
const LIVE = '(expires_at IS NULL OR expires_at > ?)';
// A text is less than any blob.
const BEHIND_ALL_TEXT = new Uint8Array(0);

const toEntry = ({ key, value, revision, expires_at: expiresAt }: Row): Entry =>
  expiresAt === null ? { key, value, revision } : { key, value, revision, expiresAt };

const unpack = (key: string, packed: string): Entry => {
  const first = packed.indexOf(' ');
  const second = packed.indexOf(' ', first + 1);
  const entry = { key, value: packed.slice(second + 1), revision: Number(packed.slice(0, first)) };
  return second === first + 1 ? entry : { ...entry, expiresAt: Number(packed.slice(first + 1, second)) };
};

const prepareReads = (db: Database) => {
  const list = (order: string): Statement<Row> =>
    db.prepare(`SELECT ${COLUMNS} FROM entries WHERE key >= ? AND key < ? AND ${LIVE} ORDER BY key ${order} LIMIT ?`);
  return {
    // One column: each further one costs the bridge to SQLite more than its finding.
    get: db.prepare<{ packed: string }>(
      `SELECT revision || ' ' || coalesce(expires_at, '') || ' ' || value AS packed FROM entries WHERE key = ? AND ${LIVE}`,
    ),
    ascending: list('ASC'),
    descending: list('DESC'),
    // Both counts are answered by an index alone.
    count: db.prepare<{ live: number }>(
      `SELECT (SELECT count(*) FROM entries WHERE key >= ? AND key < ?) - (SELECT count(*) FROM entries
       INDEXED BY entries_by_expiry WHERE expires_at <= ? AND key >= ? AND key < ?) AS live`,
    ),
    counter: db.prepare<{ revision: number; now: number }>('SELECT revision, now FROM counter'),
    nextExpiry: db.prepare<{ at: number | null }>(
      'SELECT min(expires_at) AS at FROM entries WHERE expires_at IS NOT NULL',
    ),
    usage: db.prepare<{ entries: number | null; bytes: number | null }>(
      'SELECT sum(entries) AS entries, sum(bytes) AS bytes FROM accounts WHERE name >= ? AND name < ?',
    ),
  };
};

class SqliteStore implements Store {
  readonly #file: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #thread: WriterThread;
  readonly #db: Database;
  readonly #reads: ReturnType<typeof prepareReads>;
  readonly #turn: TurnReads;
  readonly #queue: CommitQueue;
  readonly #time: SteadyTime;
  readonly #followers = new Followers();
  #sweeper: Timer | undefined;
  /** When the next sweep is due, by the store's time. */
  #sweepAt = Infinity;
  /** No sweep before, by the store's time. */
  #sweepsFrom: number;
  readonly #listeners = new Set<() => void>();
  #poller: Timer | undefined;
  #revision: number;
  #closing: Promise<void> | undefined;

  constructor({ file, clock, log, thread }: StoreOptions, db: Database) {
    this.#file = file;
    this.#clock = clock;
    this.#log = log;
    this.#thread = thread ?? writerThreadOf(clock);
    this.#db = db;
    this.#reads = prepareReads(db);
    this.#turn = new TurnReads(db, (error) => log.warn('a read was not ended', { file, error }));
    const { revision, now } = this.#readCounter();
    this.#revision = revision;
    this.#time = new SteadyTime(clock, now);
    this.#sweepsFrom = this.#time.now() + UNHEARD_MS;
    this.#queue = new CommitQueue({
      file,
      clock,
      now: () => this.#time.now(),
      ask: (task) => this.#thread.ask(file, task).finally(() => this.#turn.letGo()),
      onCommitted: (group, changes) => this.#see(group, changes),
      isFollowed: () => this.#followers.size > 0,
      onSwept: (swept) => this.#seeSwept(swept),
      onSweepFailed: (message) => {
        log.warn('store sweep failed', { file, message });
        this.#planSweep(SWEEP_MS);
      },
    });
    this.#planSweep(SWEEP_GAP_MS);
  }

  get revision(): number {
    return this.#revision;
  }

  now(): number {
    return this.#time.now();
  }

  get(key: string): Entry | undefined {
    if (!isStorable(key)) return undefined;
    this.#turn.hold();
    const row = this.#reads.get.get(key, this.#time.now());
    return row === undefined ? undefined : unpack(key, row.packed);
  }

  list(query: ListQuery): Entry[] {
    const { from, to = BEHIND_ALL_TEXT } = listRange(query);
    const statement = query.reverse === true ? this.#reads.descending : this.#reads.ascending;
    this.#turn.hold();
    // Row by row: large values that the list does not hold are never read.
    return cutList(statement.iterate(from, to, this.#time.now(), query.limit), query).map(toEntry);
  }

  count(prefix: string): number {
    const { from, to = BEHIND_ALL_TEXT } = prefixRange(prefix);
    this.#turn.hold();
    const range: SqlValue[] = [from, to];
    return this.#reads.count.get(...range, this.#time.now(), ...range)?.live ?? 0;
  }

  usage(accounts: string): Usage {
    const { from, to = BEHIND_ALL_TEXT } = prefixRange(accounts);
    this.#turn.hold();
    const { entries, bytes } = this.#reads.usage.get(from, to) ?? {};
    return { entries: entries ?? 0, bytes: bytes ?? 0 };
  }

  async commit(changes: readonly Change[], options: CommitOptions = {}): Promise<number> {
    const length = checkChanges(changes);
    const { within } = options;
    checkBudgets(within);
    if (this.#closing !== undefined) throw new Error(`${this.#file} is closed`);
    if (changes.length === 0) return this.#revision;
    const batch = within === undefined ? { changes } : { changes, within };
    return this.#queue.add(batch, { length, urgent: options.durability !== 'later' });
  }

  follow(prefix: string, listener: (seen: Seen) => void): () => void {
    const isFirst = this.#sweepsFrom > this.#time.now();
    this.#sweepsFrom = -Infinity;
    if (isFirst) this.#planSweep(SWEEP_GAP_MS);
    return this.#followers.add(prefix, listener);
  }

  onForeignChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#poller ??= this.#every(POLL_MS, () => this.#poll());
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#stopPolling();
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#sweeper?.cancel();
    this.#stopPolling();
    await this.#queue.drain();
    this.#turn.letGo();
    // The thread closes last: the last connection moves the log into the file.
    this.#db.close();
    await this.#thread.close(this.#file);
  }

  #readCounter(): { readonly revision: number; readonly now: number } {
    return this.#reads.counter.get() ?? { revision: 0, now: 0 };
  }

  #see({ before, after, results }: GroupResult, batches: readonly (readonly Change[])[]): void {
    this.#count(before, after);
    results.forEach((revision, at) => {
      const changes = batches[at];
      if (typeof revision === 'number' && changes !== undefined) this.#seeCommit(revision, changes);
    });
  }

  #seeCommit(revision: number, changes: readonly Change[]): void {
    for (const change of changes) if ('put' in change) this.#expectSweep(change.expiresAt);
    this.#guard(() => this.#followers.tell(revision, changes));
  }

  #seeSwept({ before, after, keys }: SweepResult): void {
    this.#count(before, after);
    this.#guard(() => this.#followers.tellExpired(after, keys));
    if (!this.#queue.isSweeping) this.#planSweep(SWEEP_GAP_MS);
  }

  #count(before: number, after: number): void {
    const isForeign = before !== this.#revision;
    this.#revision = after;
    if (isForeign) this.#tellListeners();
  }

  #poll(): void {
    // While this process writes, a new counter may be its own; the writer's answer will tell.
    if (this.#queue.isWriting) return;
    this.#turn.letGo();
    const { revision } = this.#readCounter();
    if (revision === this.#revision) return;
    this.#revision = revision;
    this.#tellListeners();
  }

  #tellListeners(): void {
    for (const listener of this.#listeners) this.#guard(listener);
  }

  #every(ms: number, run: () => void): Timer {
    return this.#clock.every(ms, () => this.#guard(run));
  }

  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#log.error('store watch failed', { file: this.#file, error });
    }
  }

  #stopPolling(): void {
    this.#poller?.cancel();
    this.#poller = undefined;
  }

  /** Looks when the next entry expires, and comes back then. */
  #planSweep(leastMs: number): void {
    this.#sweepAt = Infinity;
    this.#expectSweep(this.#reads.nextExpiry.get()?.at ?? Infinity, leastMs);
    // Another process may put what expires sooner.
    this.#expectSweep(this.#time.now() + SWEEP_MS, leastMs);
  }

  #expectSweep(when: number = Infinity, leastMs = 0): void {
    const at = Math.max(when, this.#sweepsFrom);
    if (at >= this.#sweepAt || this.#closing !== undefined) return;
    this.#sweepAt = at;
    this.#sweeper?.cancel();
    const ms = Math.max(leastMs, at - this.#time.now());
    // Timers of more than 24 days are none.
    this.#sweeper = this.#clock.after(Math.min(ms, SWEEP_MS), () => this.#guard(() => this.#sweep()));
  }

  #sweep(): void {
    const { at } = this.#reads.nextExpiry.get() ?? {};
    if (typeof at === 'number' && at <= this.#time.now()) this.#queue.sweep();
    else this.#planSweep(SWEEP_GAP_MS);
  }
}
