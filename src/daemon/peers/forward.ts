import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

import type { Clock } from '../../kernel/clock.ts';
import { collectText, TooLarge } from '../../kernel/collect.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { FRAME, FRAMES_TYPE } from '../../protocol/frames.ts';
import { jobIdSchema } from '../../protocol/ids.ts';
import { encodeRequest, type Operation } from '../../protocol/operation.ts';
import { OPERATIONS, rowOf, type OperationId } from '../../protocol/operations.ts';
import { HEADERS } from '../../protocol/requests.ts';
import { BASE_PATH } from '../../protocol/version.ts';
import { callerName } from '../../trust/caller.ts';
import type { Call, StreamPiece, StreamSource } from '../edge/call.ts';
import type { EffectAnswer } from '../edge/effects.ts';
import { FrameSource, StreamCut } from '../edge/frame-source.ts';
import type { ForwardRequest, ObjectOwners } from '../edge/parts.ts';
import { type Link, LinkCut, SILENCE_MS } from './link.ts';
import { errorOfPeer, peerError } from './peer-errors.ts';

/** The link to a peer, and what is known of the peer at this moment. */
export interface PeerWay {
  readonly name: string;
  readonly link: Link;
  /** The peer's start that its last handshake named. */
  readonly boot: string;
  readonly offline: string | undefined;
}

/** What forwarding needs. */
export interface ForwardParts {
  readonly way: (nodeId: string) => PeerWay;
  readonly owners: ObjectOwners;
  readonly clock: Clock;
}

/** How long a broken exchange is tried again: shorter than the peer's patience with a lost connection. */
const RETRY_MS = 8000;
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 1000;
/** Handshakes that may be cut off before the first one that is not. */
const MAX_DIALS = 4;
/** From then on a broken exchange gets no more time, however often the peer is reached. */
const MAX_CONTACTS = 2000;
const CANCEL_MS = 5000;
const MAX_ANSWER_BYTES = 33_554_432;

/** Every read of the head and the whole of one answer. */
interface Exchange {
  readonly request: ForwardRequest;
  readonly way: PeerWay;
  readonly op: Operation;
  readonly input: Readonly<Record<string, unknown>>;
  readonly accept: string;
}

const isLong = (op: Operation): boolean => op.kind !== 'json' || op.limit === 'execute';

/** What the peer knows an effect by. To it all of this machine is one caller: an id that one chose is never another's. */
const effectIdOf = ({ requestId, resumable, caller }: Call): string =>
  resumable
    ? createHash('sha256')
        .update(`${callerName(caller)}\n${requestId}`)
        .digest('hex')
        .slice(0, 32)
    : requestId;

const headersOf = (
  { request, way, op, accept }: Exchange,
  repeatAgeMs: number | undefined,
): Record<string, string> => ({
  accept,
  ...(op.kind === 'upload' ? { 'content-type': 'application/octet-stream' } : { 'content-type': 'application/json' }),
  ...(op.effect ? { [HEADERS.requestId]: effectIdOf(request.call) } : {}),
  ...(op.effect && repeatAgeMs !== undefined ? { [HEADERS.repeat]: `${way.boot}.${repeatAgeMs}` } : {}),
  [HEADERS.onBehalfOf]: callerName(request.call.caller),
});

const send = (exchange: Exchange, repeatAgeMs: number | undefined): Promise<IncomingMessage> => {
  const { op, request, way } = exchange;
  const { path, body } = encodeRequest(op, exchange.input);
  const bytes = request.call.body;
  const long = isLong(op);
  return way.link.request({
    method: op.method,
    path: `${BASE_PATH}${path}`,
    headers: headersOf(exchange, repeatAgeMs),
    ...(op.kind === 'upload' && bytes !== undefined ? { body: bytes } : body === undefined ? {} : { body }),
    long,
    // A buffered run answers when it has ended; the connection's own life tells whether the peer is there.
    idleMs: op.kind === 'json' && long ? 0 : SILENCE_MS,
    signal: request.call.signal,
  });
};

const readAll = async (answer: IncomingMessage): Promise<string> => {
  try {
    return await collectText(answer, MAX_ANSWER_BYTES);
  } catch (error) {
    if (!(error instanceof TooLarge)) throw new LinkCut(true, error);
    answer.destroy();
    throw new LoopsyError('peer_handshake', { message: 'the answer of the peer is too large' });
  }
};

const header = (answer: IncomingMessage, name: string): string | undefined => {
  const value = answer.headers[name];
  return typeof value === 'string' ? value : undefined;
};

