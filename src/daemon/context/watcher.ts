import type { Entry, Store } from '../../store/store.ts';
import type { ToWall } from '../../store/wall-time.ts';
import { compareUtf8 } from '../../store/text.ts';
import type { StreamPiece, StreamSource } from '../edge/call.ts';
import type { Allowance } from './allowance.ts';
import { pieceOf, snapshotPiece } from './pieces.ts';
import { PREFIX } from './record.ts';
import type { Recent } from './recent.ts';

/** What a watcher is made of. */
export interface WatcherParts {
  readonly store: Store;
  readonly toWall: ToWall;
  readonly recent: Recent;
  /** What the watches of its caller may have in hand. */
  readonly allowance: Allowance;
  /** The beginning of the keys, or the one key. */
  readonly prefix: string;
  readonly isOneKey: boolean;
  /** The revision that was seen last; undefined or 0: none. */
  readonly since: number | undefined;
  readonly onClose: () => void;
}

const PAGE = 250;
/** A page is read when the reader has taken the last one; a larger entry makes one by itself. */
const PAGE_BYTES = 65_536;

/** One page of a snapshot: what it holds is as the store was at `revision`. */
interface Stretch {
  readonly last: string;
  readonly revision: number;
}

/** How things are, page by page. */
interface Snapshot {
  /** The revision when it was begun, and where the changes behind it begin. */
  readonly begin: number;
  readonly place: number;
  /** The last key that was read. */
  after: string | undefined;
  readonly stretches: Stretch[];
}

/** What has changed while a snapshot was read: up to this place, and this revision. */
interface News {
  readonly until: number;
  readonly revision: number;
}

/**
 * One reader: how things are, then each change; or each change behind a cursor. It keeps no change of its own: it has a
 * place among those that are kept for all.
 */
