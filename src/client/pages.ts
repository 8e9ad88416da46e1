import { LoopsyError } from '../protocol/errors.ts';
import type { InputOf, OutputOf } from '../protocol/operations.ts';
import type { CallOptions, Client } from './client.ts';

/** The operations that answer page by page. */
export type ListId =
  | 'peer.list'
  | 'job.list'
  | 'file.list'
  | 'transfer.list'
  | 'context.list'
  | 'lease.list'
  | 'message.list'
  | 'key.list'
  | 'audit.list';

/** Which list is wanted, and what every request may carry. */
export interface ListOptions<Id extends ListId> extends CallOptions {
  readonly input: InputOf<Id>;
}

const MAX_ITEMS = 1_000_000;

const endless = (): LoopsyError => new LoopsyError('internal', { message: 'the list of the node does not end' });

/**
 * Every page of a list, in its order. Nothing is asked for before the page in hand was taken.
 * @throws {LoopsyError} what the node answers; `internal` where a page leads to itself.
 */
export async function* pagesOf<Id extends ListId>(
  client: Pick<Client, 'call'>,
  id: Id,
  { input, ...options }: ListOptions<Id>,
): AsyncGenerator<OutputOf<Id>> {
  for (let cursor: string | undefined; ;) {
    const page: OutputOf<Id> = await client.call(id, cursor === undefined ? input : { ...input, cursor }, options);
    yield page;
    if (page.nextCursor === undefined) return;
    if (page.nextCursor === cursor) throw endless();
    cursor = page.nextCursor;
  }
}

/**
 * The items of all pages.
 * @throws {LoopsyError} as the pages; `internal` beyond a million items.
 */
export const itemsOf = async <Page, Item>(
  pages: AsyncIterable<Page>,
  pick: (page: Page) => readonly Item[],
): Promise<Item[]> => {
  const items: Item[] = [];
  for await (const page of pages) {
    for (const item of pick(page)) items.push(item);
    if (items.length > MAX_ITEMS) throw endless();
  }
  return items;
};
