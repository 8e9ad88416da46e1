import { Page } from '../../kernel/page.ts';
import { nextTurn } from '../../kernel/turn.ts';
import type { ParsedInputOf } from '../../protocol/operations.ts';
import type { Store } from '../../store/store.ts';
import { isDue } from './due.ts';
import type { Inbox } from './inbox.ts';
import { maySeeMessage, type Names, placeOf, type Reader } from './readers.ts';
import {
  type Box,
  idIn,
  isDead,
  KEYS,
  type MessageHead,
  messageIn,
  readMessage,
  type StoredMessage,
} from './record.ts';

/** Which messages are wanted. */
export type Filter = (head: MessageHead) => boolean;

/** What stands in a key for mail that is for whoever takes it first. */
const NO_LABEL = '-';
const DEFAULT_PAGE = 100;
const READ_AT_ONCE = 100;
/** What does not fit the filter is looked at, too: a page that took longer goes on with the next one. */
const MOST_LOOKED_AT = 500;

/** Those that come from an address. @throws {LoopsyError} `peer_not_found` with the known ones. */
export const filterOf = ({ from }: { readonly from?: string | undefined }, names: Names): Filter => {
  if (from === undefined) return () => true;
  const { nodeId, agent } = placeOf(from, names);
  return (head) => head.nodeId === nodeId && (agent === undefined || head.fromAgent === agent);
};

interface Parts {
  readonly store: Store;
  readonly names: Names;
  readonly inbox: Inbox;
}

/** A page of a box: newest first, or what waits, oldest first. */
export const messagesOf = (
  { input, reader }: { readonly input: ParsedInputOf<'message.list'>; readonly reader: Reader },
  parts: Parts,
): { items: StoredMessage[]; next: { nextCursor?: string } } => {
  const { limit = DEFAULT_PAGE, cursor, thread, dead } = input;
  const isFrom = filterOf(input, parts.names);
  const wanted: Filter = (head) =>
    maySeeMessage(reader, head) &&
    isFrom(head) &&
    (thread === undefined || head.thread === thread || head.id === thread) &&
    (dead !== true || isDead(head.state));
  const page = new Page<StoredMessage>({ limit });
  let last: string | undefined;
  let looked = 0;
  for (const stored of candidates({ input, reader, cursor }, parts)) {
    const isFull = wanted(stored.head) ? !page.add(stored) : looked >= MOST_LOOKED_AT;
    if (isFull && last !== undefined) return { items: page.items, next: { nextCursor: last } };
    last = stored.head.id;
    looked += 1;
  }
  return { items: page.items, next: {} };
};

const candidates = (
  { input, reader, cursor }: { input: ParsedInputOf<'message.list'>; reader: Reader; cursor: string | undefined },
  { store, inbox }: Parts,
): Iterable<StoredMessage> => {
  const box: Box = input.box === 'outbox' ? 'out' : 'in';
  if (input.unread !== true) return newestFirst(store, box, cursor);
  return box === 'in' ? inbox.untaken(reader, cursor) : underWay(store, cursor);
};

/** The labels that mail waits for, as many as are wanted; one look for each, however much waits for it. */
export const labelsWaiting = (store: Store, most: number): string[] => {
  const labels: string[] = [];
  for (let after: string = KEYS.unreadAll; labels.length < most;) {
    const [entry] = store.list({ prefix: KEYS.unreadAll, after, limit: 1 });
    if (entry === undefined) break;
    const label = entry.key.slice(KEYS.unreadAll.length, entry.key.lastIndexOf('/'));
    if (label !== NO_LABEL) labels.push(label);
    // Behind everything of this label.
    after = `${KEYS.unreadAll}${label}/~`;
  }
  return labels;
};

/** A place in the order in which messages came here: a commit of the store, and an id where several came with it. */
interface Arrival {
  readonly revision: number;
  readonly id: string;
}

/** What waits for a reader, in the order in which it came, behind a cursor; each with the cursor of what follows. */
export async function* cameBehind(
  { cursor, reader }: { readonly cursor: string; readonly reader: Reader },
  store: Store,
): AsyncGenerator<{ readonly stored: StoredMessage; readonly cursor: string }> {
  // What comes while this looks around has its turn the next time.
  const now = store.revision;
  const since = arrivalOf(cursor, now);
  const found: Arrival[] = [];
  for (const agent of new Set([undefined, reader.label]))
    for (let after: string | undefined; ;) {
      const prefix = KEYS.unread(agent);
      const page = store.list({ prefix, limit: 1000, ...(after === undefined ? {} : { after }) });
      if (page.length === 0) break;
      for (const entry of page) {
        const { key, revision } = entry;
        const arrival = { revision, id: idIn(key) };
        if (!isDue(entry, store.now()) && revision <= now && isBehind(arrival, since)) found.push(arrival);
      }
      after = page.at(-1)?.key;
      await nextTurn();
    }
  for (const { id, revision } of found.sort((a, b) => (isBehind(a, b) ? 1 : -1))) {
    const stored = readMessage(store, 'in', id);
    if (stored !== undefined) yield { stored, cursor: `${revision}.${id}` };
  }
}

/** Behind all of a commit where no id is named. A place that this store has not come to is of another one: all is new. */
const arrivalOf = (cursor: string, now: number): Arrival => {
  const [revision = '0', id = '~'] = cursor.split('.');
  return Number(revision) > now ? { revision: 0, id } : { revision: Number(revision), id };
};

const isBehind = (a: Arrival, b: Arrival): boolean =>
  a.revision > b.revision || (a.revision === b.revision && a.id > b.id);

function* newestFirst(store: Store, box: Box, cursor: string | undefined): Generator<StoredMessage> {
  const prefix = KEYS.message(box, '');
  for (let after = cursor === undefined ? undefined : prefix + cursor; ;) {
    const page = store.list({ prefix, limit: READ_AT_ONCE, reverse: true, ...(after === undefined ? {} : { after }) });
    if (page.length === 0) return;
    for (const entry of page) yield messageIn(entry);
    after = page.at(-1)?.key;
  }
}

/** What waits for other nodes, oldest first; the order of the nodes does not matter to who asks. */
function* underWay(store: Store, cursor: string | undefined): Generator<StoredMessage> {
  const ids: string[] = [];
  for (let after: string | undefined; ;) {
    const page = store.list({ prefix: KEYS.queueAll, limit: 1000, ...(after === undefined ? {} : { after }) });
    if (page.length === 0) break;
    ids.push(...page.map(({ key }) => idIn(key)));
    after = page.at(-1)?.key;
  }
  for (const id of ids.sort()) {
    if (cursor !== undefined && id <= cursor) continue;
    const stored = readMessage(store, 'out', id);
    if (stored !== undefined) yield stored;
  }
}
