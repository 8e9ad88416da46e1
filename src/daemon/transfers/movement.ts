import type { Clock, Timer } from '../../kernel/clock.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { FRAME } from '../../protocol/frames.ts';
import type { DryItem, Place, Transfer, TransferEvent, TransferInput } from '../../protocol/transfers.ts';
import type { Caller } from '../../trust/caller.ts';
import { callerName } from '../../trust/caller.ts';
import type { StreamPiece, StreamSource } from '../edge/call.ts';
import type { Ends } from './ends.ts';
import { fewOf } from './few-sources.ts';
import { endIn } from './format.ts';
import type { KeepMarks, Marks } from './known-folders.ts';
import { Mover } from './mover.ts';
import { Progress } from './progress.ts';
import { Throttle } from './throttle.ts';

/** What a movement is made of. */
export interface MovementOptions {
  readonly transferId: string;
  readonly input: TransferInput;
  readonly caller: Caller;
  readonly from: Place;
  readonly to: Place;
  readonly ends: Ends;
  readonly clock: Clock;
  /** This start of the node. */
  readonly boot: string;
  /** ms. */
  readonly patienceMs: number;
  /** When it was first asked for, where that was before this start of the node. */
  readonly startedAt?: number;
  /** As the mover's. */
  readonly marks?: Marks | undefined;
  readonly onMarks?: KeepMarks | undefined;
}

const SHOW_MS = 100;
/** Things that a dry run would do, of one event, and that wait for a reader; a group's more. */
const MAX_ITEMS = 1000;

/** One movement under way, or just ended. */
export class Movement {
  readonly id: string;
  readonly #options: MovementOptions;
  readonly #controller = new AbortController();
  readonly #progress: Progress;
  readonly #followers = new Set<MovementFollower>();
  readonly #startedAt: number;
  readonly #startedAtMs: number;
  #show: Timer | undefined;
  #ending: Pick<Transfer, 'outcome' | 'endedAt' | 'duration' | 'error' | 'message' | 'hint' | 'at'> | undefined;
  /** Resolves when it has ended, however. */
  readonly ended: Promise<void>;

  constructor(options: MovementOptions) {
    const { transferId, clock, startedAt = clock.now() } = options;
    this.id = transferId;
    this.#options = options;
    this.#startedAt = startedAt;
    this.#startedAtMs = clock.monotonicMs();
    this.#progress = new Progress(() => this.#changed());
    this.ended = this.#run();
  }

  get caller(): string {
    return callerName(this.#options.caller);
  }

  get isOver(): boolean {
    return this.#ending !== undefined;
  }

  /** Ends it; what has arrived stays, and what was cut off can be gone on with. */
  cancel(reason: LoopsyError = new LoopsyError('transfer_cancelled')): void {
    this.#controller.abort(reason);
  }

  /** The whole state. */
  row(): Transfer {
    const { input, from, to, clock } = this.#options;
    const { waiting } = this.#progress;
    const duration = clock.monotonicMs() - this.#startedAtMs;
    const ending = this.#ending ?? { duration, ...(waiting === undefined ? {} : reasonOf(waiting)) };
    return {
      transferId: this.id,
      role: 'mover',
      from,
      to,
      ...fewOf(input.sources),
      dest: input.dest,
      state: this.#ending === undefined ? (waiting === undefined ? 'running' : 'waiting') : 'ended',
      caller: this.caller,
      ...(input.detach === true ? { detached: true } : {}),
      ...(input.dryRun === true ? { dryRun: true } : {}),
      ...leavesOf(input),
      startedAt: this.#startedAt,
      ...ending,
      ...this.#progress.snapshot(this.isOver),
    };
  }

  /** Its state now, and each time that it is worth showing; the last event is its end. */
  follow(onClose: () => void = () => undefined): StreamSource {
    const follower: MovementFollower = new MovementFollower(this, () => {
      this.#followers.delete(follower);
      onClose();
    });
    this.#followers.add(follower);
    return follower;
  }

  async #run(): Promise<void> {
    const { input, ends, clock, boot, patienceMs, marks, onMarks } = this.#options;
    const throttle = input.limit === undefined ? undefined : new Throttle(input.limit, clock);
    const { signal } = this.#controller;
    const name = async (items: readonly DryItem[]): Promise<void> => {
      await Promise.all([...this.#followers].map((follower) => follower.give(items)));
    };
    const progress = this.#progress;
    const given = { ends, input, boot, clock, patienceMs, marks, onMarks };
    const mover = new Mover({ ...given, progress, signal, throttle, name });
    try {
      await mover.run();
      this.#end({ outcome: this.#progress.hasFailed ? 'failed' : 'done' });
    } catch (thrown) {
      const error = this.#errorOf(thrown);
      this.#end({
        outcome: error.error === 'transfer_cancelled' ? 'cancelled' : 'failed',
        ...reasonOf(error),
      });
    }
  }

