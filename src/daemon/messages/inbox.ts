import { LoopsyError } from '../../protocol/errors.ts';
import type { MessageState } from '../../protocol/messages.ts';
import type { Change, Entry, Store } from '../../store/store.ts';
import type { Publisher } from '../events/bus.ts';
import { isDue } from './due.ts';
import { given, joined, moveOf, type Plan } from './mail.ts';
import { messageNotFound } from './outbox.ts';
import type { MailParts } from './parts.ts';
import { maySeeMessage, mayTake, needInbox, type Reader, readerName } from './readers.ts';
import {
  ACCOUNTS,
  type Advance,
  idIn,
  isOver,
  KEYS,
  type MessageHead,
  messageIn,
  putNewMessage,
  readMessage,
  type StoredMessage,
} from './record.ts';

/** What the inbox needs beside what both boxes need. */
export interface InboxParts extends MailParts {
  readonly events: Publisher;
  /** What tells the sender: a receipt, or its own record where it is this node. */
  readonly tellSender: (head: MessageHead, step: Advance) => Plan;
  /** Receipts wait for that node. */
  readonly onReceipt: (nodeId: string) => void;
  /** The time of a life's end is known. */
  readonly onDue: (at: number) => void;
  /** How many lie among the unread whose life is over, below a key or in all. */
  readonly over: (folder?: string) => number;
}

/** Somebody who waits for what comes. */
export interface Waiting {
  readonly reader: Reader;
  readonly isWanted: (head: MessageHead) => boolean;
  readonly wake: () => void;
}

/** What this node has received: each message is taken by one. */
export class Inbox {
  readonly #parts: InboxParts;
  readonly #waiting = new Set<Waiting>();

  constructor(parts: InboxParts) {
    this.#parts = parts;
  }

  /** How many messages nobody has taken, for a label or for whoever takes them first. */
  unread(agent?: string): number {
    const { store, over } = this.#parts;
    return Math.max(0, store.usage(unreadAccount(agent)).entries - over(KEYS.unread(agent)));
  }

  /** All that nobody has taken, whomever it is for. */
  get unreadTotal(): number {
    const { store, over } = this.#parts;
    return Math.max(0, store.usage(ACCOUNTS.unread).entries - over());
  }

  /** Puts a message into this box. */
  putNew(head: MessageHead, json: string): Plan {
    const unread = { put: KEYS.unread(head.toAgent, head.id), value: String(head.dueAt) };
    const changes = [...putNewMessage(head, json), { ...unread, account: unreadAccount(head.toAgent) }];
    return { changes, added: [head] };
  }

