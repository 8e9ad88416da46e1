import type { ContextEvent } from '../../protocol/context.ts';
import { FRAME } from '../../protocol/frames.ts';
import type { Entry, Seen } from '../../store/store.ts';
import type { StreamPiece } from '../edge/call.ts';
import { entryOf, PREFIX, type ToWall } from './record.ts';

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
export const piecesOf = ({ key: stored, revision, entry, expired, isLast }: Seen, toWall: ToWall): Item => {
  const key = stored.slice(PREFIX.length);
  // Who is cut between two changes of one commit hears of both again.
  const cursor = isLast ? revision : revision - 1;
  let piece: StreamPiece | undefined;
  const make = (): StreamPiece =>
    entry === undefined
      ? pieceOf({ cursor, type: 'delete', key, revision, ...(expired ? { expired: true } : {}) })
      : pieceOf({ cursor, type: 'set', entry: entryOf(entry, toWall) });
  return {
    key,
    revision,
    size: 100 + stored.length + (entry?.value.length ?? 0),
    get piece() {
      return (piece ??= make());
    },
  };
};
