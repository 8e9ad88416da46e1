import { type Exchange, GUARD_HEADERS } from './exchange.ts';

/** Answers with a text that is no JSON. */
export const replyText = (
  { request, response }: Pick<Exchange, 'request' | 'response'>,
  { type, text }: { type: string; text: string },
): void => {
  if (response.headersSent || response.destroyed) return;
  // A body that nobody read would be taken for the next request of the connection.
  if (!request.complete) response.setHeader('connection', 'close');
  response.writeHead(200, { ...GUARD_HEADERS, 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.end(text);
};
