import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import { randomHex } from '../../kernel/ids.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { type Operation } from '../../protocol/operation.ts';
import { OPERATION_IDS, rowOf, type OperationId } from '../../protocol/operations.ts';
import { HEADERS } from '../../protocol/requests.ts';
import { BASE_PATH } from '../../protocol/version.ts';
import { callerName } from '../../trust/caller.ts';
import { admit, allowTarget, beginState, identify, type RequestState } from './request-state.ts';
import { noteInput, recordRequest } from './audit-hook.ts';
import type { Call, Handler, StreamSource } from './call.ts';
import type { EffectAnswer } from './effects.ts';
import { toLoopsyError } from './error-reply.ts';
import { gatherInput, validate } from './input.ts';
import { allowIdleBody, promote, socketFacts } from './listener.ts';
import type { OpenRequest } from './open-requests.ts';
import type { EdgeParts, Target } from './parts.ts';
import { replyStream } from './stream-reply.ts';

declare module 'fastify' {
  interface FastifyRequest {
    state: RequestState;
  }
  interface FastifyContextConfig {
    operation?: OperationId;
  }
}

const JSON_TYPE = 'application/json; charset=utf-8';

/** One request on its way through a handler. */
interface Run {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly id: OperationId;
  readonly op: Operation;
  readonly state: RequestState;
  readonly input: Record<string, unknown>;
  readonly target: Target | undefined;
  /** Aborted where the answer is no longer wanted: client gone, cancelled, revoked. */
  readonly controller: AbortController;
}

/**
 * Binds every operation of the table: caller → scope → rate → validate → reach and ownership → handle or forward →
 * encode → audit, once for all of them.
 */
export const bindOperations = (app: FastifyInstance, parts: EdgeParts): void => {
  // Bodies are read by the operation, after its caller is decided.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  app.addHook('onRequest', (request, reply, done) => done(letIn(request, reply, parts)));
  app.setErrorHandler((error, request, reply) => sendError(error, { request, reply, parts }));
  app.setNotFoundHandler((request) => {
    throw new LoopsyError('unknown_route', { message: `there is no route ${request.method} ${request.url.split('?', 1)[0] ?? ''}` });
  });
  for (const id of OPERATION_IDS) {
    const op = rowOf(id);
    app.route({
      method: op.method,
      url: `${BASE_PATH}${op.path}`,
      exposeHeadRoute: false,
      config: { operation: id },
      handler: (request, reply) => carryOut(id, { request, reply, parts }),
    });
  }
};

