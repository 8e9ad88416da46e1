import { Agent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

import { LoopsyError } from '../protocol/errors.ts';
import type { TransportRequest, TransportResponse } from '../client/transport.ts';

/** Never a name: what `localhost` means can be changed. */
const LOOPBACK = '127.0.0.1';

/** An agent that knows one socket: what was proved on it holds for every request, and none can leave on another. */
export class OneSocket extends Agent {
  readonly port: number;
  #unused: Socket | undefined;
  readonly #socket: Socket;

  constructor(port: number, socket: Socket) {
    super({ keepAlive: true, maxSockets: 1 });
    this.port = port;
    this.#socket = socket;
    this.#unused = socket;
  }

  override createConnection(): Duplex {
    const socket = this.#unused;
    this.#unused = undefined;
    if (socket === undefined) throw new LoopsyError('node_not_running', { message: 'the node closed the connection' });
    return socket;
  }

  /** True between requests, while the connection is open. */
  get free(): boolean {
    return !this.#socket.destroyed && Object.keys(this.freeSockets).length > 0;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Sends one request on the socket; resolves with the head of its answer. */
  exchange(request: TransportRequest): Promise<TransportResponse> {
    return new Promise((resolve, reject) => {
      const { method, path, headers, body, signal } = request;
      const length = typeof body === 'string' ? { 'content-length': Buffer.byteLength(body) } : {};
      const sent = httpRequest({
        agent: this,
        host: LOOPBACK,
        port: this.port,
        method,
        path,
        headers: { ...headers, ...length },
        ...(signal === undefined ? {} : { signal }),
      });
      sent.on('error', reject);
      sent.once('response', (response) => resolve(answerOf(response)));
      if (body === undefined || typeof body === 'string') sent.end(body);
      else pump(body, sent).catch(reject);
    });
  }
}

const answerOf = (response: IncomingMessage): TransportResponse => ({
  status: response.statusCode ?? 0,
  header: (name) => {
    const value = response.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  },
  body: response,
});

/** Sends a byte body, no faster than the node takes it; an answer that comes before its end ends it. */
const pump = async (body: AsyncIterable<Uint8Array>, sent: ClientRequest): Promise<void> => {
  sent.flushHeaders();
  let answered = false;
  sent.once('response', () => (answered = true));
  for await (const chunk of body) {
    if (answered || sent.destroyed) return;
    if (!sent.write(chunk)) await drained(sent);
  }
  sent.end();
};

/** Resolves when more can be written, or nothing will ever be. */
const drained = (sent: ClientRequest): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      sent.off('drain', done).off('close', done);
      resolve();
    };
    sent.on('drain', done).on('close', done);
  });

/** Opens a connection to a port of this machine; undefined where nothing listens there. */
export const dial = (port: number, limitMs: number): Promise<Socket | undefined> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: LOOPBACK, port, noDelay: true, timeout: limitMs });
    const onError = (error: NodeJS.ErrnoException): void => {
      if (error.code === 'ECONNREFUSED') resolve(undefined);
      else reject(error);
    };
    const onTimeout = (): void => {
      socket.destroy(
        new LoopsyError('request_timeout', { message: `port ${port} did not accept a connection in time` }),
      );
    };
    socket.once('error', onError);
    socket.once('timeout', onTimeout);
    socket.once('connect', () => {
      socket.removeListener('error', onError);
      socket.removeListener('timeout', onTimeout);
      socket.setTimeout(0);
      resolve(socket);
    });
  });
