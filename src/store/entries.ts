import type { Entry, Store } from './store.ts';

const PAGE = 1000;

/** All entries whose key begins with `prefix`, in the order of the keys, read page by page. */
export function* entriesOf(store: Pick<Store, 'list'>, prefix: string): Generator<Entry> {
  for (let after = ''; ;) {
    const page = store.list({ prefix, limit: PAGE, ...(after === '' ? {} : { after }) });
    yield* page;
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.key;
  }
}
