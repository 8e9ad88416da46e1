import type { Readable } from 'node:stream';

import type { IdOf, OperationId, OutputOf, ParsedInputOf } from '../../protocol/operations.ts';
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
  /** True where who was cut goes on behind its cursor: a reader that takes nothing is cut then, whoever it is. */
  readonly resumes?: boolean;
  /** The next piece; `undefined` at the end. Resolves with `undefined` too when `close` was called. */
  next(): Promise<StreamPiece | undefined>;
  /** The reader is done or gone. Called exactly once. */
  close(): void;
}

/** An answer of bytes. */
export interface ByteAnswer {
  /** 206 where a part was asked for. Default 200. */
  readonly status?: 206;
  /** Lower-case names; never the hop-by-hop ones. */
  readonly headers: Readonly<Record<string, string>>;
  /** The bytes' count, where it is known and no trailer follows: sent as content-length. */
  readonly length?: number;
  /**
   * Each chunk is good until the next is asked for: it is written, and its write's callback awaited, before that.
   * The first is always asked for; who wants no more says so by `return`, which may come while one is on its way.
   */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** What follows the bytes, once they have all been given (HTTP trailers; the names are announced). */
  readonly trailer?: { readonly names: readonly string[]; read(): Readonly<Record<string, string>> };
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
  readonly repeatAgeMs?: number | undefined;
  /** For whom the other node asks: for records only. */
  readonly onBehalfOf?: string | undefined;
  /** The other end's address, for records and for where a peer can be found. */
  readonly remoteAddress?: string | undefined;
  /** Aborted with a reason (`client-gone`, `cancel`, `revoked`, `shutdown`) when the answer is no longer wanted. */
  readonly signal: AbortSignal;
  /** Names the new object, before the answer: the way to reach it while it lives. */
  announce(objectId: string): void;
  /** Adds to the audit record what the input does not say; secrets and contents are never among it. */
  note(facts: Readonly<Record<string, unknown>>): void;
  /** The byte body of an upload or an exchange: who takes it asks its client for it. Who wants no more of it leaves it: destroying it would take the answer with it. */
  readonly body?: Readable | undefined;
  /** How many bytes that body has, where the client said so before it. */
  readonly bodyLength?: number | undefined;
  /** What that body is; of a form `multipart/form-data` with a sound boundary, and nothing else. */
  readonly contentType?: string | undefined;
  /** Download only: which part of the bytes is wanted, in the words of the request's `Range`. */
  readonly range?: string | undefined;
}

/** What an operation's handler returns: its bytes, the source of its events, or its output. */
type Result<Id extends OperationId> = Id extends IdOf<'download'> | IdOf<'exchange'>
  ? Promise<ByteAnswer>
  : Id extends IdOf<'stream'>
    ? Promise<StreamSource> | StreamSource
    : Promise<OutputOf<Id>> | OutputOf<Id>;

/** One handler: 1–3 lines that call a service. */
export type Handler<Id extends OperationId> = (input: ParsedInputOf<Id>, call: Call) => Result<Id>;

/** A handler for every operation: a missing one is a compile error. */
export type Handlers = { readonly [Id in OperationId]: Handler<Id> };

/** The handlers of one feature. */
export type HandlersOf<Prefix extends string> = {
  readonly [Id in Extract<OperationId, `${Prefix}.${string}`>]: Handler<Id>;
};
