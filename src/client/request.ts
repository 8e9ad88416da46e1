import { withQuery } from '../protocol/operation.ts';
import type { OperationId } from '../protocol/operations.ts';
import { BASE_PATH } from '../protocol/version.ts';
import { ROUTES } from './routes.ts';
import type { TransportRequest } from './transport.ts';

/** What a request carries beside its input. */
export interface RequestParts {
  readonly accept: string;
  readonly peer?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly body?: AsyncIterable<Uint8Array>;
  /** What the body is; default: bytes. */
  readonly contentType?: string;
  /** Which part of an answer of bytes is wanted: `bytes=5-9`. */
  readonly range?: string | undefined;
}

/** One path segment; `.` and `..` too are sent as names, not as steps. */
const encodeSegment = (value: unknown): string => {
  const encoded = encodeURIComponent(String(value));
  return encoded === '.' || encoded === '..' ? encoded.replaceAll('.', '%2E') : encoded;
};

/** Builds an operation's request from its input: path fields, then query or JSON body. Missing fields are left out. */
export const buildRequest = (id: OperationId, input: object, parts: RequestParts): TransportRequest => {
  const route = ROUTES[id];
  const fields = new Map<string, unknown>(Object.entries(input).filter(([, value]) => value !== undefined));
  let path = route.path;
  for (const name of route.pathFields) {
    path = path.replace(`:${name}`, encodeSegment(fields.get(name)).replaceAll('$', '$$$$'));
    fields.delete(name);
  }
  const query = new URLSearchParams();
  if (parts.peer !== undefined) query.set('peer', parts.peer);
  if (route.inQuery) for (const [name, value] of fields) query.set(name, String(value));
  const json = parts.body === undefined && !route.inQuery;
  const type = parts.body === undefined ? 'application/json' : (parts.contentType ?? 'application/octet-stream');
  return {
    method: route.method,
    path: `${BASE_PATH}${withQuery(path, String(query))}`,
    headers: {
      accept: parts.accept,
      ...(json || parts.body !== undefined ? { 'content-type': type } : {}),
      ...(parts.range === undefined ? {} : { range: parts.range }),
    },
    body: json ? JSON.stringify(Object.fromEntries(fields)) : parts.body,
    signal: parts.signal,
  };
};
