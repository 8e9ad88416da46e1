import { timeId } from '../../kernel/ids.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { MAX_BODY_BYTES } from '../../protocol/mail.ts';
import type { MessageState, Receipt } from '../../protocol/messages.ts';
import type { ParsedInputOf } from '../../protocol/operations.ts';
import { type Change, type Entry, StoreConflict, StoreOverBudget } from '../../store/store.ts';
import { callerName } from '../../trust/caller.ts';
import { diskErrors } from '../storage/disk-errors.ts';
import type { Stopped } from './guards.ts';
import { commitMail, fullError, type MailParts } from './parts.ts';
import { maySeeMessage, needReach, type Place, placeOf, type Reader } from './readers.ts';
import { type Advance, advance, idIn, KEYS, type MessageHead, putAdvanced, putMessage, readMessage } from './record.ts';

/** What the outbox needs beside what both boxes need. */
export interface OutboxParts extends MailParts {
  /** Puts what is for this node itself into its inbox: the changes that do it. @throws why it refuses. */
  readonly deliverHere: (head: MessageHead, json: string) => Change[];
  /** A message of the inbox, for who may see it. */
  readonly received: (id: string, reader: Reader) => MessageHead | undefined;
  /** What marks a received message as answered. */
  readonly answered: (id: string, reader: Reader) => Change[];
  /** Something waits for that node. */
  readonly onQueued: (nodeId: string) => void;
  /** True where the node answers at this moment: what is queued for it is tried at once. */
  readonly isOnline: (nodeId: string) => boolean;
  /** Two have to rest: the other side is told. */
  readonly onLoop: (head: MessageHead, untilMs: number) => Promise<void>;
  /** The time of a life's end is known. */
  readonly onDue: (at: number) => void;
}

/** What stands behind the time in a queue's entry whose delivery has been tried: whether it arrived may not be known. */
const TRIED = ' tried';

/** True where its delivery may have begun. */
export const wasTried = ({ value }: Pick<Entry, 'value'>): boolean => value.endsWith(TRIED);

