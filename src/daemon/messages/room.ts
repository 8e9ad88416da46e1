import type { Change, Store } from '../../store/store.ts';
import { ACCOUNTS, type Box, idIn, KEYS, putMessage, readMessage, ROOM } from './record.ts';

/** What goes at once where room is needed: enough for a message that is as large as can be. */
const AT_ONCE = 200;

/** Something that can make room. */
interface Spare {
  readonly key: string;
  /** `<kind>/<id>`: in the order in which it goes. */
  readonly rank: string;
}

/**
 * What makes room for accounts, all that begin so: messages that have come to their end go, the oldest first, those
 * that went well before those that did not; at last the texts of what other nodes have. What waits, or was not read,
 * stays.
 */
export const makeRoom = (accounts: string, store: Store): Change[] => {
  const box: Box = accounts.startsWith(ACCOUNTS.out) ? 'out' : 'in';
  const spare = [...accountsWithRoom(accounts, box, store)]
    .flatMap((account) => spareOf(account, store))
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
    .slice(0, AT_ONCE);
  return spare.flatMap(({ key, rank }) => [{ delete: key }, ...gone(box, rank, store)]);
};

const spareOf = (account: string, store: Store): Spare[] => {
  const prefix = KEYS.room(account);
  return store.list({ prefix, limit: AT_ONCE }).map(({ key }) => ({ key, rank: key.slice(prefix.length) }));
};

/** All whose names begin so. One look for each. */
function* accountsWithRoom(accounts: string, box: Box, store: Store): Generator<string> {
  const all = KEYS.room(ACCOUNTS[box].slice(0, -1));
  const prefix = all + accounts.slice(ACCOUNTS[box].length);
  for (let after: string | undefined; ;) {
    const [entry] = store.list({ prefix, limit: 1, ...(after === undefined ? {} : { after }) });
    if (entry === undefined) return;
    const name = entry.key.slice(all.length).split('/', 1)[0] ?? '';
    yield `${ACCOUNTS[box]}${name}`;
    // Behind everything of this account.
    after = `${all}${name}/~`;
  }
}

const gone = (box: Box, rank: string, store: Store): Change[] => {
  const id = idIn(rank);
  if (!rank.startsWith(`${ROOM.text}/`)) return [{ delete: KEYS.message(box, id) }];
  const stored = readMessage(store, box, id);
  return stored === undefined ? [] : [putMessage({ ...stored.head, isCut: true }, '""', stored.revision)];
};
