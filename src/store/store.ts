/**
 * One stored value. Keys are ordered by their UTF-8 bytes. Keys (1–1024 bytes) and values are well-formed
 * Unicode without NUL: anything else is a RangeError, never a changed text.
 */
export interface Entry {
  readonly key: string;
  readonly value: string;
  /** The store's counter at the entry's last change. */
  readonly revision: number;
  /** Wall time in ms after which the entry is no longer seen. */
  readonly expiresAt?: number;
}

/**
 * What must hold for a change: the key is absent (0), or its entry has exactly this revision. An expired entry is
 * absent.
 */
type Condition = number;

/** One change of one key. */
export type Change =
  | {
      readonly put: string;
      readonly value: string;
      /** By the store's own time, `Store.now`. */
      readonly expiresAt?: number;
      readonly ifRevision?: Condition;
      /** Whose bytes these are, for budgets; 1–200 characters. Default: nobody's. */
      readonly account?: string;
    }
  | { readonly delete: string; readonly ifRevision?: Condition };

/** Which entries a list holds: those whose key begins with `prefix`, behind `after` (in the list's direction). */
export interface ListQuery {
  readonly prefix: string;
  readonly after?: string;
  /** 1–1000. */
  readonly limit: number;
  /** The most UTF-8 bytes that the keys and values have together, one entry is always given; default and most 4 MiB. */
  readonly maxBytes?: number;
  readonly reverse?: boolean;
}

/** How soon a commit must be on disk. */
export interface CommitOptions {
  /** `now` (default) or `later`: written behind, within 200 ms. Either promise resolves when it is on disk. */
  readonly durability?: 'now' | 'later';
  /** What must hold afterwards, where the commit adds bytes to it. */
  readonly within?: readonly Budget[];
}

/** How many bytes the keys and values of all accounts with this prefix may have together. */
export interface Budget {
  readonly accounts: string;
  readonly maxBytes: number;
}

/** What accounts hold; what has expired counts until it is removed. */
export interface Usage {
  readonly entries: number;
  readonly bytes: number;
}

/** A change that has become true, as followers hear of it. */
export interface Seen {
  readonly key: string;
  /** The commit's. Several changes may have one. */
  readonly revision: number;
  /** What the key has now; undefined: nothing. */
  readonly entry: Entry | undefined;
  /** True where its time had come. */
  readonly expired: boolean;
  /** True for the last change of its commit. */
  readonly isLast: boolean;
}

/**
 * Durable keys and values. Reads are synchronous and see every commit whose promise has resolved; commits are atomic,
 * made durable in groups off the event loop.
 */
export interface Store {
  /** The counter of the last change that this process has seen. */
  readonly revision: number;
  get(key: string): Entry | undefined;
  /** In the order of the keys. An empty list is the end: any other may have been cut at `limit` or `maxBytes`. */
  list(query: ListQuery): Entry[];
  /** The number of live entries whose key begins with `prefix`. */
  count(prefix: string): number;
  /** What the accounts with this prefix hold. Takes the same time however much that is. */
  usage(accounts: string): Usage;
  /**
   * The time by which entries expire, ms. It is the wall clock's at first, and goes on evenly from there, in sleep too:
   * it never goes back, not even over a restart, whatever happens to the wall clock.
   */
  now(): number;
  /**
   * Carries out all changes, or none. Conditions are about what was there before; then the changes follow in order.
   * @returns the store's revision of the commit.
   * @throws {StoreConflict} where a condition does not hold. @throws {StoreFull} where the disk is full.
   * @throws {StoreOverBudget} where accounts would hold too much.
   * @throws {StoreBusy} where too much waits already, or another process holds the file for seconds.
   */
  commit(changes: readonly Change[], options?: CommitOptions): Promise<number>;
  /**
   * Calls `listener` with each change of this process to a key with this prefix, in the order of their revisions,
   * before the promise of its commit resolves. Expired entries are removed within a second then. Returns the way to
   * stop it.
   */
  follow(prefix: string, listener: (seen: Seen) => void): () => void;
  /** Calls `listener` within a second after another process has changed the store. Returns the way to stop it. */
  onForeignChange(listener: () => void): () => void;
  /** Waits for what was accepted, then closes. */
  close(): Promise<void>;
}

/** A condition of a commit did not hold: nothing was changed. */
export class StoreConflict extends Error {
  override readonly name = 'StoreConflict';
  readonly key: string;
  /** What the entry has; 0 where it is absent. */
  readonly revision: number;

  constructor(key: string, revision: number) {
    super(`the entry ${key} has revision ${revision}`);
    this.key = key;
    this.revision = revision;
  }
}

/** Accounts would hold more than their budget: nothing was changed. */
export class StoreOverBudget extends Error {
  override readonly name = 'StoreOverBudget';
  readonly budget: Budget;
  /** What they hold now. */
  readonly bytes: number;

  constructor(budget: Budget, bytes: number) {
    super(`the accounts ${budget.accounts} hold ${bytes} of ${budget.maxBytes} bytes`);
    this.budget = budget;
    this.bytes = bytes;
  }
}

/** The disk is full: nothing was changed. */
export class StoreFull extends Error {
  override readonly name = 'StoreFull';
}

/** Too many commits wait already, or another process holds the file: nothing was changed, later it may work. */
export class StoreBusy extends Error {
  override readonly name = 'StoreBusy';
}

/** The file can't be opened: the message names it, the cause, and what to do. */
export class StoreUnusable extends Error {
  override readonly name = 'StoreUnusable';
}
