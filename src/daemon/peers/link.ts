import http from 'node:http';
import type { Duplex } from 'node:stream';

import { LoopsyError } from '../../protocol/errors.ts';

/** One request over a link. */
export interface LinkRequest {
  readonly method: string;
  /** With the base path and the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | AsyncIterable<Uint8Array>;
  /** True for what may take long: it gets connections of its own, so that it never delays a short request. */
  readonly long: boolean;
  /** Ms of silence after which the connection counts as cut. */
  readonly idleMs: number;
  readonly signal: AbortSignal;
}

/** The transport failed. `sent` is false where no byte of the request can have reached the peer. */
export class LinkCut extends Error {
  override readonly name = 'LinkCut';
  readonly sent: boolean;

  constructor(sent: boolean, cause: unknown) {
    super('the link was cut', { cause });
    this.sent = sent;
  }
}

/** A peer from which nothing came for so long, not even a heartbeat, counts as gone. */
export const SILENCE_MS = 25_000;

const SHORT_CONNECTIONS = 16;
const LONG_CONNECTIONS = 200;
const IDLE_CONNECTION_MS = 55_000;

/** Keep-alive connections that are all made, and checked, by one dial. */
class PinnedAgent extends http.Agent {
  readonly #dial: () => Promise<Duplex>;

  constructor(dial: () => Promise<Duplex>, maxSockets: number) {
    super({ keepAlive: true, maxSockets, maxFreeSockets: 4, scheduling: 'lifo', timeout: IDLE_CONNECTION_MS });
    this.#dial = dial;
  }

  /** Node's agent asks here for each new connection. */
  override createConnection(_options: unknown, done: (error: Error | null, socket?: Duplex) => void): undefined {
    this.#dial().then(
      (socket) => done(null, socket),
      (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
    );
    return undefined;
  }
}

/** The pool of pinned connections to one peer. */
export class Link {
  readonly #short: PinnedAgent;
  readonly #long: PinnedAgent;
  readonly #closed = new AbortController();

  /** @param dial makes one connection to the peer, and to nobody else; it obeys the signal. */
  constructor(dial: (signal: AbortSignal) => Promise<Duplex>) {
    const open = (): Promise<Duplex> => dial(this.#closed.signal);
    this.#short = new PinnedAgent(open, SHORT_CONNECTIONS);
    this.#long = new PinnedAgent(open, LONG_CONNECTIONS);
  }

  /**
   * Sends a request and resolves with the head of its answer.
   * @throws {LinkCut} where the transport fails. @throws {LoopsyError} from the dial, and `too_many_streams`.
   */
  request(request: LinkRequest): Promise<http.IncomingMessage> {
    const agent = request.long ? this.#long : this.#short;
    if (request.long && openSockets(agent) >= LONG_CONNECTIONS) {
      throw new LoopsyError('too_many_streams', { message: `${LONG_CONNECTIONS} long requests to this peer are open` });
    }
    return exchange(agent, request, this.#closed.signal);
  }

  /** Destroys every connection there is: who waits on one tries again, or hears that the outcome is unknown. */
  cut(): void {
    this.#short.destroy();
    this.#long.destroy();
  }

  /** Ends the link for good. */
  close(): void {
    this.#closed.abort();
    this.cut();
  }
}

const openSockets = (agent: http.Agent): number =>
  Object.values(agent.sockets).reduce((sum, sockets) => sum + (sockets?.length ?? 0), 0);

const exchange = (agent: http.Agent, request: LinkRequest, closed: AbortSignal): Promise<http.IncomingMessage> =>
  new Promise((resolve, reject) => {
    const length =
      typeof request.body === 'string' ? { 'content-length': String(Buffer.byteLength(request.body)) } : {};
    const outgoing = http.request({
      agent,
      host: 'peer.loopsy.internal',
      method: request.method,
      path: request.path,
      headers: { ...request.headers, ...length },
      signal: request.signal,
    });
    let sent = false;
    outgoing.once('socket', () => (sent = true));
    outgoing.once('response', resolve);
    outgoing.setTimeout(request.idleMs, () => outgoing.destroy(new Error('the peer is silent')));
    outgoing.on('error', (error) => {
      // Whatever failed, a link that was closed leads nowhere any more.
      if (closed.aborted) return reject(new LoopsyError('revoked', { message: 'the link to this peer was closed' }));
      return reject(error instanceof LoopsyError ? error : new LinkCut(sent, error));
    });
    sendBody(outgoing, request.body);
  });

const sendBody = (outgoing: http.ClientRequest, body: LinkRequest['body']): void => {
  if (body === undefined || typeof body === 'string') {
    outgoing.end(body);
    return;
  }
  void (async () => {
    try {
      for await (const chunk of body) {
        if (!outgoing.write(chunk)) await once(outgoing, 'drain');
        if (outgoing.destroyed) return;
      }
      outgoing.end();
    } catch (error) {
      outgoing.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  })();
};

const once = (outgoing: http.ClientRequest, event: string): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      outgoing.off(event, done);
      outgoing.off('close', done);
      resolve();
    };
    outgoing.on(event, done);
    outgoing.on('close', done);
  });
