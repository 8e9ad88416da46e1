import type { Clock } from '../../kernel/clock.ts';
import { randomHex } from '../../kernel/ids.ts';
import { type ErrorName, LoopsyError } from '../../protocol/errors.ts';
import { FRAMES_TYPE } from '../../protocol/frames.ts';
import { type Operation, takesBytes } from '../../protocol/operation.ts';
import { type IdOf, type OperationId, type OutputOf, type ParsedInputOf, rowOf } from '../../protocol/operations.ts';
import { isRecord, parseFields } from '../../protocol/record.ts';
import type { Caller } from '../../trust/caller.ts';
import type { ByteAnswer, StreamSource } from '../edge/call.ts';
import type { EffectAnswer } from '../edge/effects.ts';
import { FrameSource } from '../edge/frame-source.ts';
import type { ForwardRequest, ObjectOwners, Target } from '../edge/parts.ts';
import { passedBytes } from './passed-bytes.ts';
import { askNode, effectIdOf, type Exchange, objectIn, type PeerWay, readAnswer, send } from './exchange.ts';
import { errorOfPeer, peerError } from './peer-errors.ts';
import { ResumedSource } from './resumed-source.ts';
import { type Attempt, retry } from './retry.ts';

/** What forwarding needs. */
export interface ForwardParts {
  readonly way: (nodeId: string) => PeerWay;
  readonly owners: ObjectOwners;
  readonly clock: Clock;
}

/** What a peer is asked. */
interface PeerQuestion<Id extends IdOf<'json'>> {
  readonly id: Id;
  readonly input: ParsedInputOf<Id>;
  /** In whose name. */
  readonly caller: Caller;
  readonly signal: AbortSignal;
}

const CANCEL_MS = 5000;
const MAX_ANSWER_BYTES = 33_554_432;

const ignore = (): void => undefined;

/** What a peer says of an object that it knew before. */
const FORGOTTEN: ReadonlySet<ErrorName> = new Set(['job_not_found', 'transfer_not_found']);

/** A run's stream is output, counted by a cursor. */
const isRun = ({ object }: Operation): boolean => object?.kind === 'job';

/** A stream that a peer has begun to answer with. */
interface Opened {
  readonly source: FrameSource;
  readonly object: string | undefined;
}

/** Carries requests to peers: twice authorised, travelling once, its effect happening once. */
export class Forward {
  readonly #parts: ForwardParts;

  constructor(parts: ForwardParts) {
    this.#parts = parts;
  }

  /** Asks a peer in a caller's name. @throws {LoopsyError} what the peer answered, or why it could not be asked. */
  async ask<Id extends IdOf<'json'>>(
    target: Target,
    { id, input, caller, signal }: PeerQuestion<Id>,
  ): Promise<OutputOf<Id>> {
    const call = { caller, signal, operation: id, requestId: randomHex(16), digest: '', resumable: false };
    const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
    const asked = { target, id, op: rowOf(id), input: given, call: { ...call, announce: ignore, note: ignore } };
    const { status, body } = await this.json(asked);
    if (status >= 400) throw errorOfPeer(body, target.name);
    // The peer has encoded it by the same schema.
    return JSON.parse(body) as OutputOf<Id>;
  }

