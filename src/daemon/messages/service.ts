import { randomHex } from '../../kernel/ids.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import type { Log } from '../../kernel/log.ts';
import { nextTurn } from '../../kernel/turn.ts';
import { Page } from '../../kernel/page.ts';
import { addressOf } from '../../protocol/mail.ts';
import type { Message } from '../../protocol/messages.ts';
import type { OutputOf, ParsedInputOf } from '../../protocol/operations.ts';
import { StoreConflict } from '../../store/store.ts';
import { type ToWall, wallTimeOf } from '../../store/wall-time.ts';
import type { Call } from '../edge/call.ts';
import type { Publisher } from '../events/bus.ts';
import { type Carrier, Courier } from './courier.ts';
import { Due } from './due.ts';
import { Guards } from './guards.ts';
import { Inbox } from './inbox.ts';
import { Intake } from './intake.ts';
import { cameBehind, type Filter, filterOf, labelsWaiting, messagesOf } from './lists.ts';
import { given, Mail, moveOf, type Plan } from './mail.ts';
import { Outbox } from './outbox.ts';
import type { MailParts } from './parts.ts';
import { Questions } from './questions.ts';
import { Rests } from './rests.ts';
import { seedGuards } from './seed.ts';
import { needInbox, peerOf, type Reader, readerOf, shownMessage } from './readers.ts';
import { type Advance, idIn, KEEP_MS, KEYS, type MessageHead, readMessage, type StoredMessage } from './record.ts';

/** What messages need. */
export interface MessagesOptions extends Omit<MailParts, 'guards' | 'mail'> {
  readonly events: Publisher;
  readonly log: Log;
  readonly carrier: Carrier;
  /** Peers that are trusted, by their names here. */
  readonly peers: () => readonly { readonly name: string; readonly status: 'online' | 'offline' | 'unknown' }[];
  /** Labels of the agents that are connected now. */
  readonly labels: () => readonly string[];
}

const MOST_WAITED = 100;
const WAIT_BYTES = 1_048_576;
const LOOKED_AT_ONCE = 100;
/** Senders choose labels: not all that they make up is listed. */
const MOST_LABELS = 200;

/** The mail of this node: what it has sent and what it has received, and the way between nodes. */
export class Messages implements Service {
  readonly name = 'messages';
  readonly #options: MessagesOptions & MailParts;
  readonly #toWall: ToWall;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #intake: Intake;
  readonly #courier: Courier;
  readonly #due: { readonly unread: Due; readonly queue: Due };
  readonly #questions: Questions;
  readonly #rests: Rests;

