import { LoopsyError } from '../../protocol/errors.ts';
import type { MessageState } from '../../protocol/messages.ts';
import { type Change, type Entry, StoreConflict, type Store } from '../../store/store.ts';
import { diskErrors } from '../storage/disk-errors.ts';
import { given, messageNotFound } from './outbox.ts';
import type { MailParts } from './parts.ts';
import { maySeeMessage, mayTake, needInbox, type Reader, readerName } from './readers.ts';
import {
  ACCOUNTS,
  type Advance,
  advance,
  idIn,
  isOver,
  KEYS,
  type MessageHead,
  messageIn,
  putAdvanced,
  putMessage,
  readMessage,
  type StoredMessage,
} from './record.ts';

/** What the inbox needs beside what both boxes need. */
export interface InboxParts extends MailParts {
  /** The changes that tell the sender: a receipt, or its own record where it is this node. */
  readonly tellSender: (head: MessageHead, step: Advance) => Change[];
  /** Receipts wait for that node. */
  readonly onReceipt: (nodeId: string) => void;
  /** The time of a life's end is known. */
  readonly onDue: (at: number) => void;
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
    return this.#parts.store.usage(unreadAccount(agent)).entries;
  }

  /** All that nobody has taken, whomever it is for. */
  get unreadTotal(): number {
    return this.#parts.store.usage(ACCOUNTS.unread).entries;
  }

  /** The changes that put a message into this box. */
  putNew(head: MessageHead, json: string): Change[] {
    const unread = { put: KEYS.unread(head.toAgent, head.id), value: String(head.dueAt) };
    return [putMessage(head, json, 0), { ...unread, account: unreadAccount(head.toAgent) }];
  }

  /** Messages lie here now: whoever waits for them hears of it. */
  arrived(heads: readonly MessageHead[]): void {
    const { events, names } = this.#parts;
    for (const head of heads) {
      this.#parts.onDue(head.dueAt);
      const { id, nodeId, fromAgent, toAgent, type, thread } = head;
      const from = nodeId === names.nodeId ? names.own() : (names.nameOf(nodeId) ?? nodeId);
      const told = { id, from, type, ...given('fromAgent', fromAgent), ...given('toAgent', toAgent) };
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

  /** The changes that mark a message as answered by who replies to it. */
  answered(id: string, reader: Reader): Change[] {
    const stored = this.find(id, reader);
    if (stored === undefined || !mayTake(reader, stored.head)) return [];
    const next = advance(stored.head, { state: 'replied', at: this.#parts.clock.now(), reader: readerName(reader) });
    if (next === undefined) return [];
    return [...putAdvanced(stored, next), ...unreadGone(stored.head)];
  }

  /** What nobody has taken and this reader may take, oldest first, behind a cursor. */
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
    const { store, clock, tellSender, onReceipt } = this.#parts;
    for (;;) {
      const told: string[] = [];
      const changes = entries.flatMap((entry): Change[] => {
        const stored = readMessage(store, 'in', idIn(entry.key));
        const step = { state: 'expired', at: clock.now() } as const;
        const next = stored === undefined ? undefined : advance(stored.head, step);
        if (stored === undefined || next === undefined) return [{ delete: entry.key }];
        told.push(stored.head.nodeId);
        return [{ delete: entry.key }, ...putAdvanced(stored, next), ...tellSender(stored.head, step)];
      });
      try {
        await diskErrors('messages', () => store.commit(changes));
        for (const nodeId of new Set(told)) onReceipt(nodeId);
        return;
      } catch (thrown) {
        if (!(thrown instanceof StoreConflict)) throw thrown;
      }
    }
  }

  async #move(
    id: string,
    reader: Reader,
    { state, note }: { readonly state: Extract<MessageState, 'read' | 'acked'>; readonly note?: string | undefined },
  ): Promise<StoredMessage> {
    needInbox(reader);
    const { store, clock, tellSender, onReceipt } = this.#parts;
    const stored = this.#mine(id, reader);
    if (state === 'read' && isOver(stored.head.state)) throw takenError(stored.head);
    const step = { state, at: clock.now(), reader: readerName(reader), ...given('note', note) };
    const next = advance(stored.head, step);
    if (next === undefined) return stored;
    const changes = [...putAdvanced(stored, next), ...unreadGone(stored.head), ...tellSender(stored.head, step)];
    try {
      const revision = await diskErrors('messages', () => store.commit(changes));
      onReceipt(stored.head.nodeId);
      return { head: next, json: stored.json, revision };
    } catch (thrown) {
      // Somebody was quicker, or it has come to its end: how it is now decides.
      if (thrown instanceof StoreConflict) return this.#move(id, reader, { state, note });
      throw thrown;
    }
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
    for (const { key } of page) yield idIn(key);
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
