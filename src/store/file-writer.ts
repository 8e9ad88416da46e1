import { Accounts } from './accounts.ts';
import { openWriter } from './connection.ts';
import { inTransaction, type Database, type Statement } from './sqlite.ts';
import type { Budget, Change } from './store.ts';
import type { WriterBatch } from './writer-protocol.ts';

const SWEEP_ENTRIES = 256;

/** The key of the condition that did not hold, and what it has; or the budget, and what its accounts hold. */
export type Refusal =
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

/** What must be known of an entry before it is replaced. */
interface Old {
  readonly revision: number;
  readonly expires_at: number | null;
  readonly account: number | null;
  readonly bytes: number;
}

const BYTES = 'octet_length(key) + octet_length(value) AS bytes';

/** Writes one file. A batch never harms another one: its conditions are decided before its first change. */
export class FileWriter {
  readonly #db: Database;
  readonly #accounts: Accounts;
  readonly #counter: Statement<{ revision: number }>;
  readonly #old: Statement<Old>;
  readonly #put: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #sweep: Statement<Pick<Old, 'account' | 'bytes'> & { readonly key: string }>;
  readonly #setCounter: Statement<never>;
  #revision = -1;

  constructor(file: string) {
    const db = openWriter(file);
    this.#db = db;
    this.#accounts = new Accounts(db);
    this.#counter = db.prepare('SELECT revision FROM counter');
    this.#setCounter = db.prepare('UPDATE counter SET revision = ?, now = max(now, ?)');
    this.#old = db.prepare(`SELECT revision, expires_at, account, ${BYTES} FROM entries WHERE key = ?`);
    this.#put = db.prepare(
      `INSERT INTO entries (key, value, revision, expires_at, account) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key)
       DO UPDATE SET value = excluded.value, revision = excluded.revision, expires_at = excluded.expires_at,
       account = excluded.account`,
    );
    this.#delete = db.prepare('DELETE FROM entries WHERE key = ?');
    this.#sweep = db.prepare(
      `DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_at <= ? LIMIT ?)
       RETURNING key, account, ${BYTES}`,
    );
  }

  /** Carries out each batch, or nothing of it, in one transaction that is on disk when this returns. */
  commit(batches: readonly WriterBatch[], now: number): GroupResult {
    return this.#counted(now, (before) => {
      let after = before;
      const results = batches.map((batch): BatchResult => {
        const refusal = this.#carryOut(batch, after + 1, now);
        if (refusal !== undefined) return refusal;
        after += 1;
        return after;
      });
      return { before, after, results };
    });
  }

  /** Removes some of the entries that had expired at `now`. Where it `counts`, what is removed makes a revision. */
  sweep({ now, counts }: { readonly now: number; readonly counts: boolean }): SweepResult {
    return this.#counted(now, (before) => {
      const gone = this.#sweep.all(now, SWEEP_ENTRIES);
      for (const { account, bytes } of gone) if (account !== null) this.#accounts.count(account, -1, bytes);
      const after = gone.length === 0 || !counts ? before : before + 1;
      return { before, after, keys: gone.map(({ key }) => key), more: gone.length === SWEEP_ENTRIES };
    });
  }

  close(): void {
    this.#db.close();
  }

  #counted<Result extends Counted>(now: number, run: (before: number) => Result): Result {
    try {
      const result = inTransaction(this.#db, () => {
        const before = this.#counter.get()?.revision ?? 0;
        // Another process has written.
        if (before !== this.#revision) this.#accounts.forget();
        const done = run(before);
        if (done.after !== before) this.#setCounter.run(done.after, now);
        this.#accounts.save();
        return done;
      });
      this.#revision = result.after;
      return result;
    } catch (error) {
      this.#accounts.forget();
      throw error;
    }
  }

  #carryOut({ changes, within = [] }: WriterBatch, revision: number, now: number): Refusal | undefined {
    const olds = new Map<string, Old | undefined>();
    for (const change of changes) {
      const key = keyOf(change);
      if (!olds.has(key)) olds.set(key, this.#old.get(key));
      const conflict = conflictOf(change, olds.get(key), now);
      if (conflict !== undefined) return conflict;
    }
    const before = within.map(({ accounts }) => this.#accounts.bytesOf(accounts));
    const counted = this.#count(changes, olds);
    const budget = this.#accounts.over(within, before);
    if (budget !== undefined) {
      for (const [id, entries, bytes] of counted) this.#accounts.count(id, entries === 1 ? -1 : 1, bytes);
      return { budget, bytes: before[within.indexOf(budget)] ?? 0 };
    }
    for (const change of changes) this.#apply(change, revision);
    return undefined;
  }

  /** Counts what each key had, and what the last of its changes gives it. */
  #count(changes: readonly Change[], olds: ReadonlyMap<string, Old | undefined>): Counting[] {
    const counted: Counting[] = [];
    const count = (...counting: Counting): void => {
      this.#accounts.count(...counting);
      counted.push(counting);
    };
    for (const old of olds.values()) if (old !== undefined && old.account !== null) count(old.account, -1, old.bytes);
    const last = olds.size === changes.length ? changes : new Map(changes.map((one) => [keyOf(one), one])).values();
    for (const change of last) {
      if (!('put' in change) || change.account === undefined) continue;
      const bytes = Buffer.byteLength(change.put) + Buffer.byteLength(change.value);
      count(this.#accounts.idOf(change.account), 1, bytes);
    }
    return counted;
  }

  #apply(change: Change, revision: number): void {
    if (!('put' in change)) {
      this.#delete.run(change.delete);
      return;
    }
    const { put: key, value, expiresAt = null, account } = change;
    this.#put.run(key, value, revision, expiresAt, account === undefined ? null : this.#accounts.idOf(account));
  }
}

type Counting = readonly [id: number, entries: 1 | -1, bytes: number];

const keyOf = (change: Change): string => ('put' in change ? change.put : change.delete);

const conflictOf = (change: Change, old: Old | undefined, now: number): Refusal | undefined => {
  if (change.ifRevision === undefined) return undefined;
  const revision = old === undefined || (old.expires_at ?? Infinity) <= now ? 0 : old.revision;
  return revision === change.ifRevision ? undefined : { key: keyOf(change), revision };
};
