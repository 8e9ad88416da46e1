import { timeId } from '../../kernel/ids.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { MAX_BODY_BYTES } from '../../protocol/mail.ts';
import { MAX_BATCH, MAX_NOTE, type Receipt } from '../../protocol/messages.ts';
import type { ParsedInputOf } from '../../protocol/operations.ts';
import type { Change, Entry } from '../../store/store.ts';
import { callerName } from '../../trust/caller.ts';
import { stoppedError } from './guards.ts';
import { given, joined, moveOf, type Plan } from './mail.ts';
import type { MailParts } from './parts.ts';
import { queued, wasTried } from './queue.ts';
import { maySeeMessage, needReach, type Place, placeOf, type Reader } from './readers.ts';
import {
  type Advance,
  idIn,
  isFurther,
  KEYS,
  type MessageHead,
  putNewMessage,
  readMessage,
  senderOf,
  type StoredMessage,
} from './record.ts';

/** What the outbox needs beside what both boxes need. */
export interface OutboxParts extends MailParts {
  /** Puts what is for this node itself into its inbox. */
  readonly deliverHere: (head: MessageHead, json: string) => Plan;
  /** A message of the inbox, for who may see it. */
  readonly received: (id: string, reader: Reader) => MessageHead | undefined;
  /** What becomes of the message that a reply is about: who writes it has taken that. */
  readonly answered: (id: string, reader: Reader, reply: MessageHead) => Plan;
  /** What becomes of it when the reply lies with the other node. */
  readonly replied: (reply: MessageHead) => Plan;
  /** Something waits for that node. */
  readonly onQueued: (nodeId: string) => void;
  /** True where the node answers at this moment: what is queued for it is tried at once. */
  readonly isOnline: (nodeId: string) => boolean;
  /** Two have to rest: the other side is told. */
  readonly onLoop: (head: MessageHead, restMs: number) => Promise<void>;
  /** The time of a life's end is known. */
  readonly onDue: (at: number) => void;
}

/** What this node has sent: each message with its state, until it is known what became of it. */
export class Outbox {
  readonly #parts: OutboxParts;
  /** Ids are by the store's time: it never goes back, and neither may the order of what is handed over. */
  readonly #steady = { now: (): number => this.#parts.store.now() };

  constructor(parts: OutboxParts) {
    this.#parts = parts;
  }

