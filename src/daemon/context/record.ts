import type { ContextEntry } from '../../protocol/context.ts';
import { parseFields } from '../../protocol/record.ts';
import type { Entry } from '../../store/store.ts';
import type { ToWall } from '../../store/wall-time.ts';

/** Where the context's entries lie among the store's. */
export const PREFIX = 'ctx/';
/** The accounts of those who write them: this node's own, and each peer machine's. */
export const ACCOUNTS = 'ctx/';

/** Who wrote an entry. */
export interface Author {
  readonly fromNodeId: string;
  readonly agent?: string;
}

/** What is stored of an entry beside its value and the store's own fields. */
interface Head extends Author {
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly ttl?: number | undefined;
}

/** An entry as it is stored: its head and its value, a line each. JSON, as a value may hold what the store can't. */
export const encodeRecord = (head: Head, value: string): string => `${JSON.stringify(head)}\n${JSON.stringify(value)}`;

/** The head of a stored entry, without a look at its value. */
export const headOf = (record: string): Head => {
  const head = parseFields(record.slice(0, record.indexOf('\n')));
  // Written by `encodeRecord`.
  return head as unknown as Head;
};

/** A stored entry as everybody sees it. */
export const entryOf = ({ key, value: record, revision, expiresAt }: Entry, toWall: ToWall): ContextEntry => {
  const { fromNodeId, agent, createdAt, updatedAt, ttl } = headOf(record);
  return {
    key: key.slice(PREFIX.length),
    value: String(JSON.parse(record.slice(record.indexOf('\n') + 1))),
    fromNodeId,
    agent,
    createdAt,
    updatedAt,
    ttl,
    expiresAt: expiresAt === undefined ? undefined : toWall(expiresAt),
    revision,
  };
};
