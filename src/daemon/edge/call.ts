import type { Readable } from 'node:stream';

import type { OperationId, OutputOf, ParsedInputOf } from '../../protocol/operations.ts';
import type { Caller } from '../../trust/caller.ts';

/** One piece of a stream. For output frames `bytes` is any part of a payload; else it is UTF-8 JSON. */
export interface StreamPiece {
  /** A `FRAME` type. */
  readonly type: number;
  readonly bytes: Uint8Array;
  /** The cursor behind this piece. */
  readonly cursor: number;
}

/**
 * A stream that is pulled: the next piece is asked for when the last one has been taken by the reader, so that
 * back-pressure needs nothing else.
 */
export interface StreamSource {
  /** The next piece; `undefined` at the end. Resolves with `undefined` too when `close` was called. */
  next(): Promise<StreamPiece | undefined>;
  /** The reader is done or gone. Called exactly once. */
  close(): void;
}

/** What a handler knows of the request beside its input. */
export interface Call {
  readonly operation: OperationId;
  readonly caller: Caller;
  /** Unique for each request; for an effect that came over a link: the id that the first node made. */
  readonly requestId: string;
  /** What is asked for, and of which node: two requests with one id and another digest are not repeats. */
  readonly digest: string;
  /** True where the caller can repeat this request and get the same result: its effect outlives a lost connection. */
  readonly resumable: boolean;
  /** There on a repeat: how long ago, in ms, its sender made the first attempt. */
  readonly repeatAgeMs?: number;
  /** For whom the other node asks: for records only. */
  readonly onBehalfOf?: string;
  /** The other end's address, for records and for where a peer can be found. */
  readonly remoteAddress?: string;
  /** Aborted with a reason (`client-gone`, `cancel`, `revoked`, `shutdown`) when the answer is no longer wanted. */
  readonly signal: AbortSignal;
  /** Names the new object, before the answer: the way to reach it while it lives. */
  announce(objectId: string): void;
  /** The byte body of an upload. */
  readonly body?: Readable;
}

/** What an operation's handler returns: its output, or the source of its events. */
type Result<Id extends OperationId> = Promise<OutputOf<Id> | StreamSource> | OutputOf<Id> | StreamSource;

/** One handler: 1–3 lines that call a service. */
export type Handler<Id extends OperationId> = (input: ParsedInputOf<Id>, call: Call) => Result<Id>;

/** A handler for every operation: a missing one is a compile error. */
export type Handlers = { readonly [Id in OperationId]: Handler<Id> };

/** The handlers of one feature. */
export type HandlersOf<Prefix extends string> = {
  readonly [Id in Extract<OperationId, `${Prefix}.${string}`>]: Handler<Id>;
};