  /** A buffered or byte-body operation; the answer's text passes as it is. */
  async json(request: ForwardRequest): Promise<EffectAnswer> {
    const exchange = this.#exchange(request, 'application/json');
    return this.#retrying(exchange, async (repeatAgeMs) => {
      const answer = await send(exchange, repeatAgeMs);
      const object = objectIn(answer);
      if (object !== undefined && request.op.object?.role === 'creates') request.call.announce(object);
      const body = await readAnswer(answer, MAX_ANSWER_BYTES);
      const { status = 200 } = request.op;
      if (answer.statusCode !== status)
        return { ...passError(answer.statusCode ?? 0, body, exchange.way.name), object };
      return { status, body: this.#filtered(request, body), object };
    });
  }

  /** Bytes, as they come; what cuts them on the way is told to who reads them. */
  async bytes(request: ForwardRequest): Promise<ByteAnswer | EffectAnswer> {
    const exchange = this.#exchange(request, 'application/octet-stream');
    const { name } = exchange.way;
    return this.#retrying(exchange, async (repeatAgeMs) => {
      const answer = await send(exchange, repeatAgeMs);
      const { statusCode = 0 } = answer;
      if (statusCode === 200 || statusCode === 206) return passedBytes(answer, name);
      return { ...passError(statusCode, await readAnswer(answer, MAX_ANSWER_BYTES), name), object: undefined };
    });
  }

  /** A stream, resumed by cursor each time the link breaks. */
  async stream(request: ForwardRequest): Promise<StreamSource> {
    const exchange = this.#exchange(request, FRAMES_TYPE);
    const opened = await this.#open(exchange, { since: Number(request.input['since'] ?? 0), begun: false });
    if (opened.object !== undefined && request.op.object?.role === 'creates') request.call.announce(opened.object);
    return new ResumedSource(opened.source, {
      reopen: (cursor) => this.#reopen(exchange, opened.object, cursor),
      leave: () => {
        if (request.op.effect && request.call.signal.aborted) void this.#cancel(request);
      },
    });
  }

  #exchange(request: ForwardRequest, accept: string): Exchange {
    return { request, way: this.#parts.way(request.target.nodeId), op: request.op, input: request.input, accept };
  }

  #open(exchange: Exchange, { since, begun }: { since: number; begun: boolean }): Promise<Opened> {
    const open = async (repeatAgeMs: number | undefined): Promise<Opened> => {
      const answer = await send(exchange, repeatAgeMs);
      if (answer.statusCode !== 200) throw errorOfPeer(await readAnswer(answer, MAX_ANSWER_BYTES), exchange.way.name);
      return { source: new FrameSource(answer, since, isRun(exchange.op)), object: objectIn(answer) };
    };
    return this.#retrying(exchange, open, begun);
  }

  async #reopen(exchange: Exchange, object: string | undefined, cursor: number): Promise<FrameSource> {
    const { op, input } = exchange;
    // The table names the operation as text, so that a row can point forward.
    const id = (op.resumeWith ?? exchange.request.id) as OperationId;
    const named = op.resumeWith === undefined ? input : { [op.object?.field ?? '']: object };
    // A stream without a cursor begins with how things are.
    const next = isRun(op) || cursor > 0 ? { ...named, since: cursor } : named;
    try {
      const opened = await this.#open({ ...exchange, op: rowOf(id), input: next }, { since: cursor, begun: true });
      return opened.source;
    } catch (error) {
      if (!(error instanceof LoopsyError) || !FORGOTTEN.has(error.error)) throw error;
      const what = isRun(op) ? 'run' : 'transfer';
      const message = `${exchange.way.name} restarted and no longer knows this ${what}`;
      throw new LoopsyError('outcome_unknown', { message, cause: error });
    }
  }

  /** As `retry`; where the caller has left, the peer is told, so that what it started ends now. */
  async #retrying<T>(exchange: Exchange, attempt: Attempt<T>, begun = false): Promise<T> {
    const { op, request } = exchange;
    try {
      return await retry(exchange, attempt, { clock: this.#parts.clock, begun });
    } catch (error) {
      if (request.call.signal.aborted && op.effect && !takesBytes(op)) void this.#cancel(request);
      throw error;
    }
  }

  async #cancel({ target, call }: ForwardRequest): Promise<void> {
    try {
      const { link } = this.#parts.way(target.nodeId);
      const input = { requestId: effectIdOf(call) };
      (await askNode(link, 'request.cancel', { input, limitMs: CANCEL_MS })).resume();
    } catch {
      // The peer ends it by itself when nobody asks again within its patience.
    }
  }

  /** Rows that other callers of this machine started are left out of lists. */
  #filtered({ op, call }: ForwardRequest, body: string): string {
    const rule = op.object;
    if (rule?.role !== 'lists' || rule.list === undefined || call.caller.kind === 'owner') return body;
    const answer = parseFields(body);
    const rows = answer?.[rule.list];
    if (!Array.isArray(rows)) return body;
    const mine = rows.filter((row: unknown) => {
      const id = isRecord(row) ? row[rule.field] : undefined;
      return typeof id === 'string' && this.#parts.owners.maySee(call.caller, id);
    });
    return JSON.stringify({ ...answer, [rule.list]: mine });
  }
}

/** A peer's error is passed on as it is, names of a newer version too; what is none is not. */
const passError = (status: number, body: string, name: string): { status: number; body: string } => {
  const error = status >= 400 && status <= 599 ? peerError(body, name) : undefined;
  if (error !== undefined && error.cause === undefined) return { status, body };
  const own = error ?? errorOfPeer('', name);
  return { status: own.status, body: JSON.stringify(own.toBody()) };
};
