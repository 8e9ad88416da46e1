import { LoopsyError } from '../../protocol/errors.ts';
import { type Operation, takesBytes } from '../../protocol/operation.ts';
import type { OperationId } from '../../protocol/operations.ts';
import { HEADERS } from '../../protocol/requests.ts';
import { recordRequest } from './audit-hook.ts';
import type { Call, Handler } from './call.ts';
import { askForBody, type Exchange } from './exchange.ts';
import { socketFacts } from './listener.ts';
import { rememberObject } from './objects.ts';
import { endedByNode } from './open-requests.ts';
import type { EdgeParts, Target } from './parts.ts';

/** A long answer's record doesn't wait for its end. */
const RECORD_MS = 500;

/** One admitted request on its way. */
export interface Run {
  readonly id: OperationId;
  readonly op: Operation;
  readonly exchange: Exchange;
  readonly input: Record<string, unknown>;
  /** What a repeat of it is told from another request by. */
  readonly digest: string;
  /** The peer that carries it out; undefined: this node. */
  readonly target: Target | undefined;
  /** Aborted where the answer is no longer wanted: client gone, cancelled, revoked. */
  readonly controller: AbortController;
  /** What its body is. */
  readonly contentType: string | undefined;
  /** That the object which it makes on a peer is remembered, where it is to outlive the request. */
  remembered: Promise<void> | undefined;
}

/** @throws why the node itself has ended the request, where it has. */
export const refuseEnded = (signal: AbortSignal): void => {
  const ended = endedByNode(signal);
  if (ended !== undefined) throw ended;
};

/** What the handler of a run is told of it. @param named is told the id of the object that the call makes. */
export const callOf = (
  run: Run,
  signal: AbortSignal,
  { parts, named }: { parts: EdgeParts; named: (id: string) => void },
): Call => {
  const { exchange } = run;
  const { request, state } = exchange;
  const onBehalfOf = request.headers[HEADERS.onBehalfOf];
  const { remoteAddress } = socketFacts(request.socket);
  const repeatAgeMs = repeatAgeOf(exchange, parts);
  const call: Call = {
    operation: run.id,
    caller: state.caller,
    requestId: state.requestId,
    digest: run.digest,
    resumable: state.resumable,
    ...(repeatAgeMs === undefined ? {} : { repeatAgeMs }),
    ...(typeof onBehalfOf === 'string' ? { onBehalfOf } : {}),
    ...(remoteAddress === undefined ? {} : { remoteAddress }),
    signal,
    announce: (objectId) => {
      named(objectId);
      const { op, target } = run;
      state.audited[op.object?.field ?? 'jobId'] = objectId;
      if (target !== undefined) run.remembered = rememberObject(objectId, { ...run, target }, parts);
      // A run that can't begin says so at once; one that goes on is in the log before it ends.
      parts.clock.after(RECORD_MS, () => recordRequest(exchange, { statusCode: 200, decision: 'allowed' }, parts));
    },
    ...bytesOf(run),
  };
  return takesBytes(run.op) ? withBody(call, exchange) : call;
};

/** A body that its client holds back is asked for when somebody takes it: what is refused before is never sent. */
const withBody = (call: Call, exchange: Exchange): Call => {
  let isAsked = false;
  return {
    ...call,
    get body() {
      if (!isAsked) askForBody(exchange);
      isAsked = true;
      return exchange.request;
    },
  };
};

/** What a call is told of the bytes that come with it, or that it is to answer with. */
const bytesOf = ({ op, exchange, contentType }: Run): Pick<Call, 'bodyLength' | 'contentType' | 'range'> => {
  const { request } = exchange;
  const { range, 'content-length': length } = request.headers;
  if (op.kind === 'download') return range === undefined ? {} : { range };
  if (!takesBytes(op)) return {};
  return {
    ...(contentType === undefined ? {} : { contentType }),
    ...(Number.isSafeInteger(Number(length)) ? { bodyLength: Number(length) } : {}),
  };
};

/**
 * For how long the first result may have been kept, where this is a repeat.
 * @throws {LoopsyError} `outcome_unknown` for a repeat of what another start of this node was asked.
 */
export const repeatAgeOf = ({ request }: Exchange, parts: EdgeParts): number | undefined => {
  const header = request.headers[HEADERS.repeat];
  if (header === undefined) return undefined;
  const [boot, age] = String(header).split('.');
  if (boot !== parts.boot || !/^\d{1,15}$/.test(age ?? '')) throw new LoopsyError('outcome_unknown');
  return Number(age);
};

/** The handler of an operation. The table types each handler by its own row; here all rows are treated alike. */
export const handle = (run: Run, call: Call, parts: EdgeParts): unknown => {
  // `input` was validated by the same row that types the handler.
  const handler = parts.handlers[run.id] as Handler<OperationId>;
  return handler(run.input, call);
};

/** Headers that say which object and which node the answer is about. */
export const nameObject = ({ exchange, target }: Run, object: string | undefined): void => {
  if (object !== undefined) exchange.response.setHeader(HEADERS.object, object);
  if (target !== undefined) exchange.response.setHeader(HEADERS.node, target.nodeId);
};
