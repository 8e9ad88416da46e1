import { Ending } from '../../kernel/ending.ts';
import { type Kind, type Operation, takesBytes } from '../../protocol/operation.ts';
import { rowOf, type OperationId } from '../../protocol/operations.ts';
import type { Caller } from '../../trust/caller.ts';
import { noteInput, recordRequest } from './audit-hook.ts';
import { replyBytes } from './byte-reply.ts';
import type { ByteAnswer, StreamSource } from './call.ts';
import type { EffectAnswer } from './effects.ts';
import type { OpenRequest } from './open-requests.ts';
import { toLoopsyError } from './error-reply.ts';
import { type Exchange, sendJsonText } from './exchange.ts';
import { formType } from './form-type.ts';
import { gatherInput, validate } from './input.ts';
import { allowIdleBody } from './listener.ts';
import { findObject } from './objects.ts';
import type { EdgeParts } from './parts.ts';
import { callerNow, digestOf, effectKey, refreshCaller, resolvePeers } from './request-state.ts';
import { callOf, handle, nameObject, refuseEnded, repeatAgeOf, type Run } from './run.ts';
import { replyStream } from './stream-reply.ts';
import { replyText } from './text-reply.ts';

/** Validates an admitted request, has it handled here or by a peer, and answers. @throws whatever the handler does. */
export const carryOut = async (id: OperationId, exchange: Exchange, parts: EdgeParts): Promise<void> => {
  const op = rowOf(id);
  const { request, state } = exchange;
  const ending = openRequest(id, exchange, parts);
  const valid = validate(op, await gatherInput(op, exchange));
  refuseEnded(ending);
  noteInput(state, op, valid);
  const input = findPeers(exchange, { op, input: valid }, parts);
  const digest = state.resumable ? digestOf(id, state.target, input) : '';
  // The answer of a run that is streamed is its output, which is kept; that of bytes is given once.
  if (state.resumable && op.kind !== 'json' && !isStep(op)) parts.effects.claim(effectKey(state), digest);
  const contentType = op.form === true ? formType(request.headers['content-type']) : request.headers['content-type'];
  const run: Run = {
    id,
    op,
    exchange,
    input,
    digest,
    target: state.target,
    ending,
    contentType,
    remembered: undefined,
  };
  if (op.text !== undefined) return answerText(run, op.text, parts);
  if (takesBytes(op)) allowIdleBody(request);
  return SEND[op.kind](run, parts);
};

/** A request that a revocation and a cancel can reach. */
class Admitted implements OpenRequest {
  readonly operation: OperationId;
  readonly ending = new Ending();
  readonly #exchange: Exchange;
  readonly #parts: EdgeParts;

  constructor(operation: OperationId, exchange: Exchange, parts: EdgeParts) {
    this.operation = operation;
    this.#exchange = exchange;
    this.#parts = parts;
  }

  get caller(): Caller {
    return this.#exchange.state.caller;
  }

  get requestId(): string {
    return this.#exchange.state.requestId;
  }

  get peers(): readonly string[] {
    const { target, addressed } = this.#exchange.state;
    return target === undefined ? addressed : [target.nodeId, ...addressed];
  }

  callerNow(): Caller {
    return callerNow(this.#exchange, this.#parts);
  }

  cut(): void {
    const { response } = this.#exchange;
    if (!response.writableFinished) response.destroy();
  }
}

/** Lets a revocation and a cancel reach it from here on: while its body is still on the way, too. */
const openRequest = (id: OperationId, exchange: Exchange, parts: EdgeParts): Ending => {
  const { response, state } = exchange;
  const admitted = new Admitted(id, exchange, parts);
  const forget = parts.open.add(admitted);
  response.once('close', () => {
    forget();
    if (!response.writableFinished && !state.resumable) admitted.ending.abort('client-gone');
  });
  return admitted.ending;
};

/** Which peers it is about, by what its caller may now: those that its input names, and the one where its object lives. */
const findPeers = (
  exchange: Exchange,
  { op, input }: { op: Operation; input: Record<string, unknown> },
  parts: EdgeParts,
): Record<string, unknown> => {
  if (op.peers === undefined && op.object?.role !== 'uses') return input;
  refreshCaller(exchange, parts);
  findObject(exchange, { op, input }, parts);
  return resolvePeers(exchange.state, { op, input }, parts);
};

/** What comes by the thousand, each under an id that a node has made, would push out what people may repeat. */
const isStep = (op: Operation): boolean => takesBytes(op) && op.object?.kind === 'transfer';

const jobIdIn = ({ jobId }: Record<string, unknown>): string => (typeof jobId === 'string' ? jobId : '');

const answerOf = async (
  run: Run,
  ending: { readonly signal: AbortSignal },
  parts: EdgeParts,
): Promise<EffectAnswer> => {
  let object: string | undefined;
  const call = callOf(run, { ending, parts, named: (id) => (object = id) });
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
    : answerOf(run, run.ending, parts));
  refuseEnded(run.ending);
  await sendAnswer(run, answer, parts);
};

