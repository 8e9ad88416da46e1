import type { Clock, Timer } from '../kernel/clock.ts';
import type { Log } from '../kernel/log.ts';
import { CommitQueue } from './commit-queue.ts';
import { openReader } from './connection.ts';
import type { GroupResult } from './file-writer.ts';
import { MIGRATIONS, type Migrations } from './schema.ts';
import type { Database, SqlValue, Statement } from './sqlite.ts';
import type { Change, CommitOptions, Entry, ListQuery, Store } from './store.ts';
import { checkChanges, cutList, isStorable, listRange, prefixRange } from './text.ts';
import { writerThreadOf, type WriterThread } from './writer-thread.ts';

const SWEEP_MS = 60_000;
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

const prepareReads = (db: Database) => {
  const list = (order: string): Statement<Row> =>
    db.prepare(`SELECT ${COLUMNS} FROM entries WHERE key >= ? AND key < ? AND ${LIVE} ORDER BY key ${order} LIMIT ?`);
  return {
    get: db.prepare<Row>(`SELECT ${COLUMNS} FROM entries WHERE key = ? AND ${LIVE}`),
    ascending: list('ASC'),
    descending: list('DESC'),
    // Both counts are answered by an index alone.
    count: db.prepare<{ live: number }>(
      `SELECT (SELECT count(*) FROM entries WHERE key >= ? AND key < ?) - (SELECT count(*) FROM entries
       INDEXED BY entries_by_expiry WHERE expires_at <= ? AND key >= ? AND key < ?) AS live`,
    ),
    counter: db.prepare<{ revision: number }>('SELECT revision FROM counter'),
    expired: db.prepare<{ one: number }>('SELECT 1 AS one FROM entries WHERE expires_at <= ? LIMIT 1'),
  };
};

class SqliteStore implements Store {
  readonly #file: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #thread: WriterThread;
  readonly #db: Database;
  readonly #reads: ReturnType<typeof prepareReads>;
  readonly #queue: CommitQueue;
  readonly #sweeper: Timer;
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
    this.#revision = this.#readCounter();
    this.#queue = new CommitQueue({
      file,
      clock,
      ask: (task) => this.#thread.ask(file, task),
      onCommitted: (group) => this.#see(group),
      onSweepFailed: (message) => log.warn('store sweep failed', { file, message }),
    });
    this.#sweeper = this.#every(SWEEP_MS, () => this.#sweep());
  }

  get revision(): number {
    return this.#revision;
  }

  get(key: string): Entry | undefined {
    if (!isStorable(key)) return undefined;
    const row = this.#reads.get.get(key, this.#clock.now());
    return row === undefined ? undefined : toEntry(row);
  }

  list(query: ListQuery): Entry[] {
    const { from, to = BEHIND_ALL_TEXT } = listRange(query);
    const statement = query.reverse === true ? this.#reads.descending : this.#reads.ascending;
    // Row by row: large values that the list does not hold are never read.
    return cutList(statement.iterate(from, to, this.#clock.now(), query.limit), query).map(toEntry);
  }

  count(prefix: string): number {
    const { from, to = BEHIND_ALL_TEXT } = prefixRange(prefix);
    const range: SqlValue[] = [from, to];
    return this.#reads.count.get(...range, this.#clock.now(), ...range)?.live ?? 0;
  }

  async commit(changes: readonly Change[], options: CommitOptions = {}): Promise<number> {
    const length = checkChanges(changes);
    if (this.#closing !== undefined) throw new Error(`${this.#file} is closed`);
    if (changes.length === 0) return this.#revision;
    return this.#queue.add(changes, length, options.durability !== 'later');
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
    this.#sweeper.cancel();
    this.#stopPolling();
    await this.#queue.drain();
    // The thread closes last: the last connection moves the log into the file.
    this.#db.close();
    await this.#thread.close(this.#file);
  }

  #readCounter(): number {
    return this.#reads.counter.get()?.revision ?? 0;
  }

  #see({ before, after }: GroupResult): void {
    const isForeign = before !== this.#revision;
    this.#revision = after;
    if (isForeign) this.#tellListeners();
  }

  #poll(): void {
    // While this process writes, a new counter may be its own; the writer's answer will tell.
    if (this.#queue.isWriting) return;
    const revision = this.#readCounter();
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

  #sweep(): void {
    if (this.#reads.expired.get(this.#clock.now()) !== undefined) this.#queue.sweep();
  }
}
