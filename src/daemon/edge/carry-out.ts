import { LoopsyError } from '../../protocol/errors.ts';
import type { Operation } from '../../protocol/operation.ts';
import { rowOf, type OperationId } from '../../protocol/operations.ts';
import { HEADERS } from '../../protocol/requests.ts';
import { noteInput, recordRequest } from './audit-hook.ts';
import type { Call, Handler, StreamSource } from './call.ts';
import type { EffectAnswer } from './effects.ts';
import { toLoopsyError } from './error-reply.ts';
import { askForBody, type Exchange, sendJsonText } from './exchange.ts';
import { gatherInput, validate } from './input.ts';
import { allowIdleBody, socketFacts } from './listener.ts';
import { endedByNode } from './open-requests.ts';
import type { EdgeParts, Target } from './parts.ts';
import { allowTarget, callerNow, digestOf, effectKey } from './request-state.ts';
import { replyStream } from './stream-reply.ts';
import { replyText } from './text-reply.ts';

/** A long answer's record doesn't wait for its end. */
const RECORD_MS = 500;

/** One admitted request on its way. */
interface Run {
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
  /** That the object which it makes on a peer is remembered, where it is to outlive the request. */
  remembered: Promise<void> | undefined;
}

/** Validates an admitted request, has it handled here or by a peer, and answers. @throws whatever the handler does. */
export const carryOut = async (id: OperationId, exchange: Exchange, parts: EdgeParts): Promise<void> => {
  const op = rowOf(id);
  const { request, response, state } = exchange;
  const controller = new AbortController();
  // Open from here on: a revocation reaches it while its body is still on the way.
  const forget = parts.open.add({
    caller: state.caller,
    operation: id,
    get peer() {
      return state.target?.nodeId;
    },
    requestId: state.requestId,
    controller,
    callerNow: () => callerNow(exchange, parts),
    cut: () => {
      if (!response.writableFinished) response.destroy();
    },
  });
  response.once('close', () => {
    forget();
    if (!response.writableFinished && !state.resumable) controller.abort('client-gone');
  });
  const input = validate(op, await gatherInput(op, exchange));
  refuseEnded(controller.signal);
  noteInput(state, op, input);
  findObject(exchange, { op, input }, parts);
  const digest = state.resumable ? digestOf(id, state.target, input) : '';
  // The answer of a run that is streamed is its output, which is kept; that of bytes is given once.
  if (state.resumable && op.kind !== 'json') parts.effects.claim(effectKey(state), digest);
  const run: Run = { id, op, exchange, input, digest, target: state.target, controller, remembered: undefined };
  if (op.text !== undefined) return answerText(run, op.text, parts);
  if (op.kind === 'upload') {
    allowIdleBody(request);
    askForBody(exchange);
  }
  return op.kind === 'stream' ? sendStream(run, parts) : sendJson(run, parts);
};

/** @throws why the node itself has ended the request, where it has. */
const refuseEnded = (signal: AbortSignal): void => {
  const ended = endedByNode(signal);
  if (ended !== undefined) throw ended;
};

/** An id alone is enough for what was started from here, by its starter. */
const findObject = (
  { state, request }: Exchange,
  { op, input }: { op: Operation; input: Record<string, unknown> },
  parts: EdgeParts,
): void => {
  if (op.object?.role !== 'uses') return;
  const objectId = String(input[op.object.field]);
  const found = state.target ?? (state.caller.kind === 'peer' ? undefined : parts.forwarder.locate(objectId));
  if (found === undefined) return;
  if (state.target === undefined) allowTarget(state, { target: found, op, facts: socketFacts(request.socket) }, parts);
  if (parts.owners.maySee(state.caller, objectId)) return;
  throw new LoopsyError('job_not_found', { message: `no job ${objectId} was started by this caller` });
};

/** @param named is told the id of the object that the call makes. */
const callOf = (
  run: Run,
  signal: AbortSignal,
  { parts, named }: { parts: EdgeParts; named: (id: string) => void },
): Call => {
  const { exchange } = run;
  const { request, state } = exchange;
  const onBehalfOf = request.headers[HEADERS.onBehalfOf];
  const { remoteAddress } = socketFacts(request.socket);
  const repeatAgeMs = repeatAgeOf(exchange, parts);
  return {
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
      state.audited['jobId'] = objectId;
      remember(run, objectId, parts);
      // A run that can't begin says so at once; one that goes on is in the log before it ends.
      parts.clock.after(RECORD_MS, () => recordRequest(exchange, { statusCode: 200, decision: 'allowed' }, parts));
    },
    ...(run.op.kind === 'upload' ? { body: request } : {}),
  };
};

/** Who started an object on a peer. */
const remember = (run: Run, objectId: string, { owners }: EdgeParts): void => {
  const { target, op, input } = run;
  const { caller } = run.exchange.state;
  if (target === undefined) return;
  const isLasting = op.object?.lasting !== undefined && input[op.object.lasting] === true;
  if (!isLasting) return owners.record(objectId, target, caller);
  run.remembered = owners.keep(objectId, target, caller).catch((cause: unknown) => {
    throw new LoopsyError('internal', {
      message: `${objectId} has begun on ${target.name}, but that could not be written down here: ${cause instanceof Error ? cause.message : String(cause)}`,
      hint: `it is found there: \`loopsy jobs show --peer ${target.name} ${objectId}\``,
      cause,
    });
  });
  // It is waited for before the answer.
  run.remembered.catch(() => undefined);
};

