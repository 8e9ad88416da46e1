import { timeOf } from '../../kernel/ids.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { CarriedMessage } from '../../protocol/messages.ts';
import type { OutputOf, ParsedInputOf } from '../../protocol/operations.ts';
import { parseFields } from '../../protocol/record.ts';
import type { Caller } from '../../trust/caller.ts';
import { stoppedError } from './guards.ts';
import { joined, moveOf, type Plan } from './mail.ts';
import type { MailParts } from './parts.ts';
import { ACCOUNTS, KEYS, type MessageHead, readMessage, senderOf } from './record.ts';

/** A node over its link. */
type Peer = Extract<Caller, { readonly kind: 'peer' }>;
type Refused = NonNullable<OutputOf<'message.deliver'>['results'][number]['refused']>;

/** What is known of what a node has handed over. */
interface From {
  readonly epoch: string;
  /** The id of the newest message that was decided: what is not newer has been decided, too. */
  readonly last: string;
  /** What was refused, and why, until the sender has that on disk. */
  readonly refused: Readonly<Record<string, Refused>>;
  /** What was decided may be repeated until then, by the store's time. */
  readonly untilMs: number;
}

/** What taking messages over needs beside what both boxes need. */
export interface IntakeParts extends MailParts {
  readonly putNew: (head: MessageHead, json: string) => Plan;
  readonly onArrived: (heads: readonly MessageHead[]) => void;
  /** Two have to rest: the other side is told. */
  readonly onLoop: (head: MessageHead, restMs: number) => Promise<void>;
}

/** One of a batch, on its way into the box. */
interface Decided {
  readonly head: MessageHead;
  readonly json: string;
}

/** A rest that begins with a message. */
interface Rest {
  readonly head: MessageHead;
  readonly restMs: number;
}

/** Refusals that a sender leaves unsettled: no sender of ours has more than a few batches. */
const MAX_REFUSED = 1000;
/** What is remembered of all nodes of one machine. */
const MAX_KNOWN_BYTES = 2_097_152;

/** It is older than what its sender has handed over before, and is not here: it was not taken, then or now. */
const TOO_LATE: Refused = { error: 'conflict', message: 'newer messages had been handed over before it' };

/** Takes over what other nodes hand over: each message once, whatever is repeated, in the order of its sender. */
export class Intake {
  readonly #parts: IntakeParts;
  /** What one node hands over is decided one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>();
  /** What the guards let pass and is not stored yet: a repeat of it is not counted again. Of each node one batch. */
  readonly #passed = new Map<string, ReadonlySet<string>>();

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  /** What lies in the inbox, on disk, and what does not, and why. */
  async take(batch: ParsedInputOf<'message.deliver'>, peer: Peer): Promise<OutputOf<'message.deliver'>> {
    const { nodeId } = peer;
    const before = this.#turns.get(nodeId) ?? Promise.resolve();
    const mine = before.then(() => this.#take(batch, peer));
    const settled = mine.catch(() => undefined);
    this.#turns.set(nodeId, settled);
    try {
      return await mine;
    } finally {
      if (this.#turns.get(nodeId) === settled) this.#turns.delete(nodeId);
    }
  }

  async #take(
    { epoch, settled = '', messages }: ParsedInputOf<'message.deliver'>,
    peer: Peer,
  ): Promise<OutputOf<'message.deliver'>> {
    const known = this.#fromOf(peer, { epoch, settled });
    const refused = new Map(Object.entries(known.refused));
    const late = new Map<string, Refused>();
    const fresh: Decided[] = [];
    const passed = new Set<string>();
    const rests: Rest[] = [];
    let { last, untilMs } = known;
    for (const message of messages) {
      if (message.id <= last) {
        const isKnown = passed.has(message.id) || refused.has(message.id) || this.#wasTaken(message.id, peer);
        if (!isKnown) late.set(message.id, TOO_LATE);
        continue;
      }
      last = message.id;
      const head = this.#headOf(message, peer);
      untilMs = Math.max(untilMs, head.dueAt);
      const why = this.#whyNot(head, message, rests);
      if (why === undefined) {
        passed.add(head.id);
        fresh.push({ head, json: JSON.stringify(message.body) });
      } else refused.set(message.id, why);
    }
    this.#passed.set(peer.nodeId, passed);
    if (refused.size > MAX_REFUSED)
      throw new LoopsyError('rate_limited', { message: 'too much was refused that the sender has not settled' });
    const from = { epoch, last, untilMs };
    const arrived = last === known.last ? [] : await this.#store(fresh, { peer, from, refused });
    this.#passed.delete(peer.nodeId);
    if (arrived.length > 0) this.#parts.onArrived(arrived);
    for (const { head, restMs } of rests) await this.#parts.onLoop(head, restMs);
    return { results: messages.map(({ id }) => ({ id, ...whyOf(refused.get(id) ?? late.get(id)) })) };
  }

  #fromOf({ nodeId }: Peer, { epoch, settled }: { epoch: string; settled: string }): From {
    const entry = this.#parts.store.get(KEYS.from(nodeId));
    // Written by `#write`.
    const from = entry === undefined ? undefined : (parseFields(entry.value) as unknown as From);
    if (from?.epoch !== epoch) return { epoch, last: '', refused: {}, untilMs: from?.untilMs ?? 0 };
    const open = Object.entries(from.refused).filter(([id]) => id > settled);
    return { ...from, refused: Object.fromEntries(open) };
  }

