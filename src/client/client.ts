import { errorFromBody, LoopsyError } from '../protocol/errors.ts';
import { FRAME, FrameReader, FRAMES_TYPE, isOutput } from '../protocol/frames.ts';
import type { IdOf, InputOf, OperationId, OutputOf } from '../protocol/operations.ts';
import { bytesLost, connectionLost, readError, readJson, readText } from './errors.ts';
import { pullFile, type Pull, type PulledFile, type Push, type Pushed, pushRequest } from './files.ts';
import { buildRequest } from './request.ts';
import { ROUTES } from './routes.ts';
import { parseSse } from './sse.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

/** The operations that answer with events. */
export type StreamId = IdOf<'stream'>;
/** The operations that take a byte body. */
export type UploadId = Exclude<IdOf<'upload'>, 'file.push'>;
/** The operations that answer with bytes. */
export type DownloadId = IdOf<'download'>;
/** The operations with a JSON body and a JSON answer. */
export type CallId = IdOf<'json'>;

/** What every request may carry. */
export interface CallOptions {
  /** The peer that shall do it: name, nodeId prefix (≥ 4) or address; default: the node itself. */
  readonly peer?: string | undefined;
  /** Ends the request; the promise or iterator then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** One piece of a stream. */
export interface StreamPiece {
  /** A `FRAME` type; never `heartbeat` or `error`. */
  readonly type: number;
  /** Output bytes as they are, cut anywhere; else UTF-8 JSON. Valid until the next piece is asked for. */
  readonly bytes: Uint8Array;
  /** Counts output bytes from the run's start; `job.output` with `since` goes on from it. */
  readonly cursor: number;
}

/** One event of a stream. */
export interface StreamEvent<Id extends StreamId> {
  /** The cursor behind it. */
  readonly id: string | undefined;
  readonly event: OutputOf<Id>;
}

/**
 * The typed client of one node. Every method rejects with a `LoopsyError`: what the node answered, or
 * `node_not_running` where it can't be reached, or `outcome_unknown` where the connection broke after an effect was
 * asked for.
 */
export interface Client {
  /** Asks for one operation and answers with its output. */
  call<Id extends CallId>(id: Id, input: InputOf<Id>, options?: CallOptions): Promise<OutputOf<Id>>;
  /**
   * Streams an operation's frames: bytes as they are, with back-pressure (what is not asked for is not read).
   * Leaving the loop ends the request, and with it a run that was started by it.
   */
  stream<Id extends StreamId>(id: Id, input: InputOf<Id>, options?: CallOptions): AsyncIterableIterator<StreamPiece>;
  /**
   * Streams an operation's events in their JSON form. A read that is cut goes on by itself behind the last event that
   * arrived (`Last-Event-ID`); an effect is never repeated.
   */
  events<Id extends StreamId>(
    id: Id,
    input: InputOf<Id>,
    options?: CallOptions,
  ): AsyncIterableIterator<StreamEvent<Id>>;
  /** Sends bytes; resolves when the node has taken them all. */
  upload<Id extends UploadId>(id: Id, input: InputOf<Id>, upload: Upload): Promise<OutputOf<Id>>;
  /**
   * Asks for bytes; resolves with the head of the answer. Its body throws where it is cut: what has come then is not
   * all of it. Leaving the loop ends the request.
   */
  download<Id extends DownloadId>(id: Id, input: InputOf<Id>, options?: DownloadOptions): Promise<Download>;
  /** Writes one file; resolves when it is on disk under its name. */
  pushFile(push: Push): Promise<Pushed>;
  /** Reads one file; resolves when its bytes begin to come. */
  pullFile(pull: Pull): Promise<PulledFile>;
}

/** The bytes of an upload, and what every request may carry. */
export interface Upload extends CallOptions {
  /** Each chunk is good until the next is asked for. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** What a request for bytes may carry. */
export interface DownloadOptions extends CallOptions {
  /** The part that is wanted, as HTTP says it: `bytes=5-9`. */
  readonly range?: string | undefined;
}

/** An answer of bytes. */
export interface Download {
  /** 200, or 206 for a part. */
  readonly status: number;
  /** A header's value by its lower-case name. */
  header(name: string): string | undefined;
  /** Each chunk is good until the next is asked for. */
  readonly body: AsyncIterable<Uint8Array>;
  /** What follows the body, by its lower-case name; there once the body has ended, and the transport can see it. */
  trailer(name: string): string | undefined;
}

/** What a client is made of. */
export interface ClientParts {
  readonly transport: Transport;
  /** Waits between the attempts to resume; default: the platform's timer. */
  readonly wait?: (ms: number) => Promise<void>;
}

/** Attempts to resume that bring nothing new before a stream is given up. */
const MAX_RESUMES = 5;
const RESUME_AFTER_MS = 300;

/** Makes the typed client over a way to a node. */
export const createClient = ({ transport, wait = waitMs }: ClientParts): Client => {
  const send = async (id: OperationId, request: TransportRequest): Promise<TransportResponse> => {
    const response = await settle(id, request.signal, () => transport(request));
    if (response.status < 400) return response;
    throw await settle(id, request.signal, () => readError(response));
  };
  const json = async (id: OperationId, request: TransportRequest): Promise<unknown> => {
    const response = await send(id, request);
    const isText = response.header('content-type')?.startsWith('text/plain') === true;
    return settle(id, request.signal, () => (isText ? readText(response.body) : readJson(response)));
  };

  async function* stream(id: StreamId, input: object, options: CallOptions = {}): AsyncGenerator<StreamPiece> {
    const response = await send(id, buildRequest(id, input, { ...options, accept: FRAMES_TYPE }));
    try {
      yield* readPieces(response.body, 'since' in input ? Number(input.since) : 0);
    } catch (thrown) {
      throw asLost(id, options.signal, thrown);
    }
  }

  async function* events<Id extends StreamId>(
    id: Id,
    input: object,
    options: CallOptions = {},
  ): AsyncGenerator<StreamEvent<Id>> {
    const request = buildRequest(id, input, { ...options, accept: 'text/event-stream' });
    let lastId: string | undefined;
    for (let failures = 0; ;) {
      const resume = lastId === undefined ? {} : { 'last-event-id': lastId };
      try {
        const response = await send(id, { ...request, headers: { ...request.headers, ...resume } });
        for await (const message of parseSse(response.body)) {
          lastId = message.id ?? lastId;
          failures = 0;
          yield { id: lastId, event: parseEvent<Id>(message.data) };
        }
        return;
      } catch (thrown) {
        const lost = asLost(id, options.signal, thrown);
        failures += 1;
        if (options.signal?.aborted === true) throw lost;
        if (ROUTES[id].effect || thrown instanceof LoopsyError || failures > MAX_RESUMES) throw lost;
      }
      await wait(RESUME_AFTER_MS * failures);
    }
  }

  const download = async (id: DownloadId, input: object, options: DownloadOptions = {}): Promise<Download> => {
    const response = await send(id, buildRequest(id, input, { ...options, accept: 'application/octet-stream' }));
    return {
      status: response.status,
      header: (name) => response.header(name),
      body: wholeBytes(response.body, options.signal),
      trailer: (name) => response.trailer(name),
    };
  };

  // The casts below join each operation's answer to its type; the node has encoded it by the same schema.
  return {
    call: async <Id extends CallId>(id: Id, input: InputOf<Id>, options: CallOptions = {}) =>
      (await json(id, buildRequest(id, input, { ...options, accept: 'application/json' }))) as OutputOf<Id>,
    upload: async <Id extends UploadId>(id: Id, input: InputOf<Id>, upload: Upload) =>
      (await json(id, buildRequest(id, input, { ...upload, accept: 'application/json' }))) as OutputOf<Id>,
    pushFile: async (push) => (await json('file.push', pushRequest(push))) as Pushed,
    pullFile: (pull) => pullFile({ download }, pull),
    download,
    stream,
    events,
  };
};

/** Bytes as they come; a cut is thrown. */
async function* wholeBytes(
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (thrown) {
    throw signal?.aborted === true ? signal.reason : bytesLost(thrown);
  }
}

/** Runs one step of a request, and says what a broken connection means. */
const settle = async <T>(id: OperationId, signal: AbortSignal | undefined, step: () => Promise<T>): Promise<T> => {
  try {
    return await step();
  } catch (thrown) {
    throw asLost(id, signal, thrown);
  }
};

const asLost = (id: OperationId, signal: AbortSignal | undefined, thrown: unknown): unknown => {
  if (signal?.aborted === true) return signal.reason;
  return thrown instanceof LoopsyError ? thrown : connectionLost(ROUTES[id].effect, thrown);
};

/** Frames as pieces with their cursor; an error frame is thrown, a heartbeat is dropped. */
async function* readPieces(body: AsyncIterable<Uint8Array>, since: number): AsyncGenerator<StreamPiece> {
  const reader = new FrameReader();
  let cursor = since;
  for await (const chunk of body) {
    for (const { type, bytes } of reader.read(chunk)) {
      if (type === FRAME.heartbeat) continue;
      if (type === FRAME.error) throw errorOf(decodeJson(bytes));
      if (isOutput(type)) cursor += bytes.length;
      if (type === FRAME.gap) cursor = gapEnd(decodeJson(bytes)) ?? cursor;
      yield { type, bytes, cursor };
    }
  }
  if (!reader.atBoundary) throw new RangeError('the stream was cut within a frame');
}

/** The JSON payload of a piece. */
export const decodeJson = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes));

const gapEnd = (gap: unknown): number | undefined =>
  typeof gap === 'object' && gap !== null && 'to' in gap && typeof gap.to === 'number' ? gap.to : undefined;

const errorOf = (body: unknown): LoopsyError => errorFromBody(body) ?? new LoopsyError('internal');

const parseEvent = <Id extends StreamId>(data: string): OutputOf<Id> => {
  const event: unknown = JSON.parse(data);
  const failed = errorFromBody(event);
  if (failed !== undefined) throw failed;
  // As above: encoded by the operation's own schema.
  return event as OutputOf<Id>;
};

const waitMs = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