/** The handler of an operation. The table types each handler by its own row; here all rows are treated alike. */
const handle = (run: Run, call: Call, parts: EdgeParts): unknown => {
  // `input` was validated by the same row that types the handler.
  const handler = parts.handlers[run.id] as Handler<OperationId>;
  return handler(run.input, call);
};

const jobIdIn = ({ jobId }: Record<string, unknown>): string => (typeof jobId === 'string' ? jobId : '');

const answerOf = async (run: Run, signal: AbortSignal, parts: EdgeParts): Promise<EffectAnswer> => {
  let object: string | undefined;
  const call = callOf(run, signal, { parts, named: (id) => (object = id) });
  try {
    if (run.target !== undefined) {
      const answer = await parts.forwarder.json({ ...run, target: run.target, call });
      await run.remembered;
      return answer;
    }
    const output = await handle(run, call, parts);
    return { status: run.op.status ?? 200, body: JSON.stringify(output), object };
  } catch (thrown) {
    const error = toLoopsyError(thrown, parts.log);
    return { status: error.status, body: JSON.stringify(error.toBody()), object, error };
  }
};

const sendJson = async (run: Run, parts: EdgeParts): Promise<void> => {
  const { exchange, op } = run;
  const answer = await (exchange.state.resumable && op.kind === 'json'
    ? answerOnce(run, parts)
    : answerOf(run, run.controller.signal, parts));
  refuseEnded(run.controller.signal);
  if (answer.error !== undefined) throw answer.error;
  nameObject(run, answer.object);
  const decision = answer.status < 400 ? 'allowed' : nameIn(answer.body);
  recordRequest(exchange, { statusCode: answer.status, decision }, parts);
  if (op.auditFirst === true) await parts.audit.flush();
  sendJsonText(exchange, answer.status, answer.body);
};

/** The error's name in an answer that another node made. */
const nameIn = (body: string): string => /"name":"([a-z_]+)"/.exec(body)?.[1] ?? 'failed';

/** Headers that say which object and which node the answer is about. */
const nameObject = ({ exchange, target }: Run, object: string | undefined): void => {
  if (object !== undefined) exchange.response.setHeader(HEADERS.object, object);
  if (target !== undefined) exchange.response.setHeader(HEADERS.node, target.nodeId);
};

/**
 * For how long the first result may have been kept, where this is a repeat.
 * @throws {LoopsyError} `outcome_unknown` for a repeat of what another start of this node was asked.
 */
const repeatAgeOf = ({ request }: Exchange, parts: EdgeParts): number | undefined => {
  const header = request.headers[HEADERS.repeat];
  if (header === undefined) return undefined;
  const [boot, age] = String(header).split('.');
  if (boot !== parts.boot || !/^\d{1,15}$/.test(age ?? '')) throw new LoopsyError('outcome_unknown');
  return Number(age);
};

/** What makes an object here gives a repeat the object that it made. */
const knowsRepeats = ({ op, target }: Run): boolean => target === undefined && op.object?.role === 'creates';

const answerOnce = (run: Run, parts: EdgeParts): Promise<EffectAnswer> => {
  const { state, response } = run.exchange;
  const repeatAgeMs = repeatAgeOf(run.exchange, parts);
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort('client-gone');
  });
  const key = effectKey(state);
  return parts.effects.once(
    key,
    (signal) => {
      // A cancel or a revocation of the request that began it ends the effect too.
      const { signal: mine } = run.controller;
      mine.addEventListener('abort', () => parts.effects.cancel(key, String(mine.reason)), { once: true });
      return answerOf(run, signal, parts);
    },
    { digest: run.digest, gone: gone.signal, repeatAgeMs, knowsRepeats: knowsRepeats(run) },
  );
};

const sendStream = async (run: Run, parts: EdgeParts): Promise<void> => {
  const { exchange, input, controller } = run;
  let object: string | undefined;
  const call = callOf(run, controller.signal, { parts, named: (id) => (object = id) });
  // A stream operation's handler returns a source.
  const source = await (run.target === undefined
    ? (handle(run, call, parts) as Promise<StreamSource>)
    : parts.forwarder.stream({ ...run, target: run.target, call }));
  await run.remembered?.catch((thrown: unknown) => {
    source.close();
    throw thrown;
  });
  recordRequest(exchange, { statusCode: 200, decision: 'allowed' }, parts);
  nameObject(run, object);
  await replyStream(source, {
    request: exchange.request,
    response: exchange.response,
    jobId: object ?? jobIdIn(input),
    since: Number(input['since'] ?? 0),
    waitMs: Number(input['wait'] ?? 0),
    signal: controller.signal,
    clock: parts.clock,
    log: parts.log,
  });
};

/** An answer of this node's own that is no JSON: it makes nothing, and is not forwarded. */
const answerText = async (run: Run, type: string, parts: EdgeParts): Promise<void> => {
  const { exchange, controller } = run;
  const call = callOf(run, controller.signal, { parts, named: () => undefined });
  const text = String(await handle(run, call, parts));
  refuseEnded(controller.signal);
  recordRequest(exchange, { statusCode: 200, decision: 'allowed' }, parts);
  replyText(exchange, { type, text });
};
