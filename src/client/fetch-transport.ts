import { LoopsyError } from '../protocol/errors.ts';
import type { Transport } from './transport.ts';

/** Where a node is, and as whom to ask it. */
export interface FetchTransportParts {
  /** The platform's fetch, or one that trusts the node's certificate. */
  readonly fetch: typeof fetch;
  /** Scheme, host and port, e.g. `http://127.0.0.1:19532`; empty for the page's own origin. */
  readonly baseUrl: string;
  /** The bearer token of each request. It goes to whoever answers at `baseUrl`: name only an address that you trust. */
  readonly token: string;
}

/** A way to a node over `fetch`: for browsers and programs. Bodies of uploads need a fetch that streams them. */
export const fetchTransport =
  ({ fetch, baseUrl, token }: FetchTransportParts): Transport =>
  async ({ method, path, headers, body, signal }) => {
    const init: RequestInit & { duplex?: 'half' } = {
      method,
      headers: { ...headers, authorization: `Bearer ${token}` },
      redirect: 'error',
      credentials: 'omit',
      cache: 'no-store',
      ...(signal === undefined ? {} : { signal }),
    };
    if (typeof body === 'string') init.body = body;
    else if (body !== undefined) Object.assign(init, { body: readableFrom(body), duplex: 'half' });
    const response = await fetch(`${baseUrl}${path}`, init).catch((cause: unknown) => {
      throw wasRefused(cause) ? new LoopsyError('node_not_running', { cause }) : cause;
    });
    return {
      status: response.status,
      header: (name) => response.headers.get(name) ?? undefined,
      body: chunksOf(response.body),
      // No fetch shows them.
      trailer: () => undefined,
    };
  };

/** True where fetch says that nothing listens there; browsers don't tell. */
const wasRefused = (thrown: unknown): boolean => {
  if (!(thrown instanceof Error)) return false;
  const { cause } = thrown;
  return typeof cause === 'object' && cause !== null && 'code' in cause && cause.code === 'ECONNREFUSED';
};

/** Not every browser lets a ReadableStream be iterated. */
async function* chunksOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (body === null) return;
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    // A stream that has ended or failed has nothing left to cancel.
    await reader.cancel().catch(() => undefined);
  }
}

const readableFrom = (chunks: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> => {
  const iterator = chunks[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const next: IteratorResult<Uint8Array, unknown> = await iterator.next();
      if (next.done === true) return controller.close();
      // It is sent when the next has been asked for. (A Buffer's own slice is no copy.)
      return controller.enqueue(new Uint8Array(next.value));
    },
    async cancel() {
      await iterator.return?.();
    },
  });
};