/** @throws the error that is the answer. */
const sendAnswer = async (run: Run, answer: EffectAnswer, parts: EdgeParts): Promise<void> => {
  const { exchange, op } = run;
  if (answer.error !== undefined) throw answer.error;
  nameObject(run, answer.object);
  const decision = answer.status < 400 ? 'allowed' : nameIn(answer.body);
  recordRequest(exchange, { statusCode: answer.status, decision }, parts);
  if (op.auditFirst === true) await parts.audit.flush();
  sendJsonText(exchange, { status: answer.status, text: answer.body }, parts.clock);
};

/** The error's name in an answer that another node made. */
const nameIn = (body: string): string => /"name":"([a-z_]+)"/.exec(body)?.[1] ?? 'failed';

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
      const { signal: mine } = run.ending;
      mine.addEventListener('abort', () => parts.effects.cancel(key, String(mine.reason)), { once: true });
      return answerOf(run, { signal }, parts);
    },
    { digest: run.digest, gone: gone.signal, repeatAgeMs, knowsRepeats: knowsRepeats(run) },
  );
};

const sendStream = async (run: Run, parts: EdgeParts): Promise<void> => {
  const { exchange, op, input, ending } = run;
  let object: string | undefined;
  const call = callOf(run, { ending, parts, named: (id) => (object = id) });
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
    jobId: op.object?.kind === 'job' ? (object ?? jobIdIn(input)) : '',
    since: Number(input['since'] ?? 0),
    waitMs: Number(input['wait'] ?? 0),
    signal: ending.signal,
    clock: parts.clock,
    log: parts.log,
  });
};

const sendBytes = async (run: Run, parts: EdgeParts): Promise<void> => {
  const { exchange, ending, target, op } = run;
  const call = callOf(run, { ending, parts, named: () => undefined });
  // The handler of a download, and of an exchange, returns bytes.
  const answer = await (target === undefined
    ? (handle(run, call, parts) as Promise<ByteAnswer>)
    : parts.forwarder.bytes({ ...run, target, call }));
  if ('body' in answer) return sendAnswer(run, answer, parts);
  const { request, response } = exchange;
  const onBegin = (): void => {
    recordRequest(exchange, { statusCode: answer.status ?? 200, decision: 'allowed' }, parts);
    nameObject(run, undefined);
  };
  const { clock, log } = parts;
  const isExchange = op.kind === 'exchange';
  return replyBytes(answer, { request, response, signal: ending.signal, clock, log, onBegin, isExchange });
};

/** An answer of this node's own that is no JSON: it makes nothing, and is not forwarded. */
const answerText = async (run: Run, type: string, parts: EdgeParts): Promise<void> => {
  const { exchange, ending } = run;
  const call = callOf(run, { ending, parts, named: () => undefined });
  const text = String(await handle(run, call, parts));
  refuseEnded(ending);
  recordRequest(exchange, { statusCode: 200, decision: 'allowed' }, parts);
  replyText(exchange, { type, text });
};

/** By the shape of its bytes. */
const SEND: Readonly<Record<Kind, (run: Run, parts: EdgeParts) => Promise<void>>> = {
  json: sendJson,
  upload: sendJson,
  stream: sendStream,
  download: sendBytes,
  exchange: sendBytes,
};