  /** A message leaves the inbox, or is taken there, with a receipt that stays until its sender has it. */
  #wasTaken(id: string, { nodeId }: Peer): boolean {
    const { store } = this.#parts;
    return readMessage(store, 'in', id)?.head.nodeId === nodeId || store.get(KEYS.receipt(nodeId, id)) !== undefined;
  }

  #headOf(message: CarriedMessage, { nodeId, machineId }: Peer): MessageHead {
    const { id, fromAgent, by, toAgent, ts, type, thread, replyTo, leftMs } = message;
    const { store, clock } = this.#parts;
    const at = clock.now();
    const hops = Math.max(message.hops, this.#hopsBehind(message.replyTo, nodeId));
    const history = [{ state: 'queued', at: Math.min(message.ts, at) } as const, { state: 'delivered', at } as const];
    const said = { id, fromAgent, by, toAgent, ts, type, thread, replyTo };
    const from = { nodeId, ...(machineId === nodeId ? {} : { machineId }) };
    return { ...said, ...from, box: 'in', hops, dueAt: store.now() + leftMs, state: 'delivered', history };
  }

  /** A reply to what this node has sent is one further in its chain, whatever its sender says. */
  #hopsBehind(replyTo: string | undefined, nodeId: string): number {
    const parent = replyTo === undefined ? undefined : readMessage(this.#parts.store, 'out', replyTo);
    return parent?.head.nodeId === nodeId ? parent.head.hops + 1 : 0;
  }

  #whyNot(head: MessageHead, { ageMs, body }: CarriedMessage, rests: Rest[]): Refused | undefined {
    const { guards, store, names } = this.#parts;
    if (store.get(KEYS.message('in', head.id)) !== undefined)
      return { error: 'invalid_request', message: 'another message here has this id' };
    if (this.#passed.get(head.nodeId)?.has(head.id) === true) return undefined;
    const from = senderOf(head.nodeId, head);
    const to = `${names.nodeId}#${head.toAgent ?? ''}`;
    // What waited for this node was sent long ago, and counts then.
    const times = { at: store.now(), ageMs, sentAt: timeOf(head.id) };
    const { stopped, restMs } = guards.take({ from, to, ...times, length: body.length, hops: head.hops });
    if (restMs !== undefined) rests.push({ head, restMs });
    if (stopped === undefined) return undefined;
    const { error, message } = stoppedError(stopped);
    return { error, message };
  }

  /** All at once; where there is not room for all, one by one. @returns those that lie in the box now. */
  async #store(
    fresh: readonly Decided[],
    parts: { peer: Peer; from: Omit<From, 'refused'>; refused: Map<string, Refused> },
  ): Promise<MessageHead[]> {
    try {
      await this.#write(fresh, parts);
      return fresh.map(({ head }) => head);
    } catch (thrown) {
      if (!(thrown instanceof LoopsyError) || thrown.error !== 'mailbox_full') throw thrown;
      const [only] = fresh;
      if (only === undefined) throw thrown;
      if (fresh.length === 1) {
        parts.refused.set(only.head.id, { error: thrown.error, message: thrown.message });
        await this.#write([], parts);
        return [];
      }
    }
    const stored: MessageHead[] = [];
    for (const one of fresh) {
      const from = { ...parts.from, last: one === fresh.at(-1) ? parts.from.last : one.head.id };
      stored.push(...(await this.#store([one], { ...parts, from })));
    }
    return stored;
  }

  async #write(
    fresh: readonly Decided[],
    { peer, from, refused }: { peer: Peer; from: Omit<From, 'refused'>; refused: Map<string, Refused> },
  ): Promise<void> {
    const { store, mail, putNew } = this.#parts;
    const known = {
      put: KEYS.from(peer.nodeId),
      value: JSON.stringify({ ...from, refused: Object.fromEntries(refused) }),
      account: `${ACCOUNTS.from}${peer.machineId}`,
      expiresAt: from.untilMs,
    };
    let isRepeat = false;
    await mail.commit(() => {
      // Another node has handed over a message with this id at the same moment: when it is repeated, it is refused.
      if (isRepeat && fresh.some(({ head }) => store.get(KEYS.message('in', head.id)) !== undefined))
        throw new LoopsyError('rate_limited', { message: 'another message with this id has just come' });
      isRepeat = true;
      const plans = fresh.flatMap(({ head, json }) => [putNew(head, json), this.#replied(head)]);
      return joined(...plans, { changes: [known], within: [{ accounts: known.account, maxBytes: MAX_KNOWN_BYTES }] });
    });
  }

  /** What the reply says of the message that it replies to. */
  #replied({ replyTo, nodeId }: MessageHead): Plan {
    const { store, clock } = this.#parts;
    const parent = replyTo === undefined ? undefined : readMessage(store, 'out', replyTo);
    const step = { state: 'replied', at: clock.now() } as const;
    return moveOf(parent?.head.nodeId === nodeId ? parent : undefined, step);
  }
}

const whyOf = (refused: Refused | undefined): { refused?: Refused } => (refused === undefined ? {} : { refused });
