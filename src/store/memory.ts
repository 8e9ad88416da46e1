import type { Clock, Timer } from '../kernel/clock.ts';
import { SteadyTime } from '../kernel/steady-time.ts';
import { Followers } from './followers.ts';
import {
  StoreConflict,
  StoreOverBudget,
  type Change,
  type CommitOptions,
  type Entry,
  type ListQuery,
  type Seen,
  type Store,
  type Usage,
} from './store.ts';
import { checkBudgets, checkChanges, compareUtf8, cutList, listRange, prefixRange, type KeyRange } from './text.ts';

/** A store that forgets: the twin of the durable one, for tests. It passes the same suite. */
export const openMemoryStore = ({ clock }: { readonly clock: Clock }): Store => new MemoryStore(clock);

class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #time: SteadyTime;
  readonly #followers = new Followers();
  readonly #accounts = new Map<string, string>();
  #sweeper: Timer | undefined;
  readonly #entries = new Map<string, Entry>();
  #revision = 0;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#time = new SteadyTime(clock, 0);
  }

  get revision(): number {
    return this.#revision;
  }

  now(): number {
    return this.#time.now();
  }

  usage(accounts: string): Usage {
    const mine = [...this.#accounts].filter(([, account]) => account.startsWith(accounts));
    const entries = mine.map(([key]) => this.#entries.get(key)).filter((entry) => entry !== undefined);
    return { entries: entries.length, bytes: entries.reduce((sum, entry) => sum + bytesOf(entry), 0) };
  }

  follow(prefix: string, listener: (seen: Seen) => void): () => void {
    return this.#followers.add(prefix, listener);
  }

  get(key: string): Entry | undefined {
    this.#checkOpen();
    return this.#live(key);
  }

  list(query: ListQuery): Entry[] {
    const entries = this.#within(listRange(query)).sort((a, b) => compareUtf8(a.key, b.key));
    if (query.reverse === true) entries.reverse();
    return cutList(entries, query);
  }

  count(prefix: string): number {
    return this.#within(prefixRange(prefix)).length;
  }

  async commit(changes: readonly Change[], { within = [] }: CommitOptions = {}): Promise<number> {
    checkChanges(changes);
    checkBudgets(within);
    this.#checkOpen();
    if (changes.length === 0) return this.#revision;
    await Promise.resolve();
    for (const change of changes) this.#checkCondition(change);
    const before = within.map(({ accounts }) => this.usage(accounts).bytes);
    const [entries, accounts] = [new Map(this.#entries), new Map(this.#accounts)];
    this.#revision += 1;
    for (const change of changes) this.#apply(change);
    within.forEach((budget, at) => {
      const [had = 0, has] = [before[at], this.usage(budget.accounts).bytes];
      if (has <= budget.maxBytes || has <= had) return;
      this.#revision -= 1;
      restore(this.#entries, entries);
      restore(this.#accounts, accounts);
      throw new StoreOverBudget(budget, had);
    });
    this.#followers.tell(this.#revision, changes);
    this.#planSweep();
    return this.#revision;
  }

  onForeignChange(): () => void {
    return () => undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#sweeper?.cancel();
    await Promise.resolve();
  }

  #checkOpen(): void {
    if (this.#closed) throw new Error('the store is closed');
  }

  #live(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    return entry !== undefined && (entry.expiresAt ?? Infinity) > this.now() ? entry : undefined;
  }

  #within({ from, to }: KeyRange): Entry[] {
    this.#checkOpen();
    const now = this.now();
    return [...this.#entries.values()].filter(
      ({ key, expiresAt = Infinity }) =>
        expiresAt > now && compareUtf8(key, from) >= 0 && (to === undefined || compareUtf8(key, to) < 0),
    );
  }

  #checkCondition(change: Change): void {
    if (change.ifRevision === undefined) return;
    const key = 'put' in change ? change.put : change.delete;
    const revision = this.#live(key)?.revision ?? 0;
    if (revision !== change.ifRevision) throw new StoreConflict(key, revision);
  }

  #apply(change: Change): void {
    if (!('put' in change)) {
      this.#remove(change.delete);
      return;
    }
    const { put: key, value, expiresAt, account } = change;
    this.#remove(key);
    if (account !== undefined) this.#accounts.set(key, account);
    this.#entries.set(key, { key, value, revision: this.#revision, ...(expiresAt === undefined ? {} : { expiresAt }) });
  }

  #remove(key: string): void {
    this.#entries.delete(key);
    this.#accounts.delete(key);
  }

  #planSweep(): void {
    this.#sweeper?.cancel();
    const next = Math.min(...[...this.#entries.values()].map(({ expiresAt = Infinity }) => expiresAt));
    if (next !== Infinity) this.#sweeper = this.#clock.after(Math.max(0, next - this.now()), () => this.#sweep());
  }

  #sweep(): void {
    const now = this.now();
    const gone = [...this.#entries.values()].filter(({ expiresAt = Infinity }) => expiresAt <= now);
    for (const { key } of gone) this.#remove(key);
    if (gone.length > 0 && this.#followers.size > 0) this.#revision += 1;
    this.#followers.tellExpired(
      this.#revision,
      gone.map(({ key }) => key),
    );
    this.#planSweep();
  }
}

const bytesOf = ({ key, value }: Entry): number => Buffer.byteLength(key) + Buffer.byteLength(value);

const restore = <Value>(map: Map<string, Value>, before: ReadonlyMap<string, Value>): void => {
  map.clear();
  for (const [key, value] of before) map.set(key, value);
};