export class Watcher implements StreamSource {
  readonly resumes = true;
  readonly prefix: string;
  readonly #parts: WatcherParts;
  /** Pieces that are next, in their order. */
  #next: StreamPiece[] = [];
  #at = 0;
  /** What of the allowance is taken for them. */
  #inHand = 0;
  /** Where the first change may be that was not told; undefined: there is none. */
  #place: number | undefined;
  #isLost = false;
  #snapshot: Snapshot | undefined;
  #news: News | undefined;
  /** The last snapshot, until all that it shows has been told. */
  #shown: Snapshot | undefined;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(parts: WatcherParts) {
    this.#parts = parts;
    this.prefix = parts.prefix;
    const { since = 0, store, recent } = parts;
    if (since === 0) {
      this.#beginSnapshot();
      return;
    }
    // A cursor from before the store was made anew is of other changes.
    this.#place = since > store.revision ? undefined : recent.placeBehind(since);
    this.#isLost = this.#place === undefined;
  }

  /** A change of what it watches. */
  offer(place: number): void {
    this.#place ??= place;
    this.#rouse();
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
    this.#next = [];
    this.#giveBack();
    this.#parts.allowance.leave(this.#rouse);
    this.#rouse();
    this.#parts.onClose();
  }

  readonly #rouse = (): void => {
    this.#wake?.();
    this.#wake = undefined;
  };

  #take(): StreamPiece | undefined {
    while (this.#at >= this.#next.length) {
      this.#next = [];
      this.#at = 0;
      this.#giveBack();
      if (!this.#fill()) return undefined;
    }
    const piece = this.#next[this.#at];
    this.#at += 1;
    return piece;
  }

  /** Gets the next pieces. @returns false where there are none now, or no room for them. */
  #fill(): boolean {
    if (this.#snapshot !== undefined) return this.#readPage(this.#snapshot);
    if (!this.#isBehind()) return this.#readChange();
    // So much has changed while a snapshot was read that it is no picture of anything: it is begun anew.
    const wasTold = this.#news === undefined;
    const { revision } = this.#parts.store;
    this.#beginSnapshot();
    if (wasTold) this.#next.unshift(pieceOf({ cursor: 0, type: 'compacted', revision }));
    return true;
  }

  /** True where changes that were not told are not kept any more. */
  #isBehind(): boolean {
    return this.#isLost || (this.#place !== undefined && this.#place < this.#parts.recent.first);
  }

  /** The next change of what it watches. */
  #readChange(): boolean {
    const { recent } = this.#parts;
    const news = this.#news;
    const end = news?.until ?? recent.end;
    for (let place = this.#place ?? end; place < end; place += 1) {
      const item = recent.at(place);
      if (item === undefined || !this.#isMine(item.key) || this.#hasShown(item)) continue;
      this.#place = place;
      if (!this.#hold(item.size)) return false;
      this.#place = place + 1;
      this.#next = [item.piece];
      return true;
    }
    this.#place = end < recent.end ? end : undefined;
    if (news === undefined) return false;
    this.#news = undefined;
    if (this.#shown !== undefined && newestOf(this.#shown) <= this.#parts.store.revision) this.#shown = undefined;
    this.#next = [pieceOf({ cursor: news.revision, type: 'ready', revision: news.revision })];
    return true;
  }

  #isMine(key: string): boolean {
    return this.#parts.isOneKey ? key === this.prefix : key.startsWith(this.prefix);
  }

  /** What a page has shown already is not told again: no key goes back to what it was before. */
  #hasShown({ key, revision }: { readonly key: string; readonly revision: number }): boolean {
    const shown = this.#shown;
    if (shown === undefined) return false;
    // Pages are read one after the other: what is behind the last one is behind them all.
    if (revision > newestOf(shown)) this.#shown = undefined;
    return revision <= shownAt(shown, key);
  }

  #beginSnapshot(): void {
    const { store, recent } = this.#parts;
    const { revision } = store;
    this.#isLost = false;
    this.#news = undefined;
    this.#shown = undefined;
    this.#snapshot = { begin: revision, place: recent.end, after: undefined, stretches: [] };
    this.#next = [pieceOf({ cursor: 0, type: 'snapshot', revision })];
    this.#at = 0;
  }

  /** One page of how things are; behind the last one, what has changed since its page was read. */
  #readPage(snapshot: Snapshot): boolean {
    const { store, toWall, isOneKey } = this.#parts;
    const entries = this.#entriesAfter(snapshot.after);
    const last = entries.at(-1)?.key;
    if (last !== undefined) {
      // Where there is no room for them they are read again.
      if (!this.#hold(entries.reduce((sum, { key, value }) => sum + key.length + value.length, 0))) return false;
      this.#next = entries.map((entry) => snapshotPiece(entry, toWall));
      // The file may have what nobody was told of yet: a page with one commit has all before it, too.
      const told = Math.max(newestOf(snapshot), store.revision);
      const revision = entries.reduce((newest, entry) => Math.max(newest, entry.revision), told);
      snapshot.stretches.push({ last: last.slice(PREFIX.length), revision });
      snapshot.after = last;
      if (!isOneKey) return true;
    }
    this.#snapshot = undefined;
    this.#shown = snapshot;
    this.#news = { until: this.#parts.recent.end, revision: store.revision };
    this.#place = snapshot.place;
    return true;
  }

  #entriesAfter(after: string | undefined): Entry[] {
    const { store, prefix, isOneKey } = this.#parts;
    if (isOneKey) return [store.get(PREFIX + prefix)].filter((entry) => entry !== undefined);
    const page = { prefix: PREFIX + prefix, limit: PAGE, maxBytes: PAGE_BYTES };
    return store.list(after === undefined ? page : { ...page, after });
  }

  #hold(bytes: number): boolean {
    const taken = this.#parts.allowance.take(bytes, this.#rouse);
    this.#inHand = taken ?? 0;
    return taken !== undefined;
  }

  #giveBack(): void {
    this.#parts.allowance.give(this.#inHand);
    this.#inHand = 0;
  }
}

/** No page shows anything newer. */
const newestOf = ({ stretches, begin }: Snapshot): number => stretches.at(-1)?.revision ?? begin;

/** The revision that the page shows which has, or would have, this key. */
const shownAt = ({ stretches, begin }: Snapshot, key: string): number => {
  let [low, high] = [0, stretches.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareUtf8(stretches[middle]?.last ?? '', key) < 0) low = middle + 1;
    else high = middle;
  }
  return (stretches[low] ?? stretches.at(-1))?.revision ?? begin;
};
