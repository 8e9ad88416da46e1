import { timeOf } from '../../kernel/ids.ts';
import { entriesOf } from '../../store/entries.ts';
import type { Entry } from '../../store/store.ts';
import { COUNTED_MS, type Passing, SHORT } from './guards.ts';
import type { MailParts } from './parts.ts';
import { idIn, KEYS, messageIn, senderOf } from './record.ts';

type Parts = Pick<MailParts, 'store' | 'guards' | 'names'>;
/** One that was let out. */
type Past = Omit<Passing, 'hops'>;

const PAGE = 100;
const MOST = 4096;
/** No escape of JSON is longer: a text of more is not short, without a look at it. */
const MOST_ESCAPED = 6 * SHORT;

/** A node that starts counts what it has let out before, and rests on: the other nodes have not forgotten it. */
export const seedGuards = (parts: Parts): void => {
  for (const past of lately(parts).reverse()) parts.guards.count(past);
  for (const { value, expiresAt: untilMs = 0 } of entriesOf(parts.store, KEYS.restAll)) {
    // Written by `Rests`.
    const [from, to] = JSON.parse(value) as [string, string];
    parts.guards.rest(from, to, { at: parts.store.now(), untilMs });
  }
};

/** What was sent a moment ago, newest first. */
const lately = ({ store, names }: Parts): Past[] => {
  const prefix = KEYS.message('out', '');
  const since = store.now() - COUNTED_MS;
  const found: Past[] = [];
  for (let after: string | undefined; found.length < MOST;) {
    const page = store.list({ prefix, limit: PAGE, reverse: true, ...(after === undefined ? {} : { after }) });
    const young = page.filter(({ key }) => timeOf(idIn(key)) > since);
    found.push(...young.map((entry) => pastOf(entry, names.nodeId)));
    if (page.length === 0 || young.length < page.length) break;
    after = page.at(-1)?.key;
  }
  return found;
};

const pastOf = (entry: Entry, own: string): Past => {
  const { head, json } = messageIn(entry);
  const length = json.length > MOST_ESCAPED ? json.length : String(JSON.parse(json)).length;
  const [from, to] = [senderOf(own, head), `${head.nodeId}#${head.toAgent ?? ''}`];
  return { from, to, at: timeOf(head.id), length };
};
