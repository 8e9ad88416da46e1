import type { IncomingMessage, ServerResponse } from 'node:http';

import type { Clock } from '../../kernel/clock.ts';
import type { RequestState } from './request-state.ts';

/** One request and its answer, as the router hands them on. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Without the query. */
  readonly path: string;
  readonly params: Readonly<Record<string, string | undefined>>;
  /** A repeated key is a list. */
  readonly query: Readonly<Record<string, string | readonly string[]>>;
  readonly state: RequestState;
}

/** On every answer: it is kept nowhere, taken for nothing but what it says it is, and shown inside no page. */
export const GUARD_HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

/** The same and what says that it is JSON: name and value by turns, which Node writes as they are. */
const JSON_HEADERS = [...Object.entries(GUARD_HEADERS).flat(), 'content-type', 'application/json; charset=utf-8'];

/** Has a client send the body that it holds back until somebody wants it (`Expect: 100-continue`). */
export const askForBody = ({ request, response }: Pick<Exchange, 'request' | 'response'>): void => {
  if (response.headersSent) return;
  if (request.httpVersion === '1.1' && /\b100-continue\b/i.test(request.headers.expect ?? '')) response.writeContinue();
};

/** How long a client that still sends may go on, when it has been answered: closing on its bytes would take the answer with it. */
const LINGER_MS = 2000;

const ending: { readonly response: ServerResponse; readonly text: string }[] = [];

/**
 * The answers of one turn of the event loop go together, one behind the other: each alone would wake its reader, which
 * costs more than to write it.
 */
const endWithOthers = (response: ServerResponse, text: string): void => {
  if (ending.length === 0) setImmediate(endAll);
  ending.push({ response, text });
};

const endAll = (): void => {
  for (const { response, text } of ending.splice(0)) if (!response.destroyed) response.end(text);
};

/** Answers with a text of JSON. */
export const sendJsonText = (
  { request, response }: Pick<Exchange, 'request' | 'response'>,
  { status, text }: { status: number; text: string },
  clock: Clock,
): void => {
  if (response.headersSent || response.destroyed) return;
  const isEarly = !request.complete;
  // A body that nobody read would be taken for the next request of the connection.
  if (isEarly) response.setHeader('connection', 'close');
  const headers = [...JSON_HEADERS, 'content-length', String(Buffer.byteLength(text))];
  if (status >= 400) headers.push(...retryAfter(text));
  if (status === 416) headers.push(...wholeSize(text));
  response.writeHead(status, headers);
  if (!isEarly) {
    // An error may be the last that its connection hears: it does not wait.
    if (status < 400) endWithOthers(response, text);
    else response.end(text);
    return;
  }
  response.write(text);
  endAnswer({ request, response }, clock);
};

/** Ends an answer; where the client still sends, its connection. */
export const endAnswer = ({ request, response }: Pick<Exchange, 'request' | 'response'>, clock: Clock): void => {
  if (request.complete || response.destroyed) {
    response.end();
    return;
  }
  const timer = clock.after(LINGER_MS, () => {
    // What it goes on sending is nobody's.
    response.end(() => request.socket.destroySoon());
  });
  const end = (): void => {
    timer.cancel();
    response.end();
  };
  request.once('end', end).once('close', end);
  request.on('error', () => undefined);
  request.resume();
};

/** How large what was asked for is, of which there is no such part: a peer's too. */
const wholeSize = (text: string): string[] => {
  const size = /"size":(\d{1,16})\b/.exec(text)?.[1];
  return size === undefined ? [] : ['content-range', `bytes */${size}`];
};

/** When to come again, where an error says so: one of a peer's too, which is passed on as text. */
const retryAfter = (text: string): string[] => {
  const ms = /"retryAfterMs":(\d{1,9})\b/.exec(text)?.[1];
  return ms === undefined ? [] : ['retry-after', String(Math.ceil(Number(ms) / 1000))];
};
