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
  | { readonly put: string; readonly value: string; readonly expiresAt?: number; readonly ifRevision?: Condition }
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
  /**
   * Carries out all changes, or none. Conditions are about what was there before; then the changes follow in order.
   * @returns the store's revision of the commit.
   * @throws {StoreConflict} where a condition does not hold. @throws {StoreFull} where the disk is full.
   * @throws {StoreBusy} where too much waits already, or another process holds the file for seconds.
   */
  commit(changes: readonly Change[], options?: CommitOptions): Promise<number>;
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
