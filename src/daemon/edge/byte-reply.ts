import type { IncomingMessage, ServerResponse } from 'node:http';

import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { nextTurn } from '../../kernel/turn.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { ByteAnswer } from './call.ts';
import { toLoopsyError } from './error-reply.ts';
import { endAnswer, GUARD_HEADERS } from './exchange.ts';
import { endedByNode } from './open-requests.ts';
import { stallMsOf } from './stream-reply.ts';

/** What an answer of bytes needs beside its bytes. */
export interface ByteReplyOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborted where the answer is no longer wanted, or no longer allowed. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when the answer begins; where it never does, `replyBytes` rejects. */
  readonly onBegin: () => void;
  /** True where the body of the request still comes while the answer leaves. */
  readonly isExchange?: boolean;
}

/** What keeps the first byte from coming is an answer of its own; for so long it is waited for. */
const HEAD_MS = 500;

const TICK_MS = 5000;

/** Who may lose its connection for taking nothing gets parts of this size: it is alive that takes one in its time. */
const MAX_PART_BYTES = 262_144;

/** What one answer may move before others have a turn, and what a write costs beside its bytes. */
const TURN_BYTES = 131_072;
const WRITE_BYTES = 1024;

/** The chunks of an answer, which is told once that no more of them are wanted. */
class Chunks {
  /** The first one, while nobody has taken it. */
  first: Promise<IteratorResult<Uint8Array>> | undefined;
  readonly #iterator: AsyncIterator<Uint8Array>;
  #isOver = false;

  constructor({ chunks }: ByteAnswer) {
    this.#iterator = chunks[Symbol.asyncIterator]();
    // At once: a generator that was never begun would not clean up either.
    this.first = this.#iterator.next();
    this.first.catch(ignore);
  }

  async next(): Promise<Uint8Array | undefined> {
    const next = this.first ?? this.#iterator.next();
    this.first = undefined;
    const step = await next;
    if (step.done !== true) return step.value;
    this.#isOver = true;
    return undefined;
  }

  /** May come while a chunk is on its way. */
  close(): void {
    if (!this.#isOver) this.#iterator.return?.().catch(ignore);
    this.#isOver = true;
  }
}

const ignore = (): void => undefined;

/** From here on two writes cost less than a copy. */
const ALONE_BYTES = 16_384;

/** Writes chunks whose memory is used again: each write is over when its bytes have left. */
class ByteSink {
  readonly #response: ServerResponse;
  readonly #stallMs: number;
  readonly #ticks: Timer | undefined;
  readonly #soon: NodeJS.Immediate;
  #blockedMs = 0;
  #wake: (() => void) | undefined;

  constructor(response: ServerResponse, { clock, stallMs }: { clock: Clock; stallMs: number }) {
    this.#response = response;
    this.#stallMs = stallMs;
    this.#ticks = stallMs === Infinity ? undefined : clock.every(TICK_MS, () => this.#tick());
    // The head goes with the first bytes; alone where those are not there at once.
    this.#soon = setImmediate(() => response.flushHeaders());
    response.on('close', this.#written);
  }

  /** Resolves when these bytes have left, or nobody takes them any more. */
  async write(chunk: Uint8Array): Promise<void> {
    clearImmediate(this.#soon);
    // Many bytes together with the head would be a copy of all of them.
    if (chunk.length > ALONE_BYTES) this.#response.flushHeaders();
    const most = this.#stallMs === Infinity ? chunk.length : MAX_PART_BYTES;
    for (let at = 0; at < chunk.length && !this.#response.destroyed; at += most) {
      await this.#part(chunk.subarray(at, at + most));
    }
  }

  stop(): void {
    clearImmediate(this.#soon);
    this.#ticks?.cancel();
    this.#response.off('close', this.#written);
  }

  #part(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#response.write(bytes, (error) => {
        // Not every Node says so at once.
        if (error !== null && error !== undefined) this.#response.destroy();
        this.#written();
      });
    });
  }

  readonly #written = (): void => {
    this.#blockedMs = 0;
    this.#wake?.();
    this.#wake = undefined;
  };

  #tick(): void {
    if (this.#wake === undefined) return;
    this.#blockedMs += TICK_MS;
    if (this.#blockedMs >= this.#stallMs) this.#response.destroy();
  }
}

const isCounted = ({ length, trailer }: ByteAnswer): boolean => length !== undefined && trailer === undefined;

