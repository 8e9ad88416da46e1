import type { IncomingMessage, ServerResponse } from 'node:http';

import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { FRAME, FRAMES_TYPE, frameHeader, isOutput } from '../../protocol/frames.ts';
import type { StreamPiece, StreamSource } from './call.ts';
import { toLoopsyError } from './error-reply.ts';
import { EventEncoder, type StreamEvent } from './event-encoder.ts';
import { GUARD_HEADERS } from './exchange.ts';
import { socketFacts } from './listener.ts';
import { endedByNode } from './open-requests.ts';
import { ReplyPipe } from './reply-pipe.ts';
import { collectSlice } from './slice.ts';

/** What a stream's answer needs beside its source. */
export interface StreamReplyOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Of a run's stream; empty for others. */
  readonly jobId: string;
  /** The cursor that the reader asked for. */
  readonly since: number;
  /** JSON form only. */
  readonly waitMs: number;
  /** Aborted where the answer is no longer wanted, or no longer allowed. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * How long a reader may take nothing before it loses its connection, in ms. A program with a key: a minute. A node: as
 * long as TCP itself would try, because behind it a person may have paused a pager, as over ssh; one that is dead is
 * cut then. On loopback for ever: a dead reader's socket is closed by the system.
 */
export const STALL_MS = { key: 60_000, link: 900_000, loopback: Infinity } as const;

/** Output pieces are cut to this: a reader is alive that takes one of them in its time. */
const MAX_PIECE_BYTES = 262_144;

/** What one stream may move before others have a turn: it decides how long a request beside it waits. */
const TURN_BYTES = 131_072;

const nextTurn = (): Promise<0> => new Promise((resolve) => setImmediate(resolve, 0));

type Form = 'frames' | 'events' | 'slice';

const formOf = ({ request, jobId }: StreamReplyOptions): Form => {
  const accept = request.headers.accept ?? '';
  if (accept.includes(FRAMES_TYPE)) return 'frames';
  return request.method !== 'GET' || jobId === '' || accept.includes('text/event-stream') ? 'events' : 'slice';
};

/** Writes a stream in one form. `undefined` parts mean nothing to write. */
interface Encoder {
  readonly contentType: string;
  readonly heartbeat: string | Uint8Array;
  write(piece: StreamPiece): void;
  /** The last words: an error, or what is held. */
  finish(error: LoopsyError | undefined): void;
}

const frames = (response: ServerResponse): Encoder => {
  const write = (type: number, bytes: Uint8Array): void => {
    // Node gathers the writes of one turn into one call to the system; nothing is copied.
    response.write(frameHeader(type, bytes.length));
    if (bytes.length > 0) response.write(bytes);
  };
  return {
    contentType: FRAMES_TYPE,
    heartbeat: frameHeader(FRAME.heartbeat, 0),
    write: ({ type, bytes }) => write(type, bytes),
    finish: (error) => {
      if (error !== undefined) write(FRAME.error, Buffer.from(JSON.stringify(error.toBody())));
    },
  };
};

const sseText = (events: readonly StreamEvent[]): string =>
  events.map(({ cursor, event }) => `id: ${cursor}\ndata: ${JSON.stringify(event)}\n\n`).join('');

const serverSentEvents = (response: ServerResponse, encoder: EventEncoder): Encoder => {
  const write = (events: readonly StreamEvent[]): void => {
    if (events.length > 0) response.write(sseText(events));
  };
  return {
    contentType: 'text/event-stream; charset=utf-8',
    heartbeat: ': heartbeat\n\n',
    write: (piece) => write(encoder.encode(piece)),
    finish: (error) => write(error === undefined ? encoder.flush() : encoder.encodeError(error)),
  };
};

/** The piece in parts of at most `MAX_PIECE_BYTES`, each with its own cursor; mostly itself. */
const parts = function* (piece: StreamPiece): Generator<StreamPiece> {
  const { type, bytes, cursor } = piece;
  if (!isOutput(type) || bytes.length <= MAX_PIECE_BYTES) {
    yield piece;
    return;
  }
  for (let at = 0; at < bytes.length; at += MAX_PIECE_BYTES) {
    const part = bytes.subarray(at, at + MAX_PIECE_BYTES);
    yield { type, bytes: part, cursor: cursor - bytes.length + at + part.length };
  }
};

const stallMsOf = (request: IncomingMessage): number => {
  const { loopback, certificate } = socketFacts(request.socket);
  if (loopback) return STALL_MS.loopback;
  return certificate === undefined ? STALL_MS.key : STALL_MS.link;
};

const sendStream = async (source: StreamSource, encoder: Encoder, options: StreamReplyOptions): Promise<void> => {
  const { request, response, clock } = options;
  response.writeHead(200, { ...GUARD_HEADERS, 'content-type': encoder.contentType });
  const pipe = new ReplyPipe(response, { clock, heartbeat: encoder.heartbeat, stallMs: stallMsOf(request) });
  let failure: LoopsyError | undefined;
  let sinceTurn = 0;
  try {
    for (let piece = await source.next(); piece !== undefined; piece = await source.next()) {
      for (const part of parts(piece)) {
        if (response.destroyed) return;
        encoder.write(part);
        pipe.noteWrite();
        if (response.writableNeedDrain) await pipe.drained();
        sinceTurn += part.bytes.length;
        if (sinceTurn >= TURN_BYTES) sinceTurn = await nextTurn();
      }
    }
    failure = endedByNode(options.signal);
  } catch (thrown) {
    failure = toLoopsyError(thrown, options.log);
  } finally {
    pipe.stop();
  }
  if (!response.destroyed) encoder.finish(failure);
};

const sendSlice = async (source: StreamSource, options: StreamReplyOptions): Promise<void> => {
  const slice = await collectSlice(source, options);
  const { response } = options;
  if (response.destroyed) return;
  response.writeHead(200, { ...GUARD_HEADERS, 'content-type': 'application/json; charset=utf-8' });
  response.write(JSON.stringify(slice));
};

/**
 * Answers with a stream, in the form that the request asks for, and ends the answer with it. Pulls a piece only when
 * the reader has taken the last one, so that at most one piece lies here. A failure of the source becomes the last
 * event. Closes the source exactly once, at its end or when the reader leaves.
 */
export const replyStream = async (source: StreamSource, options: StreamReplyOptions): Promise<void> => {
  const { response, signal, clock, jobId, since } = options;
  let closed = false;
  const close = (): void => {
    if (!closed) source.close();
    closed = true;
  };
  response.once('close', close);
  signal.addEventListener('abort', close, { once: true });
  if (signal.aborted || response.destroyed) close();
  try {
    const form = formOf(options);
    if (form === 'slice') return await sendSlice(source, options);
    const encoder =
      form === 'frames'
        ? frames(response)
        : serverSentEvents(response, new EventEncoder(jobId, since, () => clock.now()));
    await sendStream(source, encoder, options);
  } finally {
    signal.removeEventListener('abort', close);
    response.off('close', close);
    close();
    response.end();
  }
};
