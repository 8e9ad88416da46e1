import type { Database, Statement } from './sqlite.ts';
import type { Budget, Change } from './store.ts';
import { prefixRange } from './text.ts';

/** More than any text has. */
const BEHIND_ALL_TEXT = new Uint8Array(0);
/** Prefixes name peers, which come and go. */
const MAX_KNOWN = 256;

/**
 * What accounts hold at the most: the exact sums are read where that is not enough to say yes. Whatever is put adds to
 * it, whatever is replaced or removed takes nothing from it.
 */
export class Budgets {
  readonly #sum: Statement<{ bytes: number | null }>;
  readonly #most = new Map<string, number>();

  constructor(db: Database) {
    this.#sum = db.prepare('SELECT sum(bytes) AS bytes FROM accounts WHERE name >= ? AND name < ?');
  }

  /** What is known was of another transaction, or is not true any more. */
  forget(): void {
    this.#most.clear();
  }

  /** True where these changes can't be too much; they are counted then. */
  surelyHold(within: readonly Budget[], changes: readonly Change[]): boolean {
    const added = within.map(({ accounts }) => bytesIn(changes, accounts));
    const holds = within.every(({ accounts, maxBytes }, at) => this.#mostOf(accounts) + (added[at] ?? 0) <= maxBytes);
    if (holds) this.count(changes);
    return holds;
  }

  /** Counts what is put, for every sum that is known. */
  count(changes: readonly Change[]): void {
    for (const [accounts, most] of this.#most) this.#most.set(accounts, most + bytesIn(changes, accounts));
  }

  /** What accounts hold at this moment of the transaction. */
  exact(accounts: string): number {
    const { from, to = BEHIND_ALL_TEXT } = prefixRange(accounts);
    return this.#sum.get(from, to)?.bytes ?? 0;
  }

  #mostOf(accounts: string): number {
    const known = this.#most.get(accounts);
    if (known !== undefined) return known;
    if (this.#most.size >= MAX_KNOWN) this.#most.clear();
    const bytes = this.exact(accounts);
    this.#most.set(accounts, bytes);
    return bytes;
  }
}

/** What changes add at the most to accounts with this prefix. */
const bytesIn = (changes: readonly Change[], accounts: string): number => {
  let bytes = 0;
  for (const change of changes)
    if ('put' in change && change.account?.startsWith(accounts) === true)
      bytes += Buffer.byteLength(change.put) + Buffer.byteLength(change.value);
  return bytes;
};