  constructor(options: MessagesOptions) {
    const { store, clock, names, log, carrier } = options;
    const mail = { ...options, guards: new Guards(options.settings), mail: new Mail(options) };
    this.#options = mail;
    this.#toWall = wallTimeOf(store, clock);
    const onReceipt = (nodeId: string): void => {
      if (nodeId !== names.nodeId) this.#courier.wake(nodeId);
    };
    this.#rests = new Rests({ ...mail, onReceipt });
    const onLoop = (head: MessageHead, restMs: number): Promise<void> => this.#rests.begin(head, restMs);
    this.#inbox = new Inbox({
      ...mail,
      tellSender: (head, step) => this.#tellSender(head, step),
      onReceipt,
      onDue: (at) => this.#due.unread.expect(at),
      over: (folder) => this.#due.unread.left(folder),
    });
    this.#outbox = new Outbox({
      ...mail,
      deliverHere: (head, json) => this.#inbox.putNew(inHere(head), json),
      received: (id, reader) => this.#inbox.find(id, reader)?.head,
      answered: (id, reader, reply) => this.#inbox.answered(id, reader, reply),
      replied: (reply) => this.#inbox.replied(reply),
      onQueued: (nodeId) => this.#courier.wake(nodeId),
      isOnline: (nodeId) => carrier.isOnline(nodeId) === true,
      onLoop,
      onDue: (at) => this.#due.queue.expect(at),
    });
    this.#questions = new Questions(clock, this.#inbox);
    this.#intake = new Intake({
      ...mail,
      putNew: (head, json) => this.#inbox.putNew(head, json),
      onArrived: (heads) => this.#inbox.arrived(heads),
      onLoop,
    });
    this.#courier = new Courier({ store, clock, log, outbox: this.#outbox, carrier });
    const watch = { store, clock, onError: (error: unknown) => log.warn('messages are not ended', { error }) };
    this.#due = {
      unread: new Due({ ...watch, prefix: KEYS.unreadAll, settle: (entries) => this.#inbox.expire(entries) }),
      queue: new Due({
        ...watch,
        prefix: KEYS.queueAll,
        settle: (entries) =>
          this.#outbox.expire(entries, ({ key }) => this.#courier.isUnderWay(key.split('/')[2] ?? '', idIn(key))),
      }),
    };
  }

  async start(): Promise<void> {
    seedGuards(this.#options);
    this.#courier.start(await this.#epoch());
    this.#due.unread.start();
    this.#due.queue.start();
  }

  async stop(): Promise<void> {
    this.#questions.stop();
    await Promise.all([this.#due.unread.stop(), this.#due.queue.stop(), this.#courier.stop()]);
  }

  /** How many messages nobody has taken. */
  get unread(): number {
    return this.#inbox.unreadTotal;
  }

  /** A peer has made contact: what waits for it goes now. */
  contact(nodeId: string): void {
    this.#courier.contact(nodeId);
  }

  /** A peer is trusted no more: what waits for it is refused. */
  dropped(nodeId: string): void {
    this.#courier.wake(nodeId);
  }

  async send({ as, ...input }: ParsedInputOf<'message.send'>, { caller }: Call): Promise<OutputOf<'message.send'>> {
    const head = await this.#outbox.send({ ...input, as }, readerOf(caller, as));
    const { names } = this.#options;
    if (head.nodeId === names.nodeId) this.#inbox.arrived([inHere(head)]);
    const to = head.nodeId === names.nodeId ? names.own() : (names.nameOf(head.nodeId) ?? head.nodeId);
    return { id: head.id, state: head.state, to: addressOf(to, head.toAgent) };
  }

  list(input: ParsedInputOf<'message.list'>, { caller }: Call): OutputOf<'message.list'> {
    const reader = readerOf(caller, input.as);
    if (input.box !== 'outbox') needInbox(reader);
    const { items, next } = messagesOf({ input, reader }, { ...this.#options, inbox: this.#inbox });
    return { messages: items.map((stored) => this.#shown(stored)), ...next };
  }

  show({ id, as }: ParsedInputOf<'message.show'>, { caller }: Call): Message {
    return this.#shown(this.#find(id, readerOf(caller, as)));
  }

  async read({ id, as }: ParsedInputOf<'message.read'>, { caller }: Call): Promise<Message> {
    return this.#shown(await this.#inbox.read(id, readerOf(caller, as)));
  }

  async ack({ id, as, note }: ParsedInputOf<'message.ack'>, { caller }: Call): Promise<Message> {
    return this.#shown(await this.#inbox.ack(id, readerOf(caller, as), note));
  }

  async cancel({ id, as }: ParsedInputOf<'message.cancel'>, { caller }: Call): Promise<Message> {
    const reader = readerOf(caller, as);
    await this.#outbox.cancel(id, reader);
    return this.#shown(this.#outbox.own(id, reader));
  }

  /** Answers when something waits that the caller may take. */
  async wait(input: ParsedInputOf<'message.wait'>, call: Call): Promise<OutputOf<'message.wait'>> {
    const reader = readerOf(call.caller, input.as);
    needInbox(reader);
    const filter = filterOf(input, this.#options.names);
    const { after } = input;
    const look = (): Promise<OutputOf<'message.wait'>> =>
      after === undefined ? this.#waiting(reader, filter) : this.#behind(after, reader, filter);
    return this.#questions.ask({ look, reader, isWanted: filter, timeoutMs: input.timeoutMs }, call);
  }

  addresses(): OutputOf<'message.addresses'> {
    const { names, peers, labels, store } = this.#options;
    const own = names.own();
    const waiting = labelsWaiting(store, MOST_LABELS + 1);
    const known = new Set([...labels(), ...waiting.slice(0, MOST_LABELS)]);
    const more = waiting.length > MOST_LABELS ? { more: true } : {};
    const here = [undefined, ...[...known].sort()].map((label) => ({
      address: addressOf(own, label),
      status: 'here' as const,
      unread: this.#inbox.unread(label),
    }));
    return { addresses: [...here, ...peers().map(({ name, status }) => ({ address: name, status }))], ...more };
  }

  deliver(batch: ParsedInputOf<'message.deliver'>, { caller }: Call): Promise<OutputOf<'message.deliver'>> {
    return this.#intake.take(batch, peerOf(caller));
  }

  async receive({ receipts }: ParsedInputOf<'message.receipts'>, { caller }: Call): Promise<Record<string, never>> {
    const { nodeId } = peerOf(caller);
    for (const receipt of receipts) if (receipt.kind === 'rest') this.#rests.heard(receipt, nodeId);
    await this.#outbox.receive(receipts, nodeId);
    return {};
  }

  #find(id: string, reader: Reader): StoredMessage {
    try {
      return this.#outbox.own(id, reader);
    } catch (thrown) {
      const received = this.#inbox.find(id, reader);
      if (received === undefined) throw thrown;
      return received;
    }
  }

  #shown(stored: StoredMessage): Message {
    return shownMessage(stored, { names: this.#options.names, toWall: this.#toWall });
  }

  /** All that waits may have to be looked at: others get their turn between. */
  async #waiting(reader: Reader, filter: Filter): Promise<OutputOf<'message.wait'>> {
    const page = new Page<Message>({ limit: MOST_WAITED, maxBytes: WAIT_BYTES });
    let looked = 0;
    for (const stored of this.#inbox.untaken(reader)) {
      looked += 1;
      if (looked % LOOKED_AT_ONCE === 0) await nextTurn();
      if (!filter(stored.head)) continue;
      if (!page.add(this.#shown(stored))) return { messages: page.items, more: true };
    }
    return { messages: page.items, more: false };
  }

  /** The same in the order in which it came, for who takes nothing: what was looked at is not listed again. */
  async #behind(after: string, reader: Reader, filter: Filter): Promise<OutputOf<'message.wait'>> {
    const page = new Page<Message>({ limit: MOST_WAITED, maxBytes: WAIT_BYTES });
    let cursor = after;
    let looked = 0;
    for await (const one of cameBehind({ cursor: after, reader }, this.#options.store)) {
      looked += 1;
      if (looked % LOOKED_AT_ONCE === 0) await nextTurn();
      if (filter(one.stored.head) && !page.add(this.#shown(one.stored)))
        return { messages: page.items, more: true, cursor };
      ({ cursor } = one);
    }
    return { messages: page.items, more: false, cursor };
  }

  /** What tells the sender of a received message what became of it. */
  #tellSender({ nodeId, id, dueAt }: MessageHead, step: Advance): Plan {
    const { store, names } = this.#options;
    if (nodeId === names.nodeId) return moveOf(readMessage(store, 'out', id), step);
    const { state, at, reader, note } = step;
    const receipt = { kind: 'state', id, state, at, ...given('reader', reader), ...given('note', note) };
    // A sender that stays away for so long has forgotten the message.
    const expiresAt = dueAt + KEEP_MS;
    return { changes: [{ put: KEYS.receipt(nodeId, id), value: JSON.stringify(receipt), expiresAt }] };
  }

  async #epoch(): Promise<string> {
    const { store } = this.#options;
    const known = store.get(KEYS.epoch);
    if (known !== undefined) return known.value;
    const epoch = randomHex(16);
    try {
      await store.commit([{ put: KEYS.epoch, value: epoch, ifRevision: 0 }]);
      return epoch;
    } catch (thrown) {
      if (thrown instanceof StoreConflict) return this.#epoch();
      throw thrown;
    }
  }
}

/** The other half of a message from this node to itself. */
const inHere = (head: MessageHead): MessageHead => ({ ...head, box: 'in' });
