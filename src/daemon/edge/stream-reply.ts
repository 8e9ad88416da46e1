import type { IncomingMessage, ServerResponse } from 'node:http';

import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { nextTurn } from '../../kernel/turn.ts';
import type { LoopsyError } from '../../protocol/errors.ts';
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

/** How long a program with a key, and whoever can resume, may take nothing before it loses its connection. */
const STALL_MS = 60_000;

/** Output pieces are cut to this: a reader is alive that takes one of them in its time. */
const MAX_PIECE_BYTES = 262_144;

/** What one stream may move before others have a turn: it decides how long a request beside it waits. */
const TURN_BYTES = 131_072;

type Form = 'frames' | 'events' | 'slice';

const formOf = ({ request, jobId }: StreamReplyOptions): Form => {
  const accept = request.headers.accept ?? '';
  if (accept.includes(FRAMES_TYPE)) return 'frames';
  return request.method !== 'GET' || jobId === '' || accept.includes('text/event-stream') ? 'events' : 'slice';
};

/** Writes a stream in one form. `undefined` parts mean nothing to write. */
interface Encoder {
  write(piece: StreamPiece): void;
  /** The last words: an error, or what is held. */
  finish(error: LoopsyError | undefined): void;
}

/** Takes bytes on their way to the reader. */
type Sink = (bytes: Uint8Array) => void;

const frames = (sink: Sink): Encoder => {
  const write = (type: number, bytes: Uint8Array): void => {
    sink(frameHeader(type, bytes.length));
    if (bytes.length > 0) sink(bytes);
  };
  return {
    write: ({ type, bytes }) => write(type, bytes),
    finish: (error) => {
      if (error !== undefined) write(FRAME.error, Buffer.from(JSON.stringify(error.toBody())));
    },
  };
};

const sseText = (events: readonly StreamEvent[]): string =>
  events.map(({ cursor, event }) => `id: ${cursor}\ndata: ${JSON.stringify(event)}\n\n`).join('');

const END_OF_EVENT = Buffer.from('\n\n');
/** More is not copied: several readers may have the same bytes. */
const MAX_COPIED_BYTES = 16_384;

/** An event that is JSON in one line already, as it is. */
const passOn = (sink: Sink, { bytes, cursor }: StreamPiece): void => {
  const head = Buffer.from(`id: ${cursor}\ndata: `);
  if (bytes.length <= MAX_COPIED_BYTES) sink(Buffer.concat([head, bytes, END_OF_EVENT]));
  else for (const part of [head, bytes, END_OF_EVENT]) sink(part);
};

/** Another node may have sent what would be several lines here. */
const isOneLine = (bytes: Uint8Array): boolean => !bytes.includes(0x0a) && !bytes.includes(0x0d);

const serverSentEvents = (sink: Sink, encoder: EventEncoder): Encoder => {
  const write = (events: readonly StreamEvent[]): void => {
    if (events.length > 0) sink(Buffer.from(sseText(events)));
  };
  return {
    write: (piece) => {
      if (encoder.passes(piece) && isOneLine(piece.bytes)) passOn(sink, piece);
      else write(encoder.encode(piece));
    },
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

/**
 * How long a reader may take nothing. For ever, where somebody else sees who is gone: on loopback the system, and on a
 * link presence, because behind a node that lives a person may have paused a pager, as over ssh.
 */
export const stallMsOf = (request: IncomingMessage): number => {
  const { loopback, certificate } = socketFacts(request.socket);
  return loopback || certificate !== undefined ? Infinity : STALL_MS;
};

const FORMS = {
  frames: { contentType: FRAMES_TYPE, heartbeat: frameHeader(FRAME.heartbeat, 0) },
  events: { contentType: 'text/event-stream; charset=utf-8', heartbeat: ': heartbeat\n\n' },
} as const;

const sendStream = async (
  source: StreamSource,
  form: keyof typeof FORMS,
  options: StreamReplyOptions,
): Promise<void> => {
  const { request, response, clock, jobId, since } = options;
  const { contentType, heartbeat } = FORMS[form];
  response.writeHead(200, { ...GUARD_HEADERS, 'content-type': contentType });
  const stallMs = source.resumes === true ? STALL_MS : stallMsOf(request);
  const pipe = new ReplyPipe(response, { clock, heartbeat, stallMs });
  const sink: Sink = (bytes) => pipe.write(bytes);
  const encoder =
    form === 'frames' ? frames(sink) : serverSentEvents(sink, new EventEncoder(jobId, since, () => clock.now()));
  let failure: LoopsyError | undefined;
  let sinceTurn = 0;
  try {
    for (let piece = await source.next(); piece !== undefined; piece = await source.next()) {
      for (const part of parts(piece)) {
        if (response.destroyed) return;
        encoder.write(part);
        await pipe.drained();
        sinceTurn += part.bytes.length;
        if (sinceTurn >= TURN_BYTES) sinceTurn = await nextTurn();
      }
    }
    failure = endedByNode(options.signal);
  } catch (thrown) {
    failure = toLoopsyError(thrown, options.log);
  } finally {
    if (!response.destroyed) encoder.finish(failure);
    pipe.stop();
  }
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
  const { response, signal } = options;
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
    await sendStream(source, form, options);
  } finally {
    signal.removeEventListener('abort', close);
    response.off('close', close);
    close();
    response.end();
  }
};
