import type { Database, Statement } from './sqlite.ts';
import type { Budget } from './store.ts';

interface Account {
  readonly id: number;
  readonly name: string;
  entries: number;
  bytes: number;
}

/** How many entries and bytes each account holds: known in memory, written once for each transaction. */
export class Accounts {
  readonly #all: Statement<Account>;
  readonly #insert: Statement<{ id: number }>;
  readonly #update: Statement<never>;
  #byName: Map<string, Account> | undefined;
  readonly #byId = new Map<number, Account>();
  readonly #changed = new Set<Account>();
  /** The sums that were asked for. */
  readonly #totals = new Map<string, number>();

  constructor(db: Database) {
    this.#all = db.prepare('SELECT id, name, entries, bytes FROM accounts');
    this.#insert = db.prepare('INSERT INTO accounts (name, entries, bytes) VALUES (?, 0, 0) RETURNING id');
    this.#update = db.prepare('UPDATE accounts SET entries = ?, bytes = ? WHERE id = ?');
  }

  /** What is known is of another transaction than the last: it is read again when it is next needed. */
  forget(): void {
    this.#byName = undefined;
    this.#changed.clear();
    this.#totals.clear();
  }

  /** The id of an account, made where there is none. */
  idOf(name: string): number {
    const known = this.#load().get(name);
    if (known !== undefined) return known.id;
    const id = this.#insert.get(name)?.id ?? 0;
    this.#add({ id, name, entries: 0, bytes: 0 });
    return id;
  }

  /** Counts an entry that has come, or gone: `entries` is 1 or -1. */
  count(id: number, entries: 1 | -1, bytes: number): void {
    this.#load();
    const account = this.#byId.get(id);
    if (account === undefined) return;
    account.entries += entries;
    account.bytes += entries * bytes;
    this.#changed.add(account);
    for (const [prefix, total] of this.#totals)
      if (account.name.startsWith(prefix)) this.#totals.set(prefix, total + entries * bytes);
  }

  /** The bytes of all accounts with this prefix. */
  bytesOf(prefix: string): number {
    const known = this.#totals.get(prefix);
    if (known !== undefined) return known;
    let total = 0;
    for (const { name, bytes } of this.#load().values()) if (name.startsWith(prefix)) total += bytes;
    this.#totals.set(prefix, total);
    return total;
  }

  /** The first of the budgets that does not hold, where its accounts have grown. */
  over(budgets: readonly Budget[], before: readonly number[]): Budget | undefined {
    return budgets.find(({ accounts, maxBytes }, at) => {
      const bytes = this.bytesOf(accounts);
      return bytes > maxBytes && bytes > (before[at] ?? 0);
    });
  }

  /** Writes what has changed. */
  save(): void {
    for (const { id, entries, bytes } of this.#changed) this.#update.run(entries, bytes, id);
    this.#changed.clear();
    // Prefixes name peers, which come and go: the sums are cheap to make again.
    if (this.#totals.size > MAX_TOTALS) this.#totals.clear();
  }

  #load(): Map<string, Account> {
    if (this.#byName !== undefined) return this.#byName;
    this.#byName = new Map();
    this.#byId.clear();
    for (const { id, name, entries, bytes } of this.#all.all()) this.#add({ id, name, entries, bytes });
    return this.#byName;
  }

  #add(account: Account): void {
    this.#byName?.set(account.name, account);
    this.#byId.set(account.id, account);
  }
}

const MAX_TOTALS = 64;
