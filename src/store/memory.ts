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

const MAX_WAIT_MS = 60_000;

class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #time: SteadyTime;
  readonly #followers = new Followers();
  readonly #accounts = new Map<string, { entries: number; bytes: number }>();
  #sweeper: Timer | undefined;
  readonly #entries = new Map<string, Kept>();
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
    const usage = { entries: 0, bytes: 0 };
    for (const [name, { entries, bytes }] of this.#accounts) {
      if (!name.startsWith(accounts)) continue;
      usage.entries += entries;
      usage.bytes += bytes;
    }
    return usage;
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
    const old = new Map(changes.map((change) => this.#keptOf('put' in change ? change.put : change.delete)));
    this.#revision += 1;
    for (const change of changes) this.#apply(change);
    const over = within.find(({ accounts, maxBytes }, at) => {
      const { bytes } = this.usage(accounts);
      return bytes > maxBytes && bytes > (before[at] ?? 0);
    });
    if (over !== undefined) {
      this.#revision -= 1;
      for (const [key, kept] of old) this.#put(key, kept);
      throw new StoreOverBudget(over, before[within.indexOf(over)] ?? 0);
    }
    this.#followers.tell(this.#revision, changes);
    if (changes.some((change) => 'put' in change && change.expiresAt !== undefined)) this.#planSweep();
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
    const entry = this.#entries.get(key)?.entry;
    return entry !== undefined && (entry.expiresAt ?? Infinity) > this.now() ? entry : undefined;
  }

  #within({ from, to }: KeyRange): Entry[] {
    this.#checkOpen();
    const now = this.now();
    return [...this.#entries.values()]
      .map(({ entry }) => entry)
      .filter(
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
    if (!('put' in change)) return this.#put(change.delete, undefined);
    const { put: key, value, expiresAt, account } = change;
    const entry = { key, value, revision: this.#revision, ...(expiresAt === undefined ? {} : { expiresAt }) };
    return this.#put(key, account === undefined ? { entry } : { entry, account });
  }

  #keptOf(key: string): [key: string, kept: Kept | undefined] {
    return [key, this.#entries.get(key)];
  }

  #put(key: string, kept: Kept | undefined): void {
    this.#count(this.#entries.get(key), -1);
    this.#count(kept, 1);
    if (kept === undefined) this.#entries.delete(key);
    else this.#entries.set(key, kept);
  }

  #count(kept: Kept | undefined, sign: 1 | -1): void {
    if (kept?.account === undefined) return;
    const { entries, bytes } = this.#accounts.get(kept.account) ?? { entries: 0, bytes: 0 };
    this.#accounts.set(kept.account, { entries: entries + sign, bytes: bytes + sign * bytesOf(kept.entry) });
  }

  #planSweep(): void {
    this.#sweeper?.cancel();
    const next = Math.min(...[...this.#entries.values()].map(({ entry: { expiresAt = Infinity } }) => expiresAt));
    // Timers of more than 24 days are none.
    const ms = Math.min(MAX_WAIT_MS, Math.max(0, next - this.now()));
    if (next !== Infinity) this.#sweeper = this.#clock.after(ms, () => this.#sweep());
  }

  #sweep(): void {
    const now = this.now();
    const gone = [...this.#entries.values()].filter(({ entry: { expiresAt = Infinity } }) => expiresAt <= now);
    for (const { entry } of gone) this.#put(entry.key, undefined);
    if (gone.length > 0 && this.#followers.size > 0) this.#revision += 1;
    this.#followers.tellExpired(
      this.#revision,
      gone.map(({ entry }) => entry.key),
    );
    this.#planSweep();
  }
}

/** An entry, and whose bytes it has. */
interface Kept {
  readonly entry: Entry;
  readonly account?: string;
}

const bytesOf = ({ key, value }: Entry): number => Buffer.byteLength(key) + Buffer.byteLength(value);
