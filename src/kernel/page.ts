/** The most items that one answer lists. */
export const MAX_PAGE_ITEMS = 1000;
/** The most bytes that one answer with a list has. */
const MAX_PAGE_BYTES = 4 * 1_048_576;
/** For what stands around the items: names, brackets, the cursor. */
const FRAME_BYTES = 2048;

/** What bounds a page. */
export interface PageBounds {
  /** 1–1000 items. */
  readonly limit: number;
  /** Bytes of JSON of the whole answer; default 4 MiB. */
  readonly maxBytes?: number;
}

/** The items of one answer, as many as it may hold; an item that is too large for any page is alone on its own. */
export class Page<Item> {
  readonly items: Item[] = [];
  readonly #limit: number;
  #bytesLeft: number;

  constructor({ limit, maxBytes = MAX_PAGE_BYTES }: PageBounds) {
    this.#limit = limit;
    this.#bytesLeft = maxBytes - FRAME_BYTES;
  }

  /** True where no item follows any more. */
  get isFull(): boolean {
    return this.items.length >= this.#limit || (this.#bytesLeft <= 0 && this.items.length > 0);
  }

  /** Takes the next item. @returns false where it has to begin the next page. */
  add(item: Item): boolean {
    if (this.isFull) return false;
    // With its comma.
    const bytes = Buffer.byteLength(JSON.stringify(item)) + 1;
    if (bytes > this.#bytesLeft && this.items.length > 0) return false;
    this.#bytesLeft -= bytes;
    this.items.push(item);
    return true;
  }
}

/** Which page of a list is wanted. */
export interface PageQuery {
  /** The key of the last item before it. */
  readonly cursor?: string | undefined;
  readonly limit?: number | undefined;
}

/** One page of a list that is at hand, and the field of the answer that says where the next one begins. */
export interface ListedPage<Item> {
  readonly items: Item[];
  readonly next: { readonly nextCursor?: string };
}

/** The page behind `cursor`, in the order of the items' keys. A key that has gone since still marks its place. */
export const pageOf = <Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
  { cursor, limit = MAX_PAGE_ITEMS, ...bounds }: PageQuery & Pick<PageBounds, 'maxBytes'>,
): ListedPage<Item> => {
  const behind = items
    .map((item) => ({ key: keyOf(item), item }))
    .filter(({ key }) => cursor === undefined || key > cursor)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const page = new Page<Item>({ limit, ...bounds });
  let last: string | undefined;
  for (const { key, item } of behind) {
    if (!page.add(item)) return { items: page.items, next: last === undefined ? {} : { nextCursor: last } };
    last = key;
  }
  return { items: page.items, next: {} };
};
