import { Budgets } from './budgets.ts';
import { openWriter } from './connection.ts';
import { Room } from './room.ts';
import { DiskFull, inTransaction, isFull, type Database, type Statement } from './sqlite.ts';
import type { Budget, Change } from './store.ts';
import type { WriterBatch } from './writer-protocol.ts';

const SWEEP_ENTRIES = 256;
/** On a full disk. */
const FEW_ENTRIES = 8;

/**
 * The key of the condition that did not hold, and what it has; or the budget, and what its accounts hold; or that there
 * was room for deletes alone.
 */
export type Refusal =
  | { readonly full: true }
  | { readonly key: string; readonly revision: number }
  | { readonly budget: Budget; readonly bytes: number };

/** The revision of a batch that was carried out, or why it was not. */
export type BatchResult = number | Refusal;

/** What one transaction did: the file's counter before and after it. */
interface Counted {
  readonly before: number;
  readonly after: number;
}

/** What a group of commits did: a result for each batch. */
export interface GroupResult extends Counted {
  readonly results: readonly BatchResult[];
}

/** What a sweep removed: all of it has the revision `after`. */
export interface SweepResult extends Counted {
  readonly keys: readonly string[];
  /** True where there may be more. */
  readonly more: boolean;
}

/** What has expired at `now` is to go. */
interface SweepTask {
  readonly now: number;
  readonly counts: boolean;
}

/** What a condition is about. */
interface Old {
  readonly revision: number;
  readonly expires_at: number | null;
}

/** An entry as it is put: key, value, revision, expiry, account. */
type Row = readonly [string, string, number, number | null, string | null];

/** A larger value goes by itself: as one of many it would be copied more often. */
const MAX_SHARED = 4096;
/** Rows of one statement. */
const MAX_ROWS = 256;

const deletes = ({ changes }: WriterBatch): boolean => changes.every((change) => 'delete' in change);

/** One after the other; where another process has written between them, `before` is nobody's. */
const spanOf = (done: readonly Counted[]): Counted => {
  const [first] = done;
  const isOne = done.every(({ before }, at) => at === 0 || before === done[at - 1]?.after);
  return { before: isOne ? (first?.before ?? -1) : -1, after: done.at(-1)?.after ?? -1 };
};

/** How a key that is there takes what is put. */
const UPSERT = `ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision,
  expires_at = excluded.expires_at, account = excluded.account`;
const COLUMNS = '(key, value, revision, expires_at, account)';

/**
 * Writes one file. A batch never harms another one: its conditions are decided before its first change. What only puts
 * goes to the engine in one statement with what comes before and behind it: the way there costs more than the work.
 */
export class FileWriter {
  readonly #db: Database;
  readonly #room: Room;
  readonly #budgets: Budgets;
  readonly #counter: Statement<{ revision: number }>;
  readonly #old: Statement<Old>;
  readonly #put: Statement<never>;
  readonly #putAll: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #sweep: Statement<{ readonly key: string }>;
  readonly #setCounter: Statement<never>;
  #rows: Row[] = [];
  #revision = -1;

