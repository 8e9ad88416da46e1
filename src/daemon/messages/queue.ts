import type { Entry, Store } from '../../store/store.ts';
import { KEYS } from './record.ts';

/** What stands behind the time in a queue's entry whose delivery has been tried: whether it arrived may not be known. */
const TRIED = ' tried';

/** True where its delivery may have begun. */
export const wasTried = ({ value }: Pick<Entry, 'value'>): boolean => value.endsWith(TRIED);

/** The value of a queue's entry. */
export const queued = (dueAt: number, isTried: boolean): string => `${dueAt}${isTried ? TRIED : ''}`;

/** The nodes that something waits for: one look for each. */
export function* waitingNodes(store: Store): Generator<string> {
  for (const prefix of [KEYS.queueAll, KEYS.receiptAll])
    for (let after: string = prefix; ;) {
      const [entry] = store.list({ prefix, after, limit: 1 });
      if (entry === undefined) break;
      const nodeId = entry.key.slice(prefix.length, entry.key.lastIndexOf('/'));
      yield nodeId;
      // Behind everything of this node.
      after = `${prefix}${nodeId}/~`;
    }
}
