import type { ContextEvent } from '../../protocol/context.ts';
import { FRAME } from '../../protocol/frames.ts';
import type { Entry, Seen } from '../../store/store.ts';
import type { ToWall } from '../../store/wall-time.ts';
import type { StreamPiece } from '../edge/call.ts';
import { entryOf, PREFIX } from './record.ts';

/** A change, as watchers are told of it: encoded once for all of them, when the first one takes it. */
export interface Item {
  readonly key: string;
  readonly revision: number;
  /** About what it holds in memory. */
  readonly size: number;
  readonly piece: StreamPiece;
}

/** An event as a piece of the stream. */
export const pieceOf = (event: ContextEvent): StreamPiece => ({
  type: FRAME.event,
  bytes: Buffer.from(JSON.stringify(event)),
  cursor: event.cursor,
});

/** An entry that is there, as a snapshot tells it: who is cut in the middle of one begins anew. */
export const snapshotPiece = (entry: Entry, toWall: ToWall): StreamPiece =>
  pieceOf({ cursor: 0, type: 'set', entry: entryOf(entry, toWall) });

/** What followers of the store are told, for watchers. */
export const itemOf = (seen: Seen, toWall: ToWall): Item => new Change(seen, toWall);

class Change implements Item {
  readonly key: string;
  readonly revision: number;
  readonly size: number;
  readonly #toWall: ToWall;
  /** What was seen, until it is encoded: both would be twice as much. */
  #told: Seen | StreamPiece;

  constructor(seen: Seen, toWall: ToWall) {
    const { key, revision, entry } = seen;
    this.key = key.slice(PREFIX.length);
    this.revision = revision;
    this.size = 100 + key.length + (entry?.value.length ?? 0);
    this.#toWall = toWall;
    this.#told = seen;
  }

  get piece(): StreamPiece {
    const piece = 'bytes' in this.#told ? this.#told : this.#encode(this.#told);
    this.#told = piece;
    return piece;
  }

  #encode({ entry, expired, isLast }: Seen): StreamPiece {
    const { key, revision } = this;
    // Who is cut between two changes of one commit hears of both again.
    const cursor = isLast ? revision : revision - 1;
    return entry === undefined
      ? pieceOf({ cursor, type: 'delete', key, revision, ...(expired ? { expired: true } : {}) })
      : pieceOf({ cursor, type: 'set', entry: entryOf(entry, this.#toWall) });
  }
}
