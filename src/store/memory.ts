import type { Clock } from '../kernel/clock.ts';
import { StoreConflict, type Change, type Entry, type ListQuery, type Store } from './store.ts';
import { checkChanges, compareUtf8, cutList, listRange, prefixRange, type KeyRange } from './text.ts';

/** A store that forgets: the twin of the durable one, for tests. It passes the same suite. */
export const openMemoryStore = ({ clock }: { readonly clock: Clock }): Store => new MemoryStore(clock);

class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  #revision = 0;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get revision(): number {
    return this.#revision;
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

  async commit(changes: readonly Change[]): Promise<number> {
    checkChanges(changes);
    this.#checkOpen();
    if (changes.length === 0) return this.#revision;
    await Promise.resolve();
    for (const change of changes) this.#checkCondition(change);
    this.#revision += 1;
    for (const change of changes) this.#apply(change);
    return this.#revision;
  }

  onForeignChange(): () => void {
    return () => undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.resolve();
  }

  #checkOpen(): void {
    if (this.#closed) throw new Error('the store is closed');
  }

  #live(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    return entry !== undefined && (entry.expiresAt ?? Infinity) > this.#clock.now() ? entry : undefined;
  }

  #within({ from, to }: KeyRange): Entry[] {
    this.#checkOpen();
    const now = this.#clock.now();
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
      this.#entries.delete(change.delete);
      return;
    }
    const { put: key, value, expiresAt } = change;
    this.#entries.set(key, { key, value, revision: this.#revision, ...(expiresAt === undefined ? {} : { expiresAt }) });
  }
}
