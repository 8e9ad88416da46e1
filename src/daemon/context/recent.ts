import type { Item } from './pieces.ts';

const MAX_ITEMS = 8192;
/** More than the store commits at once: who reads hears of each change. */
const MAX_SIZE = 16 * 1_048_576;

/**
 * The last changes, in the order of their revisions: bounded in number and in size. All watchers read from here, each
 * from its own place, so that a slow one costs nothing. Places are counted from 0 and never used again.
 */
export class Recent {
  /** Oldest first from `#from` on. */
  #items: (Item | undefined)[] = [];
  #from = 0;
  /** The place of the first slot. */
  #base = 0;
  #size = 0;
  /** All changes behind this revision are here. */
  #floor = 0;

  /** The place of the oldest change that is kept. */
  get first(): number {
    return this.#base + this.#from;
  }

  /** The place of the next change. */
  get end(): number {
    return this.#base + this.#items.length;
  }

  /** All changes behind `revision` will be added. */
  begin(revision: number): void {
    this.#floor = revision;
  }

  /** @returns its place. */
  add(item: Item): number {
    const place = this.end;
    this.#items.push(item);
    this.#size += item.size;
    while (
      this.#items.length - this.#from > MAX_ITEMS ||
      (this.#size > MAX_SIZE && this.#items.length - this.#from > 1)
    )
      this.#drop();
    // The slots of what was dropped are given back now and then.
    if (this.#from >= MAX_ITEMS) {
      this.#items = this.#items.slice(this.#from);
      this.#base += this.#from;
      this.#from = 0;
    }
    return place;
  }

  at(place: number): Item | undefined {
    return place < this.first ? undefined : this.#items[place - this.#base];
  }

  /** Where the changes behind a revision begin; undefined where some of them are not kept any more. */
  placeBehind(revision: number): number | undefined {
    if (revision < this.#floor) return undefined;
    let [low, high] = [this.#from, this.#items.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#items[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#base + low;
  }

  #drop(): void {
    const oldest = this.#items[this.#from];
    if (oldest === undefined) return;
    this.#items[this.#from] = undefined;
    this.#from += 1;
    this.#size -= oldest.size;
    this.#floor = oldest.revision;
  }
}