  #errorOf(thrown: unknown): LoopsyError {
    const { signal } = this.#controller;
    const why: unknown = signal.aborted ? signal.reason : thrown;
    if (why instanceof LoopsyError) return why;
    const message = why instanceof Error ? why.message : String(why);
    return new LoopsyError('internal', { message, cause: why });
  }

  #end(ending: Pick<Transfer, 'outcome' | 'error' | 'message' | 'hint' | 'at'>): void {
    const { clock } = this.#options;
    this.#show?.cancel();
    this.#progress.waiting = undefined;
    this.#progress.counting = false;
    this.#progress.current = undefined;
    this.#ending = { ...ending, endedAt: clock.now(), duration: clock.monotonicMs() - this.#startedAtMs };
    for (const follower of this.#followers) follower.wake();
  }

  /** Followers hear of many changes at once. */
  #changed(): void {
    if (this.#show !== undefined || this.#followers.size === 0 || this.isOver) return;
    this.#show = this.#options.clock.after(SHOW_MS, () => {
      this.#show = undefined;
      for (const follower of this.#followers) follower.wake();
    });
  }
}

const leavesOf = ({ noClobber, update }: TransferInput): Pick<Transfer, 'leaves'> => {
  if (noClobber === true) return { leaves: 'existing' };
  return update === true ? { leaves: 'newer' } : {};
};

/** Why it ended, or waits. */
const reasonOf = ({
  error,
  message,
  hint,
  details,
}: LoopsyError): Pick<Transfer, 'error' | 'message' | 'hint' | 'at'> => {
  const at = endIn(details?.['at']);
  return { error, message, ...(hint === undefined ? {} : { hint }), ...(at === undefined ? {} : { at }) };
};

/** One reader. It gets the state of the moment in which it reads: a slow one gets fewer, none of them old. */
class MovementFollower implements StreamSource {
  readonly #movement: Pick<Movement, 'row' | 'isOver'>;
  readonly #onClose: () => void;
  #count = 0;
  #isNew = true;
  #closed = false;
  #wake: (() => void) | undefined;
  /** What a dry run would do, and who waits to say more of it. */
  readonly #items: DryItem[] = [];
  #givers: (() => void)[] = [];

  constructor(movement: Pick<Movement, 'row' | 'isOver'>, onClose: () => void) {
    this.#movement = movement;
    this.#onClose = onClose;
  }

  wake(): void {
    this.#isNew = true;
    this.#wake?.();
    this.#wake = undefined;
  }

  /** Takes what a dry run would do, and resolves when the reader has room for it. */
  async give(items: readonly DryItem[]): Promise<void> {
    while (!this.#closed && this.#items.length >= MAX_ITEMS)
      await new Promise<void>((resolve) => this.#givers.push(resolve));
    if (this.#closed) return;
    this.#items.push(...items);
    this.wake();
  }

  #taken(): readonly DryItem[] {
    const items = this.#items.splice(0, MAX_ITEMS);
    for (const resolve of this.#givers.splice(0)) resolve();
    return items;
  }

  async next(): Promise<StreamPiece | undefined> {
    while (!this.#closed && !this.#isNew) await new Promise<void>((resolve) => (this.#wake = resolve));
    if (this.#closed) return undefined;
    const items = this.#taken();
    // What has not been read yet is read before the end.
    this.#isNew = this.#movement.isOver || this.#items.length > 0;
    if (this.#movement.isOver && items.length === 0) {
      this.close();
      return this.#piece('end');
    }
    this.#count += 1;
    return this.#piece(this.#count === 1 ? 'started' : 'progress', items);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.wake();
    this.#taken();
    this.#onClose();
  }

  #piece(type: TransferEvent['type'], items: readonly DryItem[] = []): StreamPiece {
    const named = items.length === 0 ? {} : { items: [...items] };
    const event: TransferEvent = { type, transfer: this.#movement.row(), ...named };
    // The frame of an end says that nothing follows.
    const frame = type === 'end' ? FRAME.exit : FRAME.event;
    return { type: frame, bytes: Buffer.from(JSON.stringify(event)), cursor: this.#count };
  }
}

/** The stream of a movement that has ended: its end. */
export const endedStream = (transfer: Transfer): StreamSource => {
  let given = false;
  return {
    next: async () => {
      if (given) return undefined;
      given = true;
      const event: TransferEvent = { type: 'end', transfer };
      return { type: FRAME.exit, bytes: Buffer.from(JSON.stringify(event)), cursor: 1 };
    },
    close: () => undefined,
  };
};
