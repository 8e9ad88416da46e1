import type { Entry, Store } from '../../store/store.ts';
import type { StreamPiece, StreamSource } from '../edge/call.ts';
import { type Item, pieceOf, snapshotPiece } from './pieces.ts';
import { PREFIX, type ToWall } from './record.ts';
import type { Recent } from './recent.ts';

/** What a watcher is made of. */
export interface WatcherParts {
  readonly store: Store;
  readonly toWall: ToWall;
  readonly recent: Recent;
  /** The beginning of the keys, or the one key. */
  readonly prefix: string;
  readonly isOneKey: boolean;
  /** The revision that was seen last; undefined or 0: none. */
  readonly since: number | undefined;
  readonly onClose: () => void;
}

const PAGE = 250;
/** Changes that wait for a reader; one that is further behind reads them again from those kept of late. */
const MAX_WAITING = 256;

/** One page of a snapshot: what it holds is as the store was at `revision`. */
interface Stretch {
  readonly last: string;
  readonly revision: number;
}

/** How things are, page by page. */
interface Snapshot {
  /** The revision when it was begun. */
  readonly begin: number;
  /** The last key that was read. */
  after: string | undefined;
  readonly stretches: Stretch[];
}

/** One reader: how things are, then each change; or each change behind a cursor. */
export class Watcher implements StreamSource {
  readonly prefix: string;
  readonly #parts: WatcherParts;
  /** Pieces that are next, in their order. */
  #next: StreamPiece[] = [];
  #at = 0;
  /** Changes that have come since; undefined: more than wait here, they are read again. */
  #waiting: Item[] | undefined = undefined;
  /** Where the reader is: all changes up to this revision were told. */
  #revision: number;
  #snapshot: Snapshot | undefined;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(parts: WatcherParts) {
    this.#parts = parts;
    this.prefix = parts.prefix;
    this.#revision = parts.since ?? 0;
    if (this.#revision === 0) this.#beginSnapshot();
  }

  /** A change of what it watches. */
  offer(item: Item): void {
    if (this.#waiting !== undefined) {
      if (this.#waiting.length < MAX_WAITING) this.#waiting.push(item);
      else this.#waiting = undefined;
    }
    this.#wake?.();
    this.#wake = undefined;
  }

  async next(): Promise<StreamPiece | undefined> {
    while (!this.#closed) {
      const piece = this.#take();
      if (piece !== undefined) return piece;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake?.();
    this.#parts.onClose();
  }

  #take(): StreamPiece | undefined {
    while (this.#at >= this.#next.length) if (!this.#fill()) return undefined;
    const piece = this.#next[this.#at];
    this.#at += 1;
    return piece;
  }

  /** Gets the next pieces. @returns false where there are none now. */
  #fill(): boolean {
    this.#next = [];
    this.#at = 0;
    if (this.#snapshot !== undefined) {
      this.#readPage(this.#snapshot);
      return true;
    }
    const items = this.#changes();
    if (items === undefined) {
      const { revision } = this.#parts.store;
      this.#beginSnapshot();
      this.#next.unshift(pieceOf({ cursor: 0, type: 'compacted', revision }));
      return true;
    }
    this.#next = items.map(({ piece }) => piece);
    this.#revision = Math.max(this.#revision, items.at(-1)?.revision ?? 0);
    return items.length > 0;
  }

  /** What has changed since; undefined where that is not known any more. */
  #changes(): Item[] | undefined {
    if (this.#waiting === undefined) {
      // A cursor from before the store was made anew.
      if (this.#revision > this.#parts.store.revision) return undefined;
      const items = this.#parts.recent.since(this.#revision);
      this.#waiting = [];
      return items?.filter((item) => this.#isMine(item.key));
    }
    const items = this.#waiting;
    this.#waiting = [];
    return items;
  }

  #isMine(key: string): boolean {
    return this.#parts.isOneKey ? key === this.prefix : key.startsWith(this.prefix);
  }

  #beginSnapshot(): void {
    const { revision } = this.#parts.store;
    this.#waiting = [];
    this.#snapshot = { begin: revision, after: undefined, stretches: [] };
    this.#next = [pieceOf({ cursor: 0, type: 'snapshot', revision })];
    this.#at = 0;
  }

  /** One page of how things are; behind the last one, what has changed since its page was read. */
  #readPage(snapshot: Snapshot): void {
    const { store, toWall } = this.#parts;
    const entries = this.#entriesAfter(snapshot.after);
    const last = entries.at(-1)?.key;
    if (last !== undefined) {
      this.#next = entries.map((entry) => snapshotPiece(entry, toWall));
      snapshot.stretches.push({ last: last.slice(PREFIX.length), revision: store.revision });
      snapshot.after = last;
      if (!this.#parts.isOneKey) return;
    }
    this.#snapshot = undefined;
    this.#endSnapshot(snapshot);
  }

  #entriesAfter(after: string | undefined): Entry[] {
    const { store, prefix, isOneKey } = this.#parts;
    if (isOneKey) return [store.get(PREFIX + prefix)].filter((entry) => entry !== undefined);
    return store.list({ prefix: PREFIX + prefix, limit: PAGE, ...(after === undefined ? {} : { after }) });
  }

  #endSnapshot({ begin, stretches }: Snapshot): void {
    this.#revision = begin;
    const changes = this.#changes();
    if (changes === undefined) {
      // So much has changed while it was read that it is no picture of anything.
      this.#beginSnapshot();
      return;
    }
    const { revision } = this.#parts.store;
    // What a page has shown already is not told again: no key goes back to what it was before.
    const news = changes.filter((item) => item.revision > shownAt(stretches, item.key, begin));
    this.#next.push(...news.map(({ piece }) => piece), pieceOf({ cursor: revision, type: 'ready', revision }));
    this.#revision = revision;
  }
}

/** The revision that the page shows which has, or would have, this key. */
const shownAt = (stretches: readonly Stretch[], key: string, begin: number): number => {
  const bytes = Buffer.from(key);
  const page = stretches.find(({ last }) => Buffer.compare(bytes, Buffer.from(last)) <= 0);
  return page?.revision ?? stretches.at(-1)?.revision ?? begin;
};