/** The object that the answer is about, where it names one as nodes do. */
const objectIn = (answer: IncomingMessage): string | undefined => {
  const id = header(answer, HEADERS.object);
  return id !== undefined && jobIdSchema.safeParse(id).success ? id : undefined;
};

/** Carries requests to peers: twice authorised, travelling once, its effect happening once. */
export class Forward {
  readonly #parts: ForwardParts;

  constructor(parts: ForwardParts) {
    this.#parts = parts;
  }

  /** A buffered or byte-body operation; the answer's bytes pass as they are. */
  async json(request: ForwardRequest): Promise<EffectAnswer> {
    const exchange = this.#exchange(request, 'application/json');
    return this.#retrying(exchange, async (repeatAgeMs) => {
      const answer = await send(exchange, repeatAgeMs);
      const object = objectIn(answer);
      if (object !== undefined && request.op.object?.role === 'creates') request.call.announce(object);
      const body = await readAll(answer);
      if (answer.statusCode !== 200) return { ...passError(answer.statusCode ?? 0, body, exchange.way.name), object };
      return { status: 200, body: this.#filtered(request, body), object };
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

  async #open(
    exchange: Exchange,
    { since, begun }: { since: number; begun: boolean },
  ): Promise<{ source: FrameSource; object: string | undefined }> {
    const open = async (
      repeatAgeMs: number | undefined,
    ): Promise<{ source: FrameSource; object: string | undefined }> => {
      const answer = await send(exchange, repeatAgeMs);
      if (answer.statusCode !== 200) throw errorOfPeer(await readAll(answer), exchange.way.name);
      return { source: new FrameSource(answer, since), object: objectIn(answer) };
    };
    return this.#retrying(exchange, open, begun);
  }

  async #reopen(exchange: Exchange, object: string | undefined, cursor: number): Promise<FrameSource> {
    const { op, input } = exchange;
    // The table names the operation as text, so that a row can point forward.
    const id = (op.resumeWith ?? exchange.request.id) as OperationId;
    const field = op.object?.field ?? '';
    const next = op.resumeWith === undefined ? { ...input, since: cursor } : { [field]: object, since: cursor };
    try {
      const opened = await this.#open({ ...exchange, op: rowOf(id), input: next }, { since: cursor, begun: true });
      return opened.source;
    } catch (error) {
      if (!(error instanceof LoopsyError) || error.error !== 'job_not_found') throw error;
      const message = `${exchange.way.name} restarted and no longer knows this run`;
      throw new LoopsyError('outcome_unknown', { message, cause: error });
    }
  }

  /**
   * Tries what may have begun again. With each contact the peer's patience begins anew, and with it the time that is
   * left to an effect; a read gets no more than the first.
   */
  async #retrying<T>(
    exchange: Exchange,
    attempt: (repeatAgeMs: number | undefined) => Promise<T>,
    begun = false,
  ): Promise<T> {
    const { clock } = this.#parts;
    const ageMs = agedSince(clock);
    let maybeDone = begun;
    let endAtMs = clock.monotonicMs() + RETRY_MS;
    let pauseMs = FIRST_PAUSE_MS;
    for (let [contacts, dials] = [0, 0]; ;) {
      try {
        return await attempt(maybeDone ? ageMs() : undefined);
      } catch (error) {
        if (exchange.request.call.signal.aborted) throw this.#abandoned(exchange);
        if (error instanceof LinkCut && error.sent) {
          contacts += 1;
          pauseMs = FIRST_PAUSE_MS;
          if (contacts === 1 || (exchange.op.effect && contacts < MAX_CONTACTS))
            endAtMs = clock.monotonicMs() + RETRY_MS;
          maybeDone = true;
        }
        dials += 1;
        const inTime = maybeDone ? clock.monotonicMs() < endAtMs : wasReset(error) && dials < MAX_DIALS;
        if (!inTime || !canRepeat(error, exchange)) throw finalError(error, exchange, maybeDone);
        await pause(clock, pauseMs);
        pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
      }
    }
  }

  /** The caller is gone: the peer is told, so that what it started ends now. */
  #abandoned(exchange: Exchange): LoopsyError {
    if (exchange.op.effect && exchange.op.kind !== 'upload') void this.#cancel(exchange.request);
    return new LoopsyError('execution_cancelled', { message: 'the request was abandoned' });
  }

  async #cancel(request: ForwardRequest): Promise<void> {
    const op = OPERATIONS['request.cancel'];
    const { path } = encodeRequest(op, { requestId: effectIdOf(request.call) });
    const signal = AbortSignal.timeout(CANCEL_MS);
    try {
      const { link } = this.#parts.way(request.target.nodeId);
      const to = { method: op.method, path: `${BASE_PATH}${path}`, headers: {} };
      const answer = await link.request({ ...to, long: false, idleMs: CANCEL_MS, signal });
      answer.resume();
    } catch {
      // The peer ends it by itself when nobody asks again within its patience.
    }
  }

  /** Rows that other callers of this machine started are left out of lists. */
  #filtered({ op, call }: ForwardRequest, body: string): string {
    const rule = op.object;
    if (rule?.role !== 'lists' || rule.list === undefined || call.caller.kind === 'owner') return body;
    const answer: unknown = JSON.parse(body);
    if (typeof answer !== 'object' || answer === null || !(rule.list in answer)) return body;
    const rows: unknown = Object.entries(answer).find(([name]) => name === rule.list)?.[1];
    if (!Array.isArray(rows)) return body;
    const mine = rows.filter(
      (row: unknown) => typeof row === 'object' && row !== null && this.#isMine(row, rule.field, call.caller),
    );
    return JSON.stringify({ ...answer, [rule.list]: mine });
  }

  #isMine(row: object, field: string, caller: ForwardRequest['call']['caller']): boolean {
    const id: unknown = Object.entries(row).find(([name]) => name === field)?.[1];
    return typeof id === 'string' && this.#parts.owners.maySee(caller, id);
  }
}