  constructor(file: string) {
    const db = openWriter(file);
    this.#db = db;
    this.#room = new Room(db, file);
    this.#budgets = new Budgets(db);
    this.#counter = db.prepare('SELECT revision FROM counter');
    this.#setCounter = db.prepare('UPDATE counter SET revision = ?, now = max(now, ?)');
    this.#old = db.prepare('SELECT revision, expires_at FROM entries WHERE key = ?');
    this.#put = db.prepare(`INSERT INTO entries ${COLUMNS} VALUES (?, ?, ?, ?, ?) ${UPSERT}`);
    this.#putAll = db.prepare(
      `INSERT INTO entries ${COLUMNS} SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
       FROM json_each(?) WHERE true ${UPSERT}`,
    );
    this.#delete = db.prepare('DELETE FROM entries WHERE key = ?');
    this.#sweep = db.prepare(
      'DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_at <= ? LIMIT ?) RETURNING key',
    );
  }

  /** Carries out each batch, or nothing of it, in one transaction that is on disk when this returns. */
  commit(batches: readonly WriterBatch[], now: number): GroupResult {
    try {
      return this.#commit(batches, now);
    } catch (error) {
      if (!isFull(error)) throw error;
      // There may be room in the file and in its log, once that is begun anew.
      if (!batches.some(deletes)) {
        if (!this.#room.beginAnew()) throw error;
        return this.#commit(batches, now);
      }
      return this.#commitDeletes(batches, now);
    }
  }

  /** The disk is full: what deletes is carried out in the room that is kept for it, each by itself: that takes less. */
  #commitDeletes(batches: readonly WriterBatch[], now: number): GroupResult {
    const done: GroupResult[] = [];
    try {
      const results = batches.map((batch): BatchResult => {
        if (!deletes(batch)) return { full: true };
        try {
          const one = this.#room.squeeze(() => this.#commit([batch], now));
          done.push(one);
          return one.results[0] ?? { full: true };
        } catch (error) {
          // What is done already is to be told.
          if (!isFull(error) && done.length === 0) throw error;
          return { full: true };
        }
      });
      if (done.length === 0) throw new DiskFull('the disk has no room for a delete');
      return { ...spanOf(done), results };
    } finally {
      this.#room.keepAgain();
    }
  }

  #commit(batches: readonly WriterBatch[], now: number): GroupResult {
    return this.#counted(now, (before) => {
      let after = before;
      const results = batches.map((batch): BatchResult => {
        const refusal = this.#carryOut(batch, after + 1, now);
        if (refusal !== undefined) return refusal;
        after += 1;
        return after;
      });
      this.#flush();
      return { before, after, results };
    });
  }

  /** Removes some of the entries that had expired at `now`. Where it `counts`, what is removed makes a revision. */
  sweep(task: SweepTask): SweepResult {
    try {
      return this.#sweepSome(task, SWEEP_ENTRIES);
    } catch (error) {
      if (!isFull(error)) throw error;
      try {
        return this.#room.squeeze(() => this.#sweepSome(task, FEW_ENTRIES));
      } finally {
        this.#room.keepAgain();
      }
    }
  }

  close(): void {
    this.#db.close();
    // With the last connection the log has gone, and its room.
    this.#room.keepAgain();
  }

  #sweepSome({ now, counts }: SweepTask, most: number): SweepResult {
    return this.#counted(now, (before) => {
      const gone = this.#sweep.all(now, most);
      const after = gone.length === 0 || !counts ? before : before + 1;
      return { before, after, keys: gone.map(({ key }) => key), more: gone.length === most };
    });
  }

  #counted<Result extends Counted>(now: number, run: (before: number) => Result): Result {
    this.#rows = [];
    try {
      const result = inTransaction(this.#db, () => {
        const before = this.#counter.get()?.revision ?? 0;
        // Another process has written.
        if (before !== this.#revision) this.#budgets.forget();
        const done = run(before);
        if (done.after !== before) this.#setCounter.run(done.after, now);
        this.#room.ensure();
        return done;
      });
      this.#revision = result.after;
      return result;
    } catch (error) {
      this.#budgets.forget();
      throw error;
    }
  }

  #carryOut({ changes, within = [] }: WriterBatch, revision: number, now: number): Refusal | undefined {
    const conflict = this.#findConflict(changes, now);
    if (conflict !== undefined) return conflict;
    if (!this.#budgets.surelyHold(within, changes)) return this.#tryWithin(changes, within, revision);
    for (const change of changes) this.#apply(change, revision);
    return undefined;
  }

  /** Does it, and looks what came of it. */
  #tryWithin(changes: readonly Change[], within: readonly Budget[], revision: number): Refusal | undefined {
    this.#flush();
    this.#budgets.forget();
    const before = within.map(({ accounts }) => this.#budgets.exact(accounts));
    this.#db.exec('SAVEPOINT batch');
    for (const change of changes) this.#apply(change, revision);
    this.#flush();
    const over = within.findIndex(({ accounts, maxBytes }, at) => {
      const bytes = this.#budgets.exact(accounts);
      return bytes > maxBytes && bytes > (before[at] ?? 0);
    });
    this.#db.exec(over < 0 ? 'RELEASE batch' : 'ROLLBACK TO batch; RELEASE batch');
    const budget = within[over];
    return budget === undefined ? undefined : { budget, bytes: before[over] ?? 0 };
  }

  #findConflict(changes: readonly Change[], now: number): Refusal | undefined {
    for (const change of changes) {
      if (change.ifRevision === undefined) continue;
      this.#flush();
      const key = 'put' in change ? change.put : change.delete;
      const old = this.#old.get(key);
      const revision = old === undefined || (old.expires_at ?? Infinity) <= now ? 0 : old.revision;
      if (revision !== change.ifRevision) return { key, revision };
    }
    return undefined;
  }

  #apply(change: Change, revision: number): void {
    if (!('put' in change)) {
      this.#flush();
      this.#delete.run(change.delete);
      return;
    }
    const { put, value, expiresAt = null, account = null } = change;
    const row: Row = [put, value, revision, expiresAt, account];
    if (value.length > MAX_SHARED) {
      this.#flush();
      this.#put.run(...row);
      return;
    }
    this.#rows.push(row);
    if (this.#rows.length >= MAX_ROWS) this.#flush();
  }

  #flush(): void {
    const rows = this.#rows;
    if (rows.length === 0) return;
    this.#rows = [];
    const [only] = rows;
    if (rows.length === 1 && only !== undefined) this.#put.run(...only);
    else this.#putAll.run(JSON.stringify(rows));
  }
}
