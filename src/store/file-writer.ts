import { openWriter } from './connection.ts';
import { inTransaction, type Database, type Statement } from './sqlite.ts';
import type { Change } from './store.ts';

const SWEEP_ENTRIES = 256;

/** The revision of a batch that was carried out, or the key of the condition that did not hold and what it has. */
export type BatchResult = number | { readonly key: string; readonly revision: number };

/** What one transaction did: the file's counter before and after it, and a result for each batch. */
export interface GroupResult {
  readonly before: number;
  readonly after: number;
  readonly results: readonly BatchResult[];
}

/** Writes one file. A batch never harms another one: its conditions are decided before its first change. */
export class FileWriter {
  readonly #db: Database;
  readonly #counter: Statement<{ revision: number }>;
  readonly #live: Statement<{ revision: number }>;
  readonly #put: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #sweep: Statement<never>;
  readonly #setCounter: Statement<never>;

  constructor(file: string) {
    const db = openWriter(file);
    this.#db = db;
    this.#counter = db.prepare('SELECT revision FROM counter');
    this.#setCounter = db.prepare('UPDATE counter SET revision = ?');
    this.#live = db.prepare('SELECT revision FROM entries WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)');
    this.#put = db.prepare(
      `INSERT INTO entries (key, value, revision, expires_at) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
       SET value = excluded.value, revision = excluded.revision, expires_at = excluded.expires_at`,
    );
    this.#delete = db.prepare('DELETE FROM entries WHERE key = ?');
    this.#sweep = db.prepare(
      'DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_at <= ? LIMIT ?)',
    );
  }

  /** Carries out each batch, or nothing of it, in one transaction that is on disk when this returns. */
  commit(batches: readonly (readonly Change[])[], now: number): GroupResult {
    return inTransaction(this.#db, () => {
      const before = this.#counter.get()?.revision ?? 0;
      let after = before;
      const results = batches.map((changes): BatchResult => {
        const conflict = this.#findConflict(changes, now);
        if (conflict !== undefined) return conflict;
        after += 1;
        for (const change of changes) this.#apply(change, after);
        return after;
      });
      if (after !== before) this.#setCounter.run(after);
      return { before, after, results };
    });
  }

  /** Removes some of the entries that had expired at `now`; true where there may be more. */
  sweep(now: number): boolean {
    return inTransaction(this.#db, () => Number(this.#sweep.run(now, SWEEP_ENTRIES).changes) === SWEEP_ENTRIES);
  }

  close(): void {
    this.#db.close();
  }

  #findConflict(changes: readonly Change[], now: number): BatchResult | undefined {
    for (const change of changes) {
      if (change.ifRevision === undefined) continue;
      const key = 'put' in change ? change.put : change.delete;
      const revision = this.#live.get(key, now)?.revision ?? 0;
      if (revision !== change.ifRevision) return { key, revision };
    }
    return undefined;
  }

  #apply(change: Change, revision: number): void {
    if ('put' in change) this.#put.run(change.put, change.value, revision, change.expiresAt ?? null);
    else this.#delete.run(change.delete);
  }
}