  /** Accepts a message: it is on disk when this resolves. */
  async send(input: ParsedInputOf<'message.send'>, reader: Reader): Promise<MessageHead> {
    const bytes = Buffer.byteLength(input.body);
    if (bytes > MAX_BODY_BYTES) throw tooLarge(bytes);
    const { names, mail, onQueued, onDue } = this.#parts;
    const { place, parent } = this.#place(input, reader);
    if (place.nodeId !== names.nodeId) needReach(reader.caller, place.nodeId);
    const draft = this.#draftOf(input, { reader, place, parent });
    await this.#guard(draft, input.body.length);
    const json = JSON.stringify(input.body);
    const { head, moved } = await mail.commit(() => this.#planOf(draft, json, reader));
    onDue(head.dueAt);
    // A reply says something of another message, too: that one's sender is to hear of it.
    for (const { nodeId } of moved) if (nodeId !== names.nodeId) onQueued(nodeId);
    return head;
  }

  /** Takes back what has surely not left. @throws {LoopsyError} `conflict` where it may have. */
  async cancel(id: string, reader: Reader): Promise<void> {
    const { store, mail, clock } = this.#parts;
    await mail.commit(() => {
      const stored = this.own(id, reader);
      const entry = store.get(KEYS.queue(stored.head.nodeId, id));
      const move = moveOf(stored, { state: 'cancelled', at: clock.now() });
      if (entry === undefined || move.moved.length === 0)
        throw new LoopsyError('conflict', { message: `the message is ${stored.head.state}: it can't be taken back` });
      if (wasTried(entry))
        throw new LoopsyError('conflict', {
          message: 'its delivery may have begun: whether it has arrived is known when the other node answers',
        });
      return joined(move, { changes: [{ delete: entry.key, ifRevision: entry.revision }] });
    });
  }

  /** A message of this box. @throws {LoopsyError} `message_not_found`, also for what another caller has sent. */
  own(id: string, reader: Reader): StoredMessage {
    const stored = readMessage(this.#parts.store, 'out', id);
    if (stored === undefined || !maySeeMessage(reader, stored.head)) throw messageNotFound(id);
    return stored;
  }

  /** What a peer says became of messages that it was sent. What is not its own, or further already, stays as it is. */
  async receive(receipts: readonly Receipt[], nodeId: string): Promise<void> {
    const now = this.#parts.clock.now();
    // Of each message the furthest: what is said of one in one breath has one place in its history.
    const furthest = new Map<string, Extract<Receipt, { kind: 'state' }>>();
    for (const receipt of receipts) {
      if (receipt.kind !== 'state') continue;
      const known = furthest.get(receipt.id);
      if (known === undefined || isFurther(receipt.state, known.state)) furthest.set(receipt.id, receipt);
    }
    // Nothing has happened that is still to come, whatever its clock says.
    const moves = [...furthest.values()].map((receipt) => ({ ...receipt, at: Math.min(receipt.at, now) }));
    await this.advanceAll(moves, { from: nodeId });
  }

  /**
   * Moves messages on. `also`: what becomes true with it. `from`: who says so; of another's messages it says nothing.
   * What a receipt has moved further meanwhile stays there.
   */
  async advanceAll(
    moves: readonly (Advance & { readonly id: string })[],
    { also = () => [], from }: { also?: (id: string) => readonly Change[]; from?: string },
  ): Promise<void> {
    const { store, mail, replied } = this.#parts;
    await mail.commit(() =>
      joined(
        ...moves.flatMap(({ id, ...step }) => {
          const stored = readMessage(store, 'out', id);
          const isIts = stored !== undefined && (from === undefined || stored.head.nodeId === from);
          const move = moveOf(isIts ? stored : undefined, notBefore(stored, step));
          const hasArrived = step.state === 'delivered' && move.moved.length > 0;
          return [move, ...(hasArrived ? move.moved.map(replied) : []), { changes: also(id) }];
        }),
      ),
    );
  }

  /** Messages whose life has ended before they were handed over. */
  async expire(entries: readonly Entry[], isUnderWay: (entry: Entry) => boolean): Promise<void> {
    const over = entries.filter((entry) => !isUnderWay(entry));
    const at = this.#parts.clock.now();
    const moves = over.map((entry) => {
      const note = wasTried(entry) ? 'it may have arrived: the last try got no answer' : undefined;
      return { id: idIn(entry.key), state: 'expired', at, note } as const;
    });
    const gone = new Map(over.map(({ key }) => [idIn(key), [{ delete: key }]]));
    await this.advanceAll(moves, { also: (id) => gone.get(id) ?? [] });
  }

  /** What waits for a node will not be handed over to it: these messages, or all. */
  async refuse(nodeId: string, why: string, ids?: readonly string[]): Promise<void> {
    const { store, clock } = this.#parts;
    const also = (id: string): Change[] => [{ delete: KEYS.queue(nodeId, id) }];
    for (;;) {
      const next = ids ?? store.list({ prefix: KEYS.queue(nodeId), limit: MAX_BATCH }).map(({ key }) => idIn(key));
      const moves = next.map(
        (id) => ({ id, state: 'refused', at: clock.now(), note: why.slice(0, MAX_NOTE) }) as const,
      );
      if (moves.length > 0) await this.advanceAll(moves, { also });
      if (moves.length === 0 || ids !== undefined) return;
    }
  }

  /** A message with an id, on its way. Made anew for each try: what has the smaller id is on disk first. */
  #planOf(draft: MessageHead, json: string, reader: Reader): Required<Plan> & { readonly head: MessageHead } {
    const { names, clock, deliverHere, isOnline, answered } = this.#parts;
    const id = timeId(this.#steady);
    const sent = { ...draft, id };
    const isHere = sent.nodeId === names.nodeId;
    const step = { state: 'delivered', at: clock.now() } as const;
    const head = isHere ? { ...sent, state: step.state, history: [...sent.history, step] } : sent;
    const queue = { put: KEYS.queue(head.nodeId, id), value: queued(head.dueAt, isOnline(head.nodeId)) };
    const plan = joined(
      { changes: putNewMessage(head, json), moved: [head], added: [head] },
      isHere ? deliverHere(head, json) : { changes: [queue] },
      head.replyTo === undefined ? { changes: [] } : answered(head.replyTo, reader, head),
    );
    return { ...plan, head };
  }

  #place(
    { to, replyTo }: ParsedInputOf<'message.send'>,
    reader: Reader,
  ): { place: Place; parent: MessageHead | undefined } {
    const { names } = this.#parts;
    const parent = replyTo === undefined ? undefined : this.#parent(replyTo, reader);
    if (to !== undefined) return { place: placeOf(to, names), parent };
    if (parent === undefined)
      throw new LoopsyError('invalid_request', {
        message: 'the field "to" is missing: name a node, or a message to reply to',
        details: { field: 'to' },
      });
    const agent = parent.box === 'in' ? parent.fromAgent : parent.toAgent;
    return { place: { nodeId: parent.nodeId, agent }, parent };
  }

  #parent(id: string, reader: Reader): MessageHead {
    const received = this.#parts.received(id, reader);
    return received ?? this.own(id, reader).head;
  }