/**
 * For how long the peer may have kept a result: the time that this machine slept, which no monotonic clock counts, and
 * that since the exchange broke. A run may take hours before.
 */
const agedSince = (clock: Clock): (() => number) => {
  const [wallMs, monotonicMs] = [clock.now(), clock.monotonicMs()];
  return () => Math.round(Math.max(0, clock.now() - wallMs - (clock.monotonicMs() - monotonicMs))) + RETRY_MS;
};

const canRepeat = (error: unknown, exchange: Exchange): boolean => {
  // A byte body can't be sent twice.
  if (exchange.op.kind === 'upload') return false;
  if (error instanceof LinkCut) return true;
  return error instanceof LoopsyError && error.error === 'peer_unreachable';
};

/** Someone was there, and was cut off in the middle of the handshake: nothing was sent. */
const wasReset = (error: unknown): boolean => error instanceof LoopsyError && error.details?.['cause'] === 'ECONNRESET';

const finalError = (error: unknown, { request, way }: Exchange, maybeDone: boolean): LoopsyError => {
  if (error instanceof LoopsyError && error.error !== 'peer_unreachable') return error;
  if (maybeDone && request.op.effect) {
    return new LoopsyError('outcome_unknown', {
      message: `the link to ${way.name} broke and did not come back: whether this was done there is not known`,
      cause: error,
    });
  }
  if (error instanceof LoopsyError) {
    if (way.offline === undefined) return error;
    return new LoopsyError('peer_offline', { message: `${way.name} is offline: ${error.message}`, cause: error });
  }
  return new LoopsyError('peer_unreachable', { message: `the link to ${way.name} broke`, cause: error });
};

/** A peer's error is passed on as it is, names of a newer version too; what is none is not. */
const passError = (status: number, body: string, name: string): { status: number; body: string } => {
  const error = status >= 400 && status <= 599 ? peerError(body, name) : undefined;
  if (error !== undefined && error.cause === undefined) return { status, body };
  const own = error ?? errorOfPeer('', name);
  return { status: own.status, body: JSON.stringify(own.toBody()) };
};

const pause = (clock: Clock, ms: number): Promise<void> => new Promise((resolve) => clock.after(ms, resolve));

/** A stream that goes on where it was cut, without a gap and without a repetition. */
class ResumedSource implements StreamSource {
  #source: FrameSource;
  readonly #ways: { reopen: (cursor: number) => Promise<FrameSource>; leave: () => void };
  #started = false;
  #closed = false;

  constructor(source: FrameSource, ways: { reopen: (cursor: number) => Promise<FrameSource>; leave: () => void }) {
    this.#source = source;
    this.#ways = ways;
  }

  async next(): Promise<StreamPiece | undefined> {
    for (;;) {
      try {
        const piece = await this.#source.next();
        if (piece === undefined || !this.#isRepeatedStart(piece)) return piece;
      } catch (error) {
        if (this.#closed || !(error instanceof StreamCut)) throw error;
        const source = await this.#ways.reopen(error.cursor);
        this.#source = source;
        if (this.#closed) source.close();
      }
    }
  }

  close(): void {
    this.#closed = true;
    this.#source.close();
    this.#ways.leave();
  }

  /** Each stretch begins with `started`; the reader has seen the first. */
  #isRepeatedStart(piece: StreamPiece): boolean {
    if (piece.type !== FRAME.started) return false;
    const repeated = this.#started;
    this.#started = true;
    return repeated;
  }
}
