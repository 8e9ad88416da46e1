import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

import { collectText, TooLarge } from '../../kernel/collect.ts';
import { GatheredChunks } from '../../kernel/gathered-chunks.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { jobIdSchema } from '../../protocol/ids.ts';
import { encodeRequest, type Operation, takesBytes } from '../../protocol/operation.ts';
import { type OperationId, rowOf } from '../../protocol/operations.ts';
import { HEADERS } from '../../protocol/requests.ts';
import { BASE_PATH } from '../../protocol/version.ts';
import { callerName } from '../../trust/caller.ts';
import type { Call } from '../edge/call.ts';
import type { ForwardRequest } from '../edge/parts.ts';
import { type Link, LinkCut, type LinkRequest, SILENCE_MS } from './link.ts';

/** The link to a peer, and what is known of the peer at this moment. */
export interface PeerWay {
  readonly name: string;
  readonly link: Link;
  /** The peer's start that its last handshake named, and since when this node knows it, monotonic. */
  readonly boot: string;
  readonly bootAtMs: number;
  /** Why it is offline, where it is. */
  readonly offline: string | undefined;
}

/** One operation for a peer. */
export interface Exchange {
  readonly request: ForwardRequest;
  readonly way: PeerWay;
  readonly op: Operation;
  readonly input: Readonly<Record<string, unknown>>;
  readonly accept: string;
}

const isLong = ({ kind, limit }: Operation): boolean => kind !== 'json' || limit === 'execute' || limit === 'transfer';

/** A run answers when it has ended, a disk may take its time: there the connection's own life tells whether the peer is there. */
const idleMsOf = (op: Operation): number => (op.kind === 'stream' || !isLong(op) ? SILENCE_MS : 0);

/** What the peer knows an effect by. To it all of this machine is one caller: an id that one chose is never another's. */
export const effectIdOf = ({ requestId, resumable, caller }: Call): string =>
  resumable
    ? createHash('sha256')
        .update(`${callerName(caller)}\n${requestId}`)
        .digest('hex')
        .slice(0, 32)
    : requestId;

const contentTypeOf = (op: Operation, { contentType }: Call): string => {
  if (!takesBytes(op)) return 'application/json';
  return op.form === true && contentType !== undefined ? contentType : 'application/octet-stream';
};

const headersOf = (
  { request, way, op, accept }: Exchange,
  repeatAgeMs: number | undefined,
): Record<string, string> => ({
  accept,
  'content-type': contentTypeOf(op, request.call),
  ...(op.kind === 'download' && request.call.range !== undefined ? { range: request.call.range } : {}),
  ...(op.effect ? { [HEADERS.requestId]: effectIdOf(request.call) } : {}),
  ...(op.effect && repeatAgeMs !== undefined ? { [HEADERS.repeat]: `${way.boot}.${repeatAgeMs}` } : {}),
  [HEADERS.onBehalfOf]: callerName(request.call.caller),
});

/** The bytes of an upload as they come. Where the peer wants no more of them, its answer is on the way to who sends them. */
const bytesOf = ({
  call,
  body,
  bodyLength = call.bodyLength,
}: ForwardRequest): Pick<LinkRequest, 'body' | 'bodyLength'> => {
  const length = bodyLength === undefined ? {} : { bodyLength };
  if (body !== undefined) return { body, ...length };
  return call.body === undefined ? {} : { body: new GatheredChunks(call.body, () => undefined), ...length };
};

/**
 * Sends it, built anew from the validated input; `repeatAgeMs` is there on a repeat.
 * @throws as `Link.request` does.
 */
export const send = (exchange: Exchange, repeatAgeMs: number | undefined): Promise<IncomingMessage> => {
  const { op, request, way } = exchange;
  const { path, body } = encodeRequest(op, exchange.input);
  return way.link.request({
    method: op.method,
    path: `${BASE_PATH}${path}`,
    headers: headersOf(exchange, repeatAgeMs),
    ...(takesBytes(op) ? bytesOf(request) : body === undefined ? {} : { body }),
    long: isLong(op),
    idleMs: idleMsOf(op),
    signal: request.call.signal,
  });
};

/** Asks for an operation of nodes among themselves, which takes `limitMs` at the most, a new connection included. */
export const askNode = (
  link: Link,
  id: OperationId,
  { input, limitMs }: { input: Readonly<Record<string, unknown>>; limitMs: number },
): Promise<IncomingMessage> => {
  const op = rowOf(id);
  const { path, body } = encodeRequest(op, input);
  return link.request({
    method: op.method,
    path: `${BASE_PATH}${path}`,
    headers: body === undefined ? {} : { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body }),
    long: false,
    idleMs: limitMs,
    signal: AbortSignal.timeout(limitMs),
  });
};

/**
 * The whole body of an answer.
 * @throws {LinkCut} where the link fails on the way. @throws {LoopsyError} `peer_handshake` above `limitBytes`.
 */
export const readAnswer = async (answer: IncomingMessage, limitBytes: number): Promise<string> => {
  try {
    return await collectText(answer, limitBytes);
  } catch (error) {
    if (answer.errored instanceof LinkCut) throw answer.errored;
    if (!(error instanceof TooLarge)) throw new LinkCut('cut', { sent: true, cause: error });
    answer.destroy();
    throw new LoopsyError('peer_handshake', { message: 'the answer of the peer is too large' });
  }
};

/** The object that the answer is about, where it names one as nodes do. */
export const objectIn = ({ headers }: IncomingMessage): string | undefined => {
  const id = headers[HEADERS.object];
  return jobIdSchema.safeParse(id).data;
};
