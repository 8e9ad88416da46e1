import type { Happening, Moved } from '../../protocol/events.ts';
import type { Transfer } from '../../protocol/transfers.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { maySee } from '../../trust/grants.ts';
import type { Publisher } from '../events/bus.ts';

/** What a node tells of the files that it moves, and that others move here: each to its owner, and to who began it. */
export class TransferNews {
  readonly #publisher: Publisher;

  constructor(publisher: Publisher) {
    this.#publisher = publisher;
  }

  started(row: Transfer): void {
    this.#publish({ type: 'transfer.started', transfer: movedOf(row) }, row.caller);
  }

  ended(row: Transfer): void {
    this.#publish({ type: 'transfer.ended', transfer: movedOf(row) }, row.caller);
  }

  /** One file was written or read whole, by one request. */
  oneFile(type: 'file.written' | 'file.read', file: { path: string; bytes: number }, caller: Caller): void {
    const name = callerName(caller);
    this.#publish({ type, file: { ...file, caller: name } }, name);
  }

  #publish(happening: Happening, begunBy: string): void {
    this.#publisher.publish(happening, (caller) => maySee(caller, begunBy));
  }
}

const movedOf = ({ sources, moreSources = 0, ...row }: Transfer): Moved => {
  const { transferId, role, from, to, dest, path, outcome, caller, startedAt, endedAt, files, bytes } = row;
  const { error, message } = row;
  return {
    transferId,
    role,
    from,
    to,
    source: sources[0] ?? '',
    more: Math.max(0, sources.length - 1) + moreSources,
    dest,
    path,
    outcome,
    caller,
    startedAt,
    endedAt,
    files,
    bytes,
    error,
    message,
  };
};
