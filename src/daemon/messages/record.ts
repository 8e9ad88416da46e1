import type { CarriedMessage, MessageState } from '../../protocol/messages.ts';
import { parseFields } from '../../protocol/record.ts';
import type { Change, Entry, Store } from '../../store/store.ts';

/** One state that a message went through, by the wall clock of the node that says so. */
interface Step {
  readonly state: MessageState;
  readonly at: number;
  readonly note?: string | undefined;
}

/** Where the message lies: what the other end is, depends on it. */
export type Box = 'in' | 'out';

/** What is stored of a message beside its body. */
export interface MessageHead extends Omit<CarriedMessage, 'body' | 'ageMs' | 'leftMs'> {
  readonly box: Box;
  /** The other end. */
  readonly nodeId: string;
  /** Inbox: the machine of that node, where it is another one. */
  readonly machineId?: string | undefined;
  /** Outbox: who has sent it, as `callerName`. */
  readonly caller?: string;
  /** When its life ends, by the store's time. */
  readonly dueAt: number;
  readonly state: MessageState;
  readonly history: readonly Step[];
  /** Who has taken it. */
  readonly reader?: string | undefined;
  /** Outbox: its text has made room; the other node has it. */
  readonly isCut?: true;
}

/** A stored message. */
export interface StoredMessage {
  readonly head: MessageHead;
  /** The body, as JSON. */
  readonly json: string;
  readonly revision: number;
}

/** Where everything of messages lies among the store's entries. */
export const KEYS = {
  /** Messages: `mail/in/<id>`, `mail/out/<id>`. */
  message: (box: Box, id: string): string => `mail/${box}/${id}`,
  /** What nobody has taken, by whom it is for: `mail/new/<label or ->/<id>`, its value is when its life ends. */
  unread: (agent: string | undefined, id = ''): string => `mail/new/${agent ?? '-'}/${id}`,
  /** What is to be handed over: `mail/queue/<nodeId>/<id>`. */
  queue: (nodeId: string, id = ''): string => `mail/queue/${nodeId}/${id}`,
  /** What is to be told to senders: `mail/receipt/<nodeId>/<id>`. */
  receipt: (nodeId: string, id = ''): string => `mail/receipt/${nodeId}/${id}`,
  /** What came from a node up to now. */
  from: (nodeId: string): string => `mail/from/${nodeId}`,
  /** What may make room, for each account: by `ROOM`, the oldest first. */
  room: (account: string, rest = ''): string => `mail/room/${account.slice('mail/'.length)}/${rest}`,
  /** Two who rest, as the guards know them: gone when it is over. */
  rest: (from: string, to: string): string => `mail/rest/${from}>${to}`,
  restAll: 'mail/rest/',
  epoch: 'mail/epoch',
  unreadAll: 'mail/new/',
  queueAll: 'mail/queue/',
  receiptAll: 'mail/receipt/',
} as const;

/** The accounts whose bytes are counted; of what is unread, how many there are for each label. */
export const ACCOUNTS = { in: 'mail/in/', out: 'mail/out/', unread: 'mail/unread/', from: 'mail/from/' } as const;

/** A message is kept for so long after its life has ended, whatever became of it, unless its room is needed. */
export const KEEP_MS = 7 * 86_400_000;

/** What may make room, in this order: what went well, what did not, and the text of what the other node has. */
export const ROOM = { done: 0, dead: 1, text: 2 } as const;

/** How far each state is: none goes back. */
const RANK: Readonly<Record<MessageState, number>> = {
  queued: 0,
  delivered: 1,
  read: 2,
  acked: 3,
  replied: 4,
  expired: 5,
  refused: 5,
  cancelled: 5,
};

/** True where the first of two states is further than the other. */
export const isFurther = (one: MessageState, other: MessageState): boolean => RANK[one] > RANK[other];

/** True where nothing but an ack or a reply can follow: what has become of it is known. */
export const isOver = (state: MessageState): boolean => RANK[state] >= RANK.read;

/** True where it did not get to where it was to go. */
export const isDead = (state: MessageState): boolean => state === 'expired' || state === 'refused';

/** What a message's next state is about. */
export interface Advance extends Step {
  readonly reader?: string | undefined;
}

/**
 * The head one state further; undefined where it is that far already. What lies between and was not told is filled in:
 * a receipt may overtake the word that the message was delivered.
 */
