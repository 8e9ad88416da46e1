import type { Log } from '../../kernel/log.ts';
import { BucketTable } from '../../kernel/token-bucket.ts';
import { addressOf } from '../../protocol/mail.ts';
import type { Receipt } from '../../protocol/messages.ts';
import { diskErrors } from '../storage/disk-errors.ts';
import type { Entry } from '../../store/store.ts';
import { writeBehind } from '../../store/write-behind.ts';
import type { Publisher } from '../events/bus.ts';
import { given } from './mail.ts';
import type { MailParts } from './parts.ts';
import { KEYS, type MessageHead, senderOf } from './record.ts';

/** What telling both sides of a rest needs. */
export interface RestParts extends MailParts {
  readonly events: Publisher;
  readonly log: Log;
  /** Something waits for that node. */
  readonly onReceipt: (nodeId: string) => void;
}

const TOLD_PER_MINUTE = 20;

/** Who has to rest: a label here, a label there. */
interface Pair {
  readonly nodeId: string;
  readonly mine: string | undefined;
  readonly theirs: string | undefined;
}

/** Receipts as they are told now: of a rest, what is left of it. */
export const receiptsIn = (entries: readonly Entry[], now: number): Receipt[] =>
  entries.map(({ value, expiresAt = Infinity }) => {
    // Written by `tellSender` and `begin`.
    const receipt = JSON.parse(value) as Receipt;
    if (receipt.kind !== 'rest') return receipt;
    return { ...receipt, restMs: Math.max(1, Math.min(receipt.restMs, Math.floor(expiresAt - now))) };
  });

/** Two who wrote too much to each other rest: both sides are told. */
export class Rests {
  readonly #parts: RestParts;
  /** Another node may say it as often as it likes, and of whatever labels. */
  readonly #told: BucketTable;

  constructor(parts: RestParts) {
    this.#parts = parts;
    this.#told = new BucketTable({ size: TOLD_PER_MINUTE, clock: parts.clock });
  }

  /** A guard here has seen a loop: `head` is the message that was one too many. */
  async begin(head: MessageHead, restMs: number): Promise<void> {
    const { box, nodeId, fromAgent, toAgent, by } = head;
    const { store, names, log, onReceipt } = this.#parts;
    const [source, target] = box === 'out' ? [names.nodeId, nodeId] : [nodeId, names.nodeId];
    this.#keep(senderOf(source, head), `${target}#${toAgent ?? ''}`, store.now() + restMs);
    // Nobody writes back to a named key: it rests alone, and what its owner writes and is written to goes on.
    if (by !== undefined) return log.warn('messages rest', { by, box, peer: names.nameOf(nodeId) ?? nodeId, restMs });
    const [mine, theirs] = box === 'out' ? [fromAgent, toAgent] : [toAgent, fromAgent];
    this.#tell({ nodeId, mine, theirs }, restMs);
    if (nodeId === names.nodeId) return;
    // It is over at the same time on both sides: what is told is what is left of it then.
    const receipt: Receipt = {
      kind: 'rest',
      restMs: Math.max(1, Math.round(restMs)),
      ...given('fromAgent', mine),
      ...given('toAgent', theirs),
    };
    const change = {
      // No label holds a "#".
      put: KEYS.receipt(nodeId, `rest#${mine ?? ''}#${theirs ?? ''}`),
      value: JSON.stringify(receipt),
      expiresAt: store.now() + receipt.restMs,
    };
    await diskErrors('messages', () => store.commit([change]));
    onReceipt(nodeId);
  }

  /** The guard of another node has. */
  heard({ fromAgent, toAgent, restMs }: Extract<Receipt, { kind: 'rest' }>, nodeId: string): void {
    const { store, names, guards } = this.#parts;
    const theirs = `${nodeId}#${fromAgent ?? ''}`;
    const mine = `${names.nodeId}#${toAgent ?? ''}`;
    const at = store.now();
    if (!guards.rest(theirs, mine, { at, untilMs: at + restMs }) || !this.#told.take(nodeId).ok) return;
    this.#keep(theirs, mine, at + restMs);
    this.#tell({ nodeId, mine: toAgent, theirs: fromAgent }, restMs);
  }

  /** For the next start. */
  #keep(from: string, to: string, untilMs: number): void {
    const { store, log } = this.#parts;
    const change = { put: KEYS.rest(from, to), value: JSON.stringify([from, to]), expiresAt: untilMs };
    writeBehind(store, [change], log);
  }

  #tell({ nodeId, mine, theirs }: Pair, restMs: number): void {
    const { names, events, log } = this.#parts;
    const from = addressOf(names.own(), mine);
    const to = addressOf(names.nameOf(nodeId) ?? nodeId, theirs);
    log.warn('messages rest', { from, to, restMs });
    events.publish(
      { type: 'message.rest', from, to, restMs: Math.round(restMs) },
      (caller) => caller.kind === 'owner' || (caller.kind === 'agent' && (mine === undefined || caller.label === mine)),
    );
  }
}