/** Bytes that are not counted come in chunks, so that a cut is told from an end. */
const refuseOldHttp = (answer: ByteAnswer, { httpVersion }: IncomingMessage): void => {
  if (isCounted(answer) || httpVersion === '1.1') return;
  throw new LoopsyError('invalid_request', { message: 'bytes that are not counted beforehand take HTTP/1.1' });
};

const beginBytes = (answer: ByteAnswer, { request, response, isExchange }: ByteReplyOptions): void => {
  const { status = 200, headers, length, trailer } = answer;
  // A body that nobody read would be taken for the next request of the connection.
  if (!request.complete && isExchange !== true) response.setHeader('connection', 'close');
  response.writeHead(status, {
    ...GUARD_HEADERS,
    'content-type': 'application/octet-stream',
    ...headers,
    ...(isCounted(answer) ? { 'content-length': length } : {}),
    ...(trailer === undefined ? {} : { trailer: trailer.names.join(', ') }),
  });
};

/** Resolves when the first chunk is there, is late, or is not wanted any more. @throws what keeps it from coming. */
const firstChunk = (chunks: Chunks, { clock, signal, response }: ByteReplyOptions): Promise<void> =>
  new Promise((resolve, reject) => {
    const settle = (how: () => void): void => {
      timer.cancel();
      signal.removeEventListener('abort', give);
      response.off('close', give);
      how();
    };
    const give = (): void => settle(resolve);
    const timer = clock.after(HEAD_MS, give);
    signal.addEventListener('abort', give, { once: true });
    response.once('close', give);
    chunks.first?.then(give, (error: Error) => settle(() => reject(error)));
    if (signal.aborted || response.destroyed) give();
  });

/** Sends all there is; ends early where nobody takes it any more. */
const sendChunks = async (
  chunks: Chunks,
  { length, sink, response }: { length: number | undefined; sink: ByteSink; response: ServerResponse },
): Promise<void> => {
  let sent = 0;
  let sinceTurn = 0;
  for (let chunk = await chunks.next(); chunk !== undefined; chunk = await chunks.next()) {
    sent += chunk.length;
    // What is more than was announced would be taken for the next answer.
    if (length !== undefined && sent > length) break;
    await sink.write(chunk);
    if (response.destroyed) return;
    sinceTurn += chunk.length + WRITE_BYTES;
    if (sinceTurn >= TURN_BYTES) sinceTurn = await nextTurn();
  }
  if (length !== undefined && sent !== length) throw new Error(`${sent} bytes came where ${length} were announced`);
};

/**
 * Answers with bytes. Asks for a chunk when the last one has left, so that at most one lies here. Whatever fails on the
 * way cuts the connection: a client never takes a part for the whole.
 * @throws what keeps the first byte from coming, before anything was sent; `invalid_request` where a cut could not be
 *   told from an end.
 */
export const replyBytes = async (answer: ByteAnswer, options: ByteReplyOptions): Promise<void> => {
  const { response, signal } = options;
  const chunks = new Chunks(answer);
  try {
    await firstChunk(chunks, options);
    const ended = endedByNode(signal);
    if (ended !== undefined) throw ended;
    refuseOldHttp(answer, options.request);
  } catch (thrown) {
    chunks.close();
    throw thrown;
  }
  const leave = (): void => {
    response.destroy();
    chunks.close();
  };
  response.once('close', leave);
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted || response.destroyed) leave();
  try {
    await send(answer, chunks, options);
  } finally {
    signal.removeEventListener('abort', leave);
    response.off('close', leave);
    chunks.close();
  }
};

const send = async (answer: ByteAnswer, chunks: Chunks, options: ByteReplyOptions): Promise<void> => {
  const { request, response, clock, log, onBegin } = options;
  onBegin();
  beginBytes(answer, options);
  const sink = new ByteSink(response, { clock, stallMs: stallMsOf(request) });
  try {
    await sendChunks(chunks, { length: answer.length, sink, response });
    if (answer.trailer !== undefined && !response.destroyed) response.addTrailers(answer.trailer.read());
    endAnswer(options, clock);
  } catch (thrown) {
    // Who left needs no reason. Who stays can't be told: the log is.
    if (!response.destroyed) noteCut(toLoopsyError(thrown, log), log);
    response.destroy();
  } finally {
    sink.stop();
  }
};

const noteCut = ({ error, message }: LoopsyError, log: Log): void => log.warn('bytes cut', { error, message });
