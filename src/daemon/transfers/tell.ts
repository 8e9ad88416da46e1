import type { Log } from '../../kernel/log.ts';
import type { LoopsyError } from '../../protocol/errors.ts';
import type { Happening, Moved } from '../../protocol/events.ts';
import type { Transfer } from '../../protocol/transfers.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { maySee } from '../../trust/grants.ts';
import type { Publisher } from '../events/bus.ts';

/** What a node tells of the files that it moves, and that others move here: each to its owner, and to who began it. */
export class TransferNews {
  readonly #publisher: Publisher;
  readonly #log: Log;

  constructor(publisher: Publisher, log: Log) {
    this.#publisher = publisher;
    this.#log = log;
  }

  started(row: Transfer): void {
    this.#publish({ type: 'transfer.started', transfer: movedOf(row) }, row.caller);
  }

  ended(row: Transfer): void {
    this.#publish({ type: 'transfer.ended', transfer: movedOf(row) }, row.caller);
    if (row.role === 'target') this.#warn(row.error, row.path ?? row.dest);
  }

  /** One file was written or read whole, by one request. */
  oneFile(type: 'file.written' | 'file.read', file: { path: string; bytes: number }, caller: Caller): void {
    const name = callerName(caller);
    this.#publish({ type, file: { ...file, caller: name } }, name);
  }

  /** One file was not written, or not to its end. */
  oneFailed(path: string, { error, message }: LoopsyError, caller: Caller): void {
    const name = callerName(caller);
    this.#publish({ type: 'file.failed', file: { path, bytes: 0, caller: name, error, message } }, name);
    this.#warn(error, path);
  }

  /** That is for who looks after this machine, whoever was writing. */
  #warn(error: string | undefined, path: string): void {
    if (error === 'disk_full') this.#log.warn('a disk is full', { path });
  }

  #publish(happening: Happening, begunBy: string): void {
    this.#publisher.publish(happening, (caller) => maySee(caller, begunBy));
  }
}

const movedOf = ({ sources, moreSources = 0, ...row }: Transfer): Moved => {
  const { transferId, role, from, to, dest, path, outcome, caller, startedAt, endedAt, files, bytes } = row;
  const { error, message, at } = row;
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
    at,
  };
};
