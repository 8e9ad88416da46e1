import type { Change, Entry, Seen } from './store.ts';

type Listener = (seen: Seen) => void;

/** Who hears of changes, by the beginnings of their keys. */
export class Followers {
  readonly #all = new Set<{ readonly prefix: string; readonly listener: Listener }>();

  get size(): number {
    return this.#all.size;
  }

  /** Returns the way to stop it. */
  add(prefix: string, listener: Listener): () => void {
    const follower = { prefix, listener };
    this.#all.add(follower);
    return () => this.#all.delete(follower);
  }

  /** A commit has become true. */
  tell(revision: number, changes: readonly Change[]): void {
    if (this.#all.size === 0) return;
    changes.forEach((change, at) => {
      const key = 'put' in change ? change.put : change.delete;
      const entry = 'put' in change ? entryOf(change, revision) : undefined;
      this.#tell({ key, revision, entry, expired: false, isLast: at === changes.length - 1 });
    });
  }

  /** What had expired was removed. */
  tellExpired(revision: number, keys: readonly string[]): void {
    if (this.#all.size === 0) return;
    keys.forEach((key, at) =>
      this.#tell({ key, revision, entry: undefined, expired: true, isLast: at === keys.length - 1 }),
    );
  }

  #tell(seen: Seen): void {
    for (const { prefix, listener } of this.#all) if (seen.key.startsWith(prefix)) listener(seen);
  }
}

const entryOf = (
  { put: key, value, expiresAt }: Extract<Change, { readonly put: string }>,
  revision: number,
): Entry => ({ key, value, revision, ...(expiresAt === undefined ? {} : { expiresAt }) });