/** The value of a queue's entry. */
export const queued = (dueAt: number, isTried: boolean): string => `${dueAt}${isTried ? TRIED : ''}`;

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
    const { names, onQueued, onDue } = this.#parts;
    const { place, parent } = this.#place(input, reader);
    if (place.nodeId !== names.nodeId) needReach(reader.caller, place.nodeId);
    const head = this.#headOf(input, { reader, place, parent });
    await this.#guard(head, input.body.length);
    const stored = await this.#store(head, JSON.stringify(input.body), reader);
    onDue(head.dueAt);
    if (place.nodeId !== names.nodeId) onQueued(place.nodeId);
    return stored;
  }

  /** Takes back what has surely not left. @throws {LoopsyError} `conflict` where it may have. */
  async cancel(id: string, reader: Reader): Promise<void> {
    const { store } = this.#parts;
    const stored = this.own(id, reader);
    const entry = store.get(KEYS.queue(stored.head.nodeId, id));
    const next = this.#next(stored.head, { state: 'cancelled' });
    if (entry === undefined || next === undefined)
      throw new LoopsyError('conflict', { message: `the message is ${stored.head.state}: it can't be taken back` });
    if (wasTried(entry))
      throw new LoopsyError('conflict', {
        message: 'its delivery may have begun: whether it has arrived is known when the other node answers',
      });
    try {
      const changes = [{ delete: entry.key, ifRevision: entry.revision }, ...putAdvanced(stored, next)];
      await diskErrors('messages', () => store.commit(changes));
    } catch (thrown) {
      if (thrown instanceof StoreConflict) return this.cancel(id, reader);
      throw thrown;
    }
    this.#tell(next);
  }

  /** A message of this box. @throws {LoopsyError} `message_not_found`, also for what another caller has sent. */
  own(id: string, reader: Reader) {
    const stored = readMessage(this.#parts.store, 'out', id);
    if (stored === undefined || !maySeeMessage(reader, stored.head)) throw messageNotFound(id);
    return stored;
  }

  /** What a peer says became of messages that it was sent. What is not its own, or further already, stays as it is. */
  async receive(receipts: readonly Receipt[], nodeId: string): Promise<void> {
    const states = receipts.filter((receipt) => receipt.kind === 'state');
    await this.advanceAll(
      states.map(({ id, state, at, reader, note }) => ({ id, state, at, reader, note })),
      { from: nodeId },
    );
  }

  /**
   * Moves messages on. `also`: what becomes true with it. `from`: who says so; of another's messages it says nothing.
   * What a receipt has moved further meanwhile stays there.
   */
  async advanceAll(
    moves: readonly (Advance & { readonly id: string })[],
    { also = () => [], from }: { also?: (id: string) => readonly Change[]; from?: string },
  ): Promise<void> {
    const { store } = this.#parts;
    for (;;) {
      const moved: MessageHead[] = [];
      const changes = moves.flatMap(({ id, ...step }) => {
        const stored = readMessage(store, 'out', id);
        if (stored === undefined || (from !== undefined && stored.head.nodeId !== from)) return also(id);
        const next = advance(stored.head, step);
        if (next === undefined) return also(id);
        moved.push(next);
        return [...putAdvanced(stored, next), ...also(id)];
      });
      try {
        await diskErrors('messages', () => store.commit(changes));
        for (const head of moved) this.#tell(head);
        return;
      } catch (thrown) {
        if (!(thrown instanceof StoreConflict)) throw thrown;
      }
    }
  }

  /** Messages whose life has ended before they were handed over. */
  async expire(entries: readonly Entry[], isUnderWay: (entry: Entry) => boolean): Promise<void> {
    const over = entries.filter((entry) => !isUnderWay(entry));
    const queues = new Map(over.map((entry) => [idIn(entry.key), entry]));
    const at = this.#parts.clock.now();
    const moves = over.map((entry) => {
      const note = wasTried(entry) ? 'it may have arrived: the last try got no answer' : undefined;
      return { id: idIn(entry.key), state: 'expired', at, note } as const;
    });
    await this.advanceAll(moves, { also: (id) => this.#unqueued(queues.get(id)) });
  }

  /** All that waits for a node will not be handed over to it any more. */
  async refuseAll(nodeId: string, why: string): Promise<void> {
    const { store, clock } = this.#parts;
    for (;;) {
      const page = store.list({ prefix: KEYS.queue(nodeId), limit: 200 });
      if (page.length === 0) return;
      const moves = page.map(({ key }) => ({ id: idIn(key), state: 'refused', at: clock.now(), note: why }) as const);
      await this.advanceAll(moves, { also: (id) => [{ delete: KEYS.queue(nodeId, id) }] });
    }
  }

  #unqueued(entry: Entry | undefined): Change[] {
    return entry === undefined ? [] : [{ delete: entry.key }];
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

  #headOf(
    { type, thread, replyTo, ttl }: ParsedInputOf<'message.send'>,
    { reader, place, parent }: { reader: Reader; place: Place; parent: MessageHead | undefined },
  ): MessageHead {
    const { store, clock, settings } = this.#parts;
    const now = clock.now();
    return {
      box: 'out',
      id: timeId(this.#steady),
      nodeId: place.nodeId,
      ...given('fromAgent', reader.label),
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
    const from = `${names.nodeId}#${head.fromAgent ?? ''}`;
    const to = `${head.nodeId}#${head.toAgent ?? ''}`;
    const now = store.now();
    const stopped = guards.pass({ from, to, at: now, length, hops: head.hops });
    if (stopped === undefined) return;
    if (stopped.begins === true && stopped.untilMs !== undefined) await onLoop(head, stopped.untilMs - now);
    throw stoppedError(stopped, now);
  }

  async #store(head: MessageHead, json: string, reader: Reader): Promise<MessageHead> {
    const { names, clock, deliverHere, answered, isOnline } = this.#parts;
    const isHere = head.nodeId === names.nodeId;
    const stored = isHere ? (advance(head, { state: 'delivered', at: clock.now() }) ?? head) : head;
    const way = isHere
      ? deliverHere(stored, json)
      : [{ put: KEYS.queue(head.nodeId, head.id), value: queued(head.dueAt, isOnline(head.nodeId)) }];
    for (;;) {
      const reply = head.replyTo === undefined ? [] : answered(head.replyTo, reader);
      try {
        await commitMail([putMessage(stored, json), ...way, ...reply], stored, this.#parts);
        return stored;
      } catch (thrown) {
        if (thrown instanceof StoreOverBudget) throw fullError(thrown, 'out');
        if (!(thrown instanceof StoreConflict)) throw thrown;
      }
    }
  }

  #next(head: MessageHead, { state }: { state: MessageState }): MessageHead | undefined {
    return advance(head, { state, at: this.#parts.clock.now() });
  }

  #tell({ id, state, nodeId, caller, fromAgent }: MessageHead): void {
    const { events, names } = this.#parts;
    const to = names.nameOf(nodeId) ?? nodeId;
    events.publish(
      { type: 'message.state', message: { id, state, to, ...given('fromAgent', fromAgent) } },
      (hearing) => hearing.kind === 'owner' || callerName(hearing) === caller,
    );
  }
}

/** A field that is there only where it has a value. */
export const given = <Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { readonly [Key in Name]?: Value } =>
  // One field, named by its parameter.
  value === undefined ? {} : ({ [name]: value } as { readonly [Key in Name]: Value });

/** What somebody hears of a message that is not there, or not theirs. */
export const messageNotFound = (id: string): LoopsyError =>
  new LoopsyError('message_not_found', { message: `there is no message ${id}`, details: { id } });

const tooLarge = (bytes: number): LoopsyError =>
  new LoopsyError('message_too_large', {
    message: `the body has ${bytes} bytes; at most ${MAX_BODY_BYTES} (256 KiB) are taken`,
    details: { bytes, most: MAX_BODY_BYTES },
  });

const WHY: Readonly<Record<Stopped['why'], string>> = {
  rate: 'more messages within a minute than messages.perMinute',
  chain: 'this chain of replies is longer than messages.maxChain',
  loop: 'more than 20 short messages between these two within two minutes: both rest for five minutes',
};

/** What a guard says to who writes. `now`: the clock of `untilMs`. */
export const stoppedError = ({ why, untilMs }: Stopped, now: number): LoopsyError =>
  new LoopsyError('message_loop', {
    message: WHY[why],
    details: { why, ...(untilMs === undefined ? {} : { retryAfterMs: Math.max(1, Math.ceil(untilMs - now)) }) },
  });
