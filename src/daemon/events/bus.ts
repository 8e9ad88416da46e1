import type { Clock } from '../../kernel/clock.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import type { Event, Happening } from '../../protocol/events.ts';
import { FRAME } from '../../protocol/frames.ts';
import type { ParsedInputOf } from '../../protocol/operations.ts';
import type { Caller } from '../../trust/caller.ts';
import { Shares } from '../../trust/shares.ts';
import type { StreamPiece, StreamSource } from '../edge/call.ts';

/** True where a caller may hear of an event. */
export type MayHear = (caller: Caller) => boolean;

/** Where features say what has happened. */
export interface Publisher {
  publish(happening: Happening, mayHear: MayHear): void;
}

interface Told {
  readonly event: Event;
  readonly mayHear: MayHear;
  /** Made when the first reader takes it. */
  bytes?: Uint8Array;
}

/** What a reader who was away for a moment can still hear. */
const KEPT = 1024;
const SHARES = { what: 'streams of events', each: 32, owner: 256 };
/** Cursors of two starts of a node never meet: one start tells fewer events than this in a millisecond. */
const PER_MS = 1024;

/**
 * What happens on this node, for whoever follows it: one bounded ring that all readers read from, so that a slow one
 * costs nothing and hears of a gap.
 */
export class EventBus implements Service, Publisher {
  readonly name = 'events';
  readonly #clock: Clock;
  readonly #ring: (Told | undefined)[] = [];
  /** The cursor of the first event of this start. */
  readonly #first: number;
  /** The cursor of the next event. */
  #next: number;
  readonly #followers = new Set<EventFollower>();
  readonly #shares = new Shares(SHARES);

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#first = clock.now() * PER_MS + 1;
    this.#next = this.#first;
  }

  async start(): Promise<void> {
    // Nothing is open before the first event.
  }

  async stop(): Promise<void> {
    for (const follower of this.#followers) follower.close();
  }

  /** Tells everybody who may hear it. It costs the publisher no more for a slow reader. */
  publish(happening: Happening, mayHear: MayHear): void {
    const event = { ...happening, at: this.#clock.now() };
    this.#ring[this.#next % KEPT] = { event, mayHear };
    this.#next += 1;
    for (const follower of this.#followers) follower.wake();
  }

  /** What happens from now on, or behind a cursor. @throws {LoopsyError} `too_many_streams`. */
  follow({ since }: ParsedInputOf<'event.follow'>, caller: Caller): StreamSource {
    const release = this.#shares.take(caller);
    const follower: EventFollower = new EventFollower({
      at: since === undefined ? this.#next : since + 1,
      take: (at) => this.#take(at, caller),
      onClose: () => {
        this.#followers.delete(follower);
        release();
      },
    });
    this.#followers.add(follower);
    return follower;
  }

  /** The first event at `at` or behind it that the caller may hear, or where there will be one. */
  #take(at: number, caller: Caller): Taken {
    const oldest = Math.max(this.#first, this.#next - KEPT);
    // A cursor of another start, or of a clock that was ahead, says nothing of what was missed.
    if (at < oldest || at > this.#next) return { piece: this.#gap(oldest), next: oldest };
    for (let cursor = at; cursor < this.#next; cursor += 1) {
      const told = this.#ring[cursor % KEPT];
      if (told?.mayHear(caller) !== true) continue;
      told.bytes ??= Buffer.from(JSON.stringify(told.event));
      return { piece: { type: FRAME.event, bytes: told.bytes, cursor }, next: cursor + 1 };
    }
    return { piece: undefined, next: this.#next };
  }

  #gap(oldest: number): StreamPiece {
    const reason = 'what happened between is not kept any more';
    const gap: Event = { type: 'gap', at: this.#clock.now(), reason };
    return { type: FRAME.event, bytes: Buffer.from(JSON.stringify(gap)), cursor: oldest - 1 };
  }
}

interface Taken {
  readonly piece: StreamPiece | undefined;
  readonly next: number;
}

interface FollowerParts {
  /** The first cursor that is wanted. */
  readonly at: number;
  readonly take: (at: number) => Taken;
  readonly onClose: () => void;
}

/** One reader: a place in the ring. */
class EventFollower implements StreamSource {
  readonly resumes = true;
  readonly #parts: FollowerParts;
  #at: number;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(parts: FollowerParts) {
    this.#parts = parts;
    this.#at = parts.at;
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  async next(): Promise<StreamPiece | undefined> {
    while (!this.#closed) {
      const { piece, next } = this.#parts.take(this.#at);
      this.#at = next;
      if (piece !== undefined) return piece;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.wake();
    this.#parts.onClose();
  }
}
