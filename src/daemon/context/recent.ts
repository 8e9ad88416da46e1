import type { Item } from './pieces.ts';

const MAX_ITEMS = 8192;
const MAX_SIZE = 16 * 1_048_576;

/** The last changes, in the order of their revisions: bounded in number and in size. */
export class Recent {
  /** Oldest first from `#from` on. */
  #items: Item[] = [];
  #from = 0;
  #size = 0;
  /** All changes behind this revision are here. */
  #floor = 0;

  /** All changes behind `revision` will be added. */
  begin(revision: number): void {
    this.#floor = revision;
  }

  add(item: Item): void {
    this.#items.push(item);
    this.#size += item.size;
    while (
      this.#items.length - this.#from > MAX_ITEMS ||
      (this.#size > MAX_SIZE && this.#items.length - this.#from > 1)
    )
      this.#drop();
    // The slots of what was dropped are given back now and then.
    if (this.#from < MAX_ITEMS) return;
    this.#items = this.#items.slice(this.#from);
    this.#from = 0;
  }

  /** The changes behind a revision; undefined where some of them are not kept any more. */
  since(revision: number): Item[] | undefined {
    if (revision < this.#floor) return undefined;
    let [low, high] = [this.#from, this.#items.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#items[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#items.slice(low);
  }

  #drop(): void {
    const oldest = this.#items[this.#from];
    if (oldest === undefined) return;
    this.#from += 1;
    this.#size -= oldest.size;
    this.#floor = oldest.revision;
  }
}
