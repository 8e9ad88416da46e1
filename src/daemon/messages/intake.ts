import { LoopsyError } from '../../protocol/errors.ts';
import type { CarriedMessage } from '../../protocol/messages.ts';
import type { OutputOf, ParsedInputOf } from '../../protocol/operations.ts';
import { parseFields } from '../../protocol/record.ts';
import { type Change, StoreConflict, StoreOverBudget } from '../../store/store.ts';
import { stoppedError } from './outbox.ts';
import { commitMail, fullError, type MailParts } from './parts.ts';
import { advance, KEYS, type MessageHead, putAdvanced, readMessage } from './record.ts';

type Refused = NonNullable<OutputOf<'message.deliver'>['results'][number]['refused']>;

/** What is known of what a node has handed over. */
interface From {
  readonly epoch: string;
  /** The id of the newest message that was decided: what is not newer has been decided, too. */
  readonly last: string;
  /** What was refused, and why, until the sender has that on disk. */
  readonly refused: Readonly<Record<string, Refused>>;
}

/** What taking messages over needs beside what both boxes need. */
export interface IntakeParts extends MailParts {
  readonly putNew: (head: MessageHead, json: string) => Change[];
  readonly onArrived: (heads: readonly MessageHead[]) => void;
  /** Two have to rest: the other side is told. */
  readonly onLoop: (head: MessageHead, untilMs: number) => Promise<void>;
}

/** One of a batch, on its way into the box. */
interface Decided {
  readonly head: MessageHead;
  readonly json: string;
}

/** Refusals that a sender leaves unsettled: no sender of ours has more than one batch. */
const MAX_REFUSED = 1000;

/** Takes over what other nodes hand over: each message once, whatever is repeated, in the order of its sender. */
export class Intake {
  readonly #parts: IntakeParts;
  /** What one node hands over is decided one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>();
  /** What the guards let pass and is not stored yet: a repeat of it is not counted again. Of each node one batch. */
  readonly #passed = new Map<string, Set<string>>();

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  /** What lies in the inbox, on disk, and what does not, and why. */
  async take(batch: ParsedInputOf<'message.deliver'>, nodeId: string): Promise<OutputOf<'message.deliver'>> {
    const before = this.#turns.get(nodeId) ?? Promise.resolve();
    const mine = before.then(() => this.#take(batch, nodeId));
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
    nodeId: string,
  ): Promise<OutputOf<'message.deliver'>> {
    const known = this.#fromOf(nodeId, { epoch, settled });
    const refused = new Map(Object.entries(known.refused));
    const fresh: Decided[] = [];
    const passed = new Set<string>();
    let { last } = known;
    for (const message of messages) {
      if (message.id <= last) continue;
      last = message.id;
      const head = this.#headOf(message, nodeId);
      const why = await this.#whyNot(head, message.body.length);
      if (why === undefined) {
        passed.add(head.id);
        fresh.push({ head, json: JSON.stringify(message.body) });
      } else refused.set(message.id, why);
    }
    this.#passed.set(nodeId, passed);
    if (refused.size > MAX_REFUSED)
      throw new LoopsyError('rate_limited', { message: 'too much was refused that the sender has not settled' });
    const isNew = last !== known.last;
    const arrived = isNew ? await this.#store(fresh, { nodeId, from: { epoch, last }, refused }) : [];
    this.#passed.delete(nodeId);
    if (arrived.length > 0) this.#parts.onArrived(arrived);
    return { results: messages.map(({ id }) => ({ id, ...whyOf(refused.get(id)) })) };
  }

  #fromOf(nodeId: string, { epoch, settled }: { epoch: string; settled: string }): From {
    const entry = this.#parts.store.get(KEYS.from(nodeId));
    // Written by `#putFrom`.
    const from = entry === undefined ? undefined : (parseFields(entry.value) as unknown as From);
    if (from?.epoch !== epoch) return { epoch, last: '', refused: {} };
    const open = Object.entries(from.refused).filter(([id]) => id > settled);
    return { ...from, refused: Object.fromEntries(open) };
  }