  /** All but its id. */
  #draftOf(
    { type, thread, replyTo, ttl }: ParsedInputOf<'message.send'>,
    { reader, place, parent }: { reader: Reader; place: Place; parent: MessageHead | undefined },
  ): MessageHead {
    const { store, clock, settings } = this.#parts;
    const now = clock.now();
    return {
      box: 'out',
      id: '',
      nodeId: place.nodeId,
      ...given('fromAgent', reader.label),
      ...given('by', reader.caller.kind === 'key' ? callerName(reader.caller) : undefined),
      ...given('toAgent', place.agent),
      ...given('thread', thread ?? (parent === undefined ? undefined : (parent.thread ?? parent.id))),
      ...given('replyTo', replyTo),
      caller: callerName(reader.caller),
      ts: now,
      type: type ?? (parent === undefined ? 'chat' : 'response'),
      hops: parent === undefined ? 0 : parent.hops + 1,
      dueAt: store.now() + (ttl ?? settings().ttl) * 1000,
      state: 'queued',
      history: [{ state: 'queued', at: now }],
    };
  }

  async #guard(head: MessageHead, length: number): Promise<void> {
    const { guards, names, store, onLoop } = this.#parts;
    const from = senderOf(names.nodeId, head);
    const to = `${head.nodeId}#${head.toAgent ?? ''}`;
    const now = store.now();
    const stopped = guards.pass({ from, to, at: now, length, hops: head.hops });
    if (stopped === undefined) return;
    if (stopped.begins === true) await onLoop(head, stopped.waitMs ?? 0);
    throw stoppedError(stopped);
  }
}

/** A step is not before the last one. */
const notBefore = (stored: StoredMessage | undefined, step: Advance): Advance => ({
  ...step,
  at: Math.max(step.at, stored?.head.history.at(-1)?.at ?? step.at),
});

/** What somebody hears of a message that is not there, or not theirs. */
export const messageNotFound = (id: string): LoopsyError =>
  new LoopsyError('message_not_found', { message: `there is no message ${id}`, details: { id } });

const tooLarge = (bytes: number): LoopsyError =>
  new LoopsyError('message_too_large', {
    message: `the body has ${bytes} bytes; at most ${MAX_BODY_BYTES} (256 KiB) are taken`,
    details: { bytes, most: MAX_BODY_BYTES },
  });
