import { LoopsyError } from '../../protocol/errors.ts';
import { GUARD_HEADERS } from './exchange.ts';

/** Bytes that are no request of HTTP/1.1, and what they are answered. */
export interface Malformed {
  readonly status: 400 | 431;
  readonly error: LoopsyError;
  /** Where one could be read. */
  readonly method?: string;
}

/** A connection on which such bytes came. */
export interface MalformedVisit extends Malformed {
  /** Who its certificate says it is. */
  readonly caller: string | undefined;
  readonly remoteAddress: string | undefined;
}

const refuse = (status: Malformed['status'], message: string): Malformed => ({
  status,
  error: new LoopsyError('invalid_request', { message }),
});

/** Its head is larger than the parser, or this caller, may have it. */
export const TOO_LARGE = refuse(431, 'the head of this request is too large');

/** A tunnel is asked for. */
export const TUNNEL: Malformed = { ...refuse(400, 'this node opens no tunnels'), method: 'CONNECT' };

/** What the parser's error says; undefined where nothing was asked: a connection that broke, timed out or was left. */
export const malformedBy = (error: Error & { code?: unknown; reason?: unknown }): Malformed | undefined => {
  const { code, reason } = error;
  if (code === 'HPE_HEADER_OVERFLOW') return TOO_LARGE;
  if (code === 'HPE_INVALID_EOF_STATE' || code === 'HPE_CLOSED_CONNECTION') return undefined;
  if (typeof code !== 'string' || !code.startsWith('HPE_')) return undefined;
  const why = typeof reason === 'string' && reason !== '' ? `: ${reason}` : '';
  return refuse(400, `this is no request of HTTP/1.1${why}`);
};

/** The whole answer, after which the connection ends. */
export const malformedAnswer = ({ status, error }: Malformed): string => {
  const body = JSON.stringify(error.toBody());
  const head = {
    ...GUARD_HEADERS,
    connection: 'close',
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
  };
  const lines = Object.entries(head).map(([name, value]) => `${name}: ${value}`);
  const words = status === 431 ? 'Request Header Fields Too Large' : 'Bad Request';
  return [`HTTP/1.1 ${status} ${words}`, ...lines, '', body].join('\r\n');
};