const letIn = (request: FastifyRequest, reply: FastifyReply, parts: EdgeParts): Error | undefined => {
  const state = beginState(parts);
  request.state = state;
  try {
    const facts = socketFacts(request.raw.socket);
    const id = request.routeOptions.config.operation;
    state.operation = id;
    const asks = { headers: request.headers, method: request.method, facts, pageFile: false };
    const refusal = identify(state, asks, parts);
    if (state.caller.kind === 'peer') promote(request.raw.socket, callerName(state.caller));
    if (id !== undefined) admit(state, { request, op: rowOf(id), facts, refusal }, parts);
    answerChallenge(request, reply, parts);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
};

const answerChallenge = (request: FastifyRequest, reply: FastifyReply, parts: EdgeParts): void => {
  const challenge = request.headers[HEADERS.challenge];
  if (typeof challenge !== 'string') return;
  const proof = parts.prove(challenge, request.raw.socket.localPort ?? 0);
  if (proof !== undefined) void reply.header(HEADERS.proof, proof);
};

const sendError = async (thrown: unknown, { request, reply, parts }: Bound): Promise<FastifyReply> => {
  const error = toLoopsyError(thrown, parts.log);
  recordRequest(request.state, { request, statusCode: error.status, decision: error.error }, parts);
  if (error.details?.['retryAfterMs'] !== undefined) {
    void reply.header('retry-after', String(Math.ceil(Number(error.details['retryAfterMs']) / 1000)));
  }
  // A body that nobody read would be taken for the next request of the connection.
  if (!request.raw.complete) void reply.header('connection', 'close');
  return reply.code(error.status).type(JSON_TYPE).send(JSON.stringify(error.toBody()));
};

interface Bound {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly parts: EdgeParts;
}

const carryOut = async (id: OperationId, { request, reply, parts }: Bound): Promise<FastifyReply> => {
  const op = rowOf(id);
  const { state } = request;
  const input = validate(op, await gatherInput(op, request));
  noteInput(state, op, input);
  findObject(state, { request, op, input }, parts);
  const { target } = state;
  const run: Run = { request, reply, id, op, state, input, target, controller: new AbortController() };
  if (op.kind === 'upload') allowIdleBody(request.raw);
  const open: OpenRequest = {
    caller: state.caller,
    operation: id,
    peer: target?.nodeId,
    requestId: state.requestId,
    controller: run.controller,
    socket: request.raw.socket,
  };
  parts.open.add(open);
  reply.raw.once('close', () => {
    parts.open.remove(open);
    if (!reply.raw.writableFinished && !state.resumable) run.controller.abort('client-gone');
  });
  return op.kind === 'stream' ? sendStream(run, parts) : sendJson(run, parts);
};

/** An id alone is enough for what was started from here, by its starter. */
const findObject = (state: RequestState, run: { request: FastifyRequest; op: Operation; input: Record<string, unknown> }, parts: EdgeParts): void => {
  const { op, input, request } = run;
  if (op.object?.role !== 'uses') return;
  const objectId = String(input[op.object.field]);
  const found = state.target ?? (state.caller.kind === 'peer' ? undefined : parts.forwarder.locate(objectId));
  if (found === undefined) return;
  if (state.target === undefined) allowTarget(state, found, { op, facts: socketFacts(request.raw.socket) }, parts);
  if (parts.owners.maySee(state.caller, objectId)) return;
  throw new LoopsyError('job_not_found', { message: `no job ${objectId} was started by this caller` });
};

const callOf = (run: Run, signal: AbortSignal, { parts, named }: { parts: EdgeParts; named: (id: string) => void }): Call => {
  const { request, state } = run;
  const onBehalfOf = request.headers[HEADERS.onBehalfOf];
  return {
    operation: run.id,
    caller: state.caller,
    requestId: state.requestId,
    resumable: state.resumable,
    ...(typeof onBehalfOf === 'string' ? { onBehalfOf } : {}),
    signal,
    ...remoteOf(request),
    announce: (objectId) => {
      named(objectId);
      state.audited['jobId'] = objectId;
      if (run.target !== undefined) parts.owners.record(objectId, run.target, state.caller);
      recordRequest(state, { request, statusCode: 200, decision: 'allowed' }, parts);
    },
    ...(run.op.kind === 'upload' ? { body: request.raw } : {}),
  };
};

const remoteOf = (request: FastifyRequest): { remoteAddress?: string } => {
  const { remoteAddress } = socketFacts(request.raw.socket);
  return remoteAddress === undefined ? {} : { remoteAddress };
};

/** The handler of an operation. The table types each handler by its own row; here all rows are treated alike. */
const handlerOf = (id: OperationId, parts: EdgeParts): Handler<OperationId> =>
  // The union of handlers is narrowed by `id`, whose input was validated by the same row.
  parts.handlers[id] as Handler<OperationId>;

const handleHere = (run: Run, call: Call, parts: EdgeParts): Promise<unknown> | unknown =>
  handlerOf(run.id, parts)(run.input as never, call);

const answerOf = async (run: Run, signal: AbortSignal, parts: EdgeParts): Promise<EffectAnswer> => {
  let object: string | undefined;
  const call = callOf(run, signal, { parts, named: (id) => (object = id) });
  try {
    if (run.target !== undefined) return await parts.forwarder.json({ ...run, target: run.target, call });
    const output = await handleHere(run, call, parts);
    return { status: 200, body: JSON.stringify(output), object };
  } catch (thrown) {
    const error = toLoopsyError(thrown, parts.log);
    return { status: error.status, body: JSON.stringify(error.toBody()), object, error };
  }
};

const sendJson = async (run: Run, parts: EdgeParts): Promise<FastifyReply> => {
  const answer = await (run.state.resumable && run.op.kind === 'json'
    ? answerOnce(run, parts)
    : answerOf(run, run.controller.signal, parts));
  if (answer.error !== undefined) return sendError(answer.error, { ...run, parts });
  if (answer.object !== undefined) void run.reply.header(HEADERS.object, answer.object);
  if (run.target !== undefined) void run.reply.header(HEADERS.node, run.target.nodeId);
  const decision = answer.status < 400 ? 'allowed' : nameIn(answer.body);
  recordRequest(run.state, { request: run.request, statusCode: answer.status, decision }, parts);
  if (run.op.auditFirst === true) await parts.audit.flush();
  return run.reply.code(answer.status).type(JSON_TYPE).send(answer.body);
};

/** The error's name in an answer that another node made. */
const nameIn = (body: string): string => /"name":"([a-z_]+)"/.exec(body)?.[1] ?? 'failed';

const answerOnce = async (run: Run, parts: EdgeParts): Promise<EffectAnswer> => {
  const repeatOf = run.request.headers[HEADERS.repeat];
  if (repeatOf !== undefined && repeatOf !== parts.boot) throw new LoopsyError('outcome_unknown');
  const gone = new AbortController();
  run.reply.raw.once('close', () => gone.abort());
  const key = `${callerName(run.state.caller)}\n${run.state.requestId}`;
  return parts.effects.once(
    key,
    (signal) => {
      // A cancel or a revocation of the request that began it ends the effect too.
      run.controller.signal.addEventListener('abort', () => parts.effects.cancel(key, String(run.controller.signal.reason)), { once: true });
      return answerOf(run, signal, parts);
    },
    { gone: gone.signal, repeat: repeatOf !== undefined },
  );
};

const sendStream = async (run: Run, parts: EdgeParts): Promise<FastifyReply> => {
  const repeatOf = run.request.headers[HEADERS.repeat];
  if (repeatOf !== undefined && repeatOf !== parts.boot) throw new LoopsyError('outcome_unknown');
  let object: string | undefined;
  const call = callOf(run, run.controller.signal, { parts, named: (id) => (object = id) });
  // A stream operation's handler returns a source.
  const source = await (run.target === undefined
    ? (handleHere(run, call, parts) as Promise<StreamSource>)
    : parts.forwarder.stream({ ...run, target: run.target, call }));
  recordRequest(run.state, { request: run.request, statusCode: 200, decision: 'allowed' }, parts);
  void run.reply.hijack();
  run.reply.raw.setHeader(HEADERS.requestId, run.state.requestId);
  if (object !== undefined) run.reply.raw.setHeader(HEADERS.object, object);
  if (run.target !== undefined) run.reply.raw.setHeader(HEADERS.node, run.target.nodeId);
  await replyStream(source, {
    request: run.request.raw,
    response: run.reply.raw,
    jobId: object ?? String(run.input['jobId'] ?? ''),
    since: Number(run.input['since'] ?? 0),
    waitMs: Number(run.input['wait'] ?? 0),
    signal: run.controller.signal,
    clock: parts.clock,
    log: parts.log,
  });
  return run.reply;
};

/** A random id for this start of the node. */
export const newBoot = (): string => randomHex(8);