  /** Messages lie here now: whoever waits for them hears of it. */
  arrived(heads: readonly MessageHead[]): void {
    const { events, names } = this.#parts;
    for (const head of heads) {
      this.#parts.onDue(head.dueAt);
      const { id, nodeId, fromAgent, by, toAgent, type, thread } = head;
      const from = nodeId === names.nodeId ? names.own() : (names.nameOf(nodeId) ?? nodeId);
      const told = {
        id,
        from,
        type,
        ...given('fromAgent', fromAgent),
        ...given('by', by),
        ...given('toAgent', toAgent),
      };
      events.publish(
        { type: 'message.received', message: { ...told, ...given('thread', thread) } },
        (caller) =>
          caller.kind === 'owner' ||
          (caller.kind === 'agent' && mayTake({ caller, label: caller.label }, { ...given('toAgent', toAgent) })),
      );
    }
    for (const { reader, isWanted, wake } of this.#waiting)
      if (heads.some((head) => mayTake(reader, head) && isWanted(head))) wake();
  }

  /** A message for who may see it. */
  find(id: string, reader: Reader): StoredMessage | undefined {
    const stored = readMessage(this.#parts.store, 'in', id);
    return stored !== undefined && maySeeMessage(reader, stored.head) ? stored : undefined;
  }

  /** Takes a message, once: one reader may be two terminals. @throws {LoopsyError} `message_taken`. */
  read(id: string, reader: Reader): Promise<StoredMessage> {
    return this.#move(id, reader, { state: 'read' });
  }

  /** Acknowledges what one has taken, or takes it with that. */
  ack(id: string, reader: Reader, note: string | undefined): Promise<StoredMessage> {
    return this.#move(id, reader, { state: 'acked', note });
  }

  /** Who replies to a message has taken it; that it is answered is known when the reply has arrived. */
  answered(id: string, reader: Reader, reply: MessageHead): Plan {
    const stored = this.find(id, reader);
    if (stored === undefined || !mayTake(reader, stored.head)) return { changes: [] };
    const hasArrived = reply.state === 'delivered' && reply.nodeId === stored.head.nodeId;
    const state = hasArrived ? 'replied' : 'read';
    return this.#planOf(stored, { state, at: this.#parts.clock.now(), reader: readerName(reader) });
  }

  /** A reply lies with the node that the message came from, which knows by it that it was answered. */
  replied({ replyTo, nodeId }: MessageHead): Plan {
    const { store, clock } = this.#parts;
    const stored = replyTo === undefined ? undefined : readMessage(store, 'in', replyTo);
    return moveOf(stored?.head.nodeId === nodeId ? stored : undefined, { state: 'replied', at: clock.now() });
  }

  /** What nobody has taken and this reader may take, oldest first, behind a cursor; nothing whose life is over. */
  *untaken(reader: Reader, after?: string): Generator<StoredMessage> {
    const { store } = this.#parts;
    const lists = [undefined, ...(reader.label === undefined ? [] : [reader.label])].map((agent) =>
      unreadFrom(store, agent, after),
    );
    for (const id of merged(lists)) {
      const entry = store.get(KEYS.message('in', id));
      if (entry !== undefined) yield messageIn(entry);
    }
  }

  /** Calls `wake` when something comes that this reader may take, and wants. Returns the way to forget it. */
  onArrival(waiting: Waiting): () => void {
    this.#waiting.add(waiting);
    return () => this.#waiting.delete(waiting);
  }

  /** Messages whose life has ended before anybody has taken them. */
  async expire(entries: readonly Entry[]): Promise<void> {
    const { store, clock, mail, onReceipt } = this.#parts;
    const { moved } = await mail.commit(() =>
      joined(
        ...entries.flatMap(({ key }) => {
          const stored = readMessage(store, 'in', idIn(key));
          const plan = stored && this.#planOf(stored, { state: 'expired', at: clock.now() });
          return [{ changes: [{ delete: key }] }, ...(plan === undefined ? [] : [plan])];
        }),
      ),
    );
    for (const nodeId of new Set(moved.map((head) => head.nodeId))) onReceipt(nodeId);
  }

  async #move(
    id: string,
    reader: Reader,
    { state, note }: { readonly state: Extract<MessageState, 'read' | 'acked'>; readonly note?: string | undefined },
  ): Promise<StoredMessage> {
    needInbox(reader);
    const { clock, mail, onReceipt } = this.#parts;
    const { stored, moved } = await mail.commit(() => {
      const mine = this.#mine(id, reader);
      if (state === 'read' && isOver(mine.head.state)) throw takenError(mine.head);
      const step = { state, at: clock.now(), reader: readerName(reader), ...given('note', note) };
      return { ...this.#planOf(mine, step), stored: mine };
    });
    onReceipt(stored.head.nodeId);
    // Not read anew: from now on it may make room.
    return { ...stored, head: moved.find(({ box }) => box === 'in') ?? stored.head };
  }

  /** One state further: nobody else can take it, and its sender is told. */
  #planOf(stored: StoredMessage, step: Advance): Required<Plan> {
    const move = moveOf(stored, step);
    if (move.moved.length === 0) return joined();
    return joined(move, { changes: unreadGone(stored.head) }, this.#parts.tellSender(stored.head, step));
  }

  /** @throws {LoopsyError} what keeps this reader from having it. */
  #mine(id: string, reader: Reader): StoredMessage {
    const stored = this.find(id, reader);
    if (stored === undefined) throw messageNotFound(id);
    const { head } = stored;
    if (!mayTake(reader, head))
      throw new LoopsyError('message_taken', {
        message: `the message is for #${head.toAgent ?? ''} alone`,
        hint: `take it with --as ${head.toAgent ?? ''}`,
        details: { id },
      });
    if (head.state === 'expired' || (head.state === 'delivered' && head.dueAt <= this.#parts.store.now()))
      throw new LoopsyError('message_expired', { details: { id } });
    if (isOver(head.state) && head.reader !== readerName(reader)) throw takenError(head);
    return stored;
  }
}

/** Closed by a slash: no label is the beginning of another. */
const unreadAccount = (agent: string | undefined): string => `${ACCOUNTS.unread}${agent ?? '-'}/`;

const takenError = ({ id, reader }: MessageHead): LoopsyError =>
  new LoopsyError('message_taken', {
    message: `${reader ?? 'somebody'} has taken this message already`,
    details: { id, ...given('reader', reader) },
  });

const unreadGone = ({ state, toAgent, id }: MessageHead): Change[] =>
  state === 'delivered' ? [{ delete: KEYS.unread(toAgent, id) }] : [];

const PAGE = 100;

/** The ids of what waits for a label, oldest first. */
function* unreadFrom(store: Store, agent: string | undefined, after: string | undefined): Generator<string> {
  const prefix = KEYS.unread(agent);
  for (let cursor = after === undefined ? undefined : prefix + after; ;) {
    const page = store.list({ prefix, limit: PAGE, ...(cursor === undefined ? {} : { after: cursor }) });
    if (page.length === 0) return;
    const now = store.now();
    for (const entry of page) if (!isDue(entry, now)) yield idIn(entry.key);
    cursor = page.at(-1)?.key;
  }
}

/** Sorted lists as one. */
function* merged(lists: readonly Generator<string>[]): Generator<string> {
  const heads = lists.map((list) => list.next());
  for (;;) {
    let least = -1;
    heads.forEach((head, at) => {
      const best = heads[least];
      if (head.done !== true && (best === undefined || best.done === true || head.value < best.value)) least = at;
    });
    const [head, list] = [heads[least], lists[least]];
    if (head === undefined || list === undefined || head.done === true) return;
    yield head.value;
    heads[least] = list.next();
  }
}
