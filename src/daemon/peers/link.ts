import http from 'node:http';
import type { Duplex } from 'node:stream';

import { nextTurn } from '../../kernel/turn.ts';
import { LoopsyError } from '../../protocol/errors.ts';

/** One request over a link. */
export interface LinkRequest {
  readonly method: string;
  /** With the base path and the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Of bytes each chunk is good until the next is asked for: it has left by then. */
  readonly body?: string | AsyncIterable<Uint8Array>;
  /** How many bytes `body` has, where that is known beforehand: other than so many cut the request. */
  readonly bodyLength?: number;
  /** True for what may take long: it gets connections of its own, so that it never delays a short request. */
  readonly long: boolean;
  /** Ms of silence after which the peer counts as gone; 0: never. */
  readonly idleMs: number;
  /** Aborted where the answer is no longer wanted, or, with a `TimeoutError`, has taken too long. */
  readonly signal: AbortSignal;
}

/** `cut`: by the network or the peer. `silent`: nothing came in time. `closed`: by this node, which had given it up. */
export type CutKind = 'cut' | 'silent' | 'closed';

/** The transport failed. `sent` is false where no byte of the request can have reached the peer. */
export class LinkCut extends Error {
  override readonly name = 'LinkCut';
  readonly kind: CutKind;
  readonly sent: boolean;
  /** For how long the peer was silent, where it was. */
  readonly silentMs: number;

  constructor(kind: CutKind, how: { sent: boolean; silentMs?: number; cause?: unknown }) {
    super(`the link failed: ${kind}`, { cause: how.cause });
    this.kind = kind;
    this.sent = how.sent;
    this.silentMs = how.silentMs ?? 0;
  }
}

/** A peer from which nothing came for so long, not even a heartbeat, counts as gone. */
export const SILENCE_MS = 25_000;

const SHORT_CONNECTIONS = 16;
const LONG_CONNECTIONS = 200;
const IDLE_CONNECTION_MS = 55_000;
/** What one body may move before others have a turn. */
const TURN_BYTES = 1_048_576;

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
  readonly #open = new Set<Asking>();
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
    const asking = new Asking(agent, request, this.#closed.signal);
    this.#open.add(asking);
    asking.outgoing.once('close', () => this.#open.delete(asking));
    return asking.answer;
  }

  /** Destroys every connection there is: who waits on one tries again, or hears that the outcome is unknown. */
  cut(): void {
    for (const asking of this.#open) asking.fail('closed');
    this.#short.destroy();
    this.#long.destroy();
  }

  /** Ends the link for good. `why`: what is said to who asks over it. */
  close(why: LoopsyError = new LoopsyError('revoked', { message: 'the link to this peer was closed' })): void {
    this.#closed.abort(why);
    this.cut();
  }
}

const openSockets = (agent: http.Agent): number =>
  Object.values(agent.sockets).reduce((sum, sockets) => sum + (sockets?.length ?? 0), 0);

/** True where the time of a request is over, and nobody has left. */
const isTimeout = ({ reason }: AbortSignal): boolean => reason instanceof Error && reason.name === 'TimeoutError';

/** One request under way. */
class Asking {
  readonly outgoing: http.ClientRequest;
  /** The head of the answer. Whatever fails after it, the reader of its body hears the same `LinkCut`. */
  readonly answer: Promise<http.IncomingMessage>;
  readonly #idleMs: number;
  #sent = false;
  #head: http.IncomingMessage | undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor(agent: http.Agent, request: LinkRequest, closed: AbortSignal) {
    const { method, path, headers, body, idleMs, signal } = request;
    const bodyLength = typeof body === 'string' ? Buffer.byteLength(body) : request.bodyLength;
    const length = bodyLength === undefined ? {} : { 'content-length': String(bodyLength) };
    this.#idleMs = idleMs;
    this.outgoing = http.request({
      agent,
      host: 'peer.loopsy.internal',
      method,
      path,
      headers: { ...headers, ...length },
    });
    this.outgoing.once('socket', () => (this.#sent = true));
    this.outgoing.setTimeout(idleMs, () => this.fail('silent'));
    this.answer = new Promise((resolve, reject) => {
      this.#reject = reject;
      this.outgoing.once('response', (head) => resolve((this.#head = head)));
      this.outgoing.on('error', (error) => {
        // Whatever failed, a link that was closed leads nowhere any more.
        if (closed.aborted) return reject(closed.reason as LoopsyError);
        const known = error instanceof LoopsyError || error instanceof LinkCut;
        return reject(known ? error : new LinkCut('cut', { sent: this.#sent, cause: error }));
      });
    });
    this.#obey(signal);
    sendBody(this.outgoing, body, bodyLength);
  }

  /** Ends it, and says why to whoever waits for the head or reads the body. */
  fail(kind: CutKind): void {
    const cut = new LinkCut(kind, { sent: this.#sent, silentMs: this.#idleMs });
    this.#head?.destroy(cut);
    this.outgoing.destroy(cut);
    // Who asked while the connection was being made hears it now, not when that has failed.
    if (kind === 'silent') this.#reject(cut);
  }

  #obey(signal: AbortSignal): void {
    const onAbort = (): void => this.fail(isTimeout(signal) ? 'silent' : 'closed');
    signal.addEventListener('abort', onAbort, { once: true });
    this.outgoing.once('close', () => signal.removeEventListener('abort', onAbort));
    if (signal.aborted) onAbort();
  }
}

const sendBody = (outgoing: http.ClientRequest, body: LinkRequest['body'], length: number | undefined): void => {
  if (body === undefined || typeof body === 'string') {
    outgoing.end(body);
    return;
  }
  sendChunks(outgoing, body, length).catch((error: unknown) =>
    outgoing.destroy(error instanceof Error ? error : new Error(String(error))),
  );
};

const sendChunks = async (
  outgoing: http.ClientRequest,
  body: AsyncIterable<Uint8Array>,
  length: number | undefined,
): Promise<void> => {
  let [sent, sinceTurn] = [0, 0];
  await sendHead(outgoing);
  for await (const chunk of body) {
    sent += chunk.length;
    // What is more than was announced would be taken for the next request.
    if (outgoing.destroyed || (length !== undefined && sent > length)) break;
    // What failed is told by the request itself, which Node 24 does not call destroyed at once.
    if (!(await isWritten(outgoing, chunk))) return;
    sinceTurn += chunk.length;
    if (sinceTurn >= TURN_BYTES) sinceTurn = await nextTurn();
  }
  if (outgoing.destroyed) return;
  if (length !== undefined && sent !== length) throw new Error(`a body of ${length} bytes had ${sent}`);
  outgoing.end();
};

/** The head leaves by itself: together with the first bytes it would be a copy of these. Resolves also where none can leave. */
const sendHead = (outgoing: http.ClientRequest): Promise<void> =>
  new Promise((resolve) => {
    const send = (): void => {
      outgoing.flushHeaders();
      resolve();
    };
    outgoing.once('close', resolve);
    if (outgoing.socket === null) outgoing.once('socket', send);
    else send();
  });

/** Resolves when these bytes have left; with false where nothing leaves any more. */
const isWritten = (outgoing: http.ClientRequest, bytes: Uint8Array): Promise<boolean> =>
  new Promise((resolve) => {
    const gone = (): void => resolve(false);
    outgoing.on('close', gone);
    outgoing.write(bytes, (error) => {
      outgoing.off('close', gone);
      resolve(error === null || error === undefined);
    });
  });