export const advance = (head: MessageHead, { state, at, note, reader }: Advance): MessageHead | undefined => {
  const isEnd = RANK[state] === RANK.expired;
  if (isEnd ? isOver(head.state) : RANK[state] <= RANK[head.state]) return undefined;
  const skipped =
    head.state === 'queued' && !isEnd && state !== 'delivered' ? [{ state: 'delivered', at } as const] : [];
  const step = { state, at, ...(note === undefined ? {} : { note }) };
  const history = [...head.history, ...skipped, step];
  return { ...head, state, history, ...(reader === undefined ? {} : { reader }) };
};

/** Who writes, as the guards tell senders apart: a named key is not the owner of its node. */
export const senderOf = (nodeId: string, { fromAgent = '', by }: Pick<MessageHead, 'fromAgent' | 'by'>): string =>
  `${nodeId}#${fromAgent}${by === undefined ? '' : `!${by}`}`;

type Owned = Pick<MessageHead, 'box' | 'nodeId' | 'machineId' | 'by'>;

/** Whose bytes a message is: those of the named key, of the node that it is for, or of the machine that it is from. */
export const accountOf = (head: Owned): string =>
  // Closed, so that no key's account is the beginning of another's.
  head.by === undefined ? `${ACCOUNTS[head.box]}${placeOf(head)}` : `${keysOf(head)}${head.by.slice(KEY.length)}!`;

/** The accounts of all keys that share a part of a box: those of this node, or of the machine that it is from. */
export const keysOf = (head: Owned): string => `${ACCOUNTS[head.box]}${head.box === 'out' ? '' : placeOf(head)}${KEY}`;

const KEY = 'key:';

const placeOf = ({ box, nodeId, machineId = nodeId }: Owned): string => (box === 'out' ? nodeId : machineId);

/** How a message is put. */
export const putMessage = (head: MessageHead, json: string, ifRevision?: number): Change => ({
  put: KEYS.message(head.box, head.id),
  value: `${JSON.stringify(head)}\n${json}`,
  account: accountOf(head),
  expiresAt: head.dueAt + KEEP_MS,
  ...(ifRevision === undefined ? {} : { ifRevision }),
});

/** What finds a message when room is needed. */
const roomKey = (head: MessageHead, kind: keyof typeof ROOM): string =>
  KEYS.room(accountOf(head), `${ROOM[kind]}/${head.id}`);

const roomOf = (head: MessageHead): string | undefined => {
  if (isOver(head.state)) return roomKey(head, isDead(head.state) ? 'dead' : 'done');
  return head.box === 'out' && head.state === 'delivered' ? roomKey(head, 'text') : undefined;
};

/** A new message, with what finds it when room is needed. */
export const putNewMessage = (head: MessageHead, json: string): Change[] => [
  // An id that another node has made may be here already.
  head.box === 'in' ? putMessage(head, json, 0) : putMessage(head, json),
  ...roomChanges(undefined, head),
];

/** A message one state further, with what finds it when room is needed. */
export const putAdvanced = (stored: StoredMessage, next: MessageHead): Change[] => [
  putMessage(next, stored.json, stored.revision),
  ...roomChanges(stored.head, next),
];

const roomChanges = (before: MessageHead | undefined, head: MessageHead): Change[] => {
  const [old, now] = [before && roomOf(before), roomOf(head)];
  if (old === now) return [];
  return [
    ...(old === undefined ? [] : [{ delete: old }]),
    ...(now === undefined ? [] : [{ put: now, value: '', expiresAt: head.dueAt + KEEP_MS }]),
  ];
};

/** What an entry holds. */
export const messageIn = ({ value, revision }: Entry): StoredMessage => {
  const end = value.indexOf('\n');
  // Written by `putMessage`.
  const head = parseFields(value.slice(0, end)) as unknown as MessageHead;
  return { head, json: value.slice(end + 1), revision };
};

/** A message of a box. */
export const readMessage = (store: Pick<Store, 'get'>, box: Box, id: string): StoredMessage | undefined => {
  const entry = store.get(KEYS.message(box, id));
  return entry === undefined ? undefined : messageIn(entry);
};

/** The last part of a key. */
export const idIn = (key: string): string => key.slice(key.lastIndexOf('/') + 1);