  #headOf(message: CarriedMessage, nodeId: string): MessageHead {
    const { id, fromAgent, toAgent, ts, type, thread, replyTo, leftMs } = message;
    const { store, clock } = this.#parts;
    const at = clock.now();
    const hops = Math.max(message.hops, this.#hopsBehind(message.replyTo, nodeId));
    const history = [{ state: 'queued', at: Math.min(message.ts, at) } as const, { state: 'delivered', at } as const];
    const said = { id, fromAgent, toAgent, ts, type, thread, replyTo };
    return { ...said, box: 'in', nodeId, hops, dueAt: store.now() + leftMs, state: 'delivered', history };
  }

  /** A reply to what this node has sent is one further in its chain, whatever its sender says. */
  #hopsBehind(replyTo: string | undefined, nodeId: string): number {
    const parent = replyTo === undefined ? undefined : readMessage(this.#parts.store, 'out', replyTo);
    return parent?.head.nodeId === nodeId ? parent.head.hops + 1 : 0;
  }

  async #whyNot(head: MessageHead, length: number): Promise<Refused | undefined> {
    const { guards, store, clock, names, onLoop } = this.#parts;
    if (store.get(KEYS.message('in', head.id)) !== undefined)
      return { error: 'invalid_request', message: 'another message here has this id' };
    if (this.#passed.get(head.nodeId)?.has(head.id) === true) return undefined;
    const from = `${head.nodeId}#${head.fromAgent ?? ''}`;
    const to = `${names.nodeId}#${head.toAgent ?? ''}`;
    // What waited for this node was sent long ago, and counts then.
    const at = store.now() - Math.max(0, clock.now() - head.ts);
    const stopped = guards.pass({ from, to, at, length, hops: head.hops });
    if (stopped === undefined) return undefined;
    if (stopped.begins === true && stopped.untilMs !== undefined) await onLoop(head, stopped.untilMs - at);
    const { error, message } = stoppedError(stopped, at);
    return { error, message };
  }

  /** All at once; where there is not room for all, one by one. @returns those that lie in the box now. */
  async #store(
    fresh: readonly Decided[],
    parts: { nodeId: string; from: Omit<From, 'refused'>; refused: Map<string, Refused> },
  ): Promise<MessageHead[]> {
    try {
      await this.#commit(fresh, parts);
      return fresh.map(({ head }) => head);
    } catch (thrown) {
      if (!(thrown instanceof StoreOverBudget)) throw thrown;
      const [only] = fresh;
      if (only === undefined) throw thrown;
      if (fresh.length === 1) {
        const { error, message } = fullError(thrown, 'in');
        parts.refused.set(only.head.id, { error, message });
        await this.#commit([], parts);
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

  async #commit(
    fresh: readonly Decided[],
    { nodeId, from, refused }: { nodeId: string; from: Omit<From, 'refused'>; refused: Map<string, Refused> },
  ): Promise<void> {
    const put = {
      put: KEYS.from(nodeId),
      value: JSON.stringify({ ...from, refused: Object.fromEntries(refused) }),
    };
    for (;;) {
      const changes = fresh.flatMap(({ head, json }) => [...this.#parts.putNew(head, json), ...this.#replied(head)]);
      try {
        await commitMail([...changes, put], { box: 'in', nodeId }, this.#parts);
        return;
      } catch (thrown) {
        if (!(thrown instanceof StoreConflict)) throw thrown;
        // Another node has handed over a message with this id at the same moment: when it is repeated, it is refused.
        if (fresh.some(({ head }) => KEYS.message('in', head.id) === thrown.key))
          throw new LoopsyError('rate_limited', { cause: thrown });
      }
    }
  }

  /** What the reply says of the message that it replies to. */
  #replied({ replyTo, nodeId }: MessageHead): Change[] {
    const parent = replyTo === undefined ? undefined : readMessage(this.#parts.store, 'out', replyTo);
    if (parent === undefined || parent.head.nodeId !== nodeId) return [];
    const next = advance(parent.head, { state: 'replied', at: this.#parts.clock.now() });
    return next === undefined ? [] : putAdvanced(parent, next);
  }
}

const whyOf = (refused: Refused | undefined): { refused?: Refused } => (refused === undefined ? {} : { refused });
