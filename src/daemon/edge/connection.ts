import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

import type { ConnectionBounds, Origin, Seat } from './connection-bounds.ts';

/** What a connection itself says of the one at its other end. Computed once for each connection. */
export interface SocketFacts {
  /** True where the bytes travel over TLS 1.3. */
  readonly tls: boolean;
  /** True where both ends are addresses of this machine's loopback. */
  readonly loopback: boolean;
  /** The other end's address, IPv4 in its plain form; missing where it has none, as on a link over a Duplex. */
  readonly remoteAddress: string | undefined;
  /** The client's certificate: TLS proved that the client holds its key, and nothing else. One object a connection. */
  readonly certificate: X509Certificate | undefined;
  /** The same as DER. */
  readonly leaf: Uint8Array | undefined;
}

/** Time and size limits of one connection. */
export interface ConnectionTimes {
  readonly firstByteMs: number;
  readonly handshakeMs: number;
  /** No byte of a body for so long ends its connection. */
  readonly bodyIdleMs: number;
  /** A stranger's whole visit. */
  readonly visitMs: number;
  /** All bytes of a stranger's one request. */
  readonly visitBytes: number;
}

/** How long a refused connection may take to read why. */
const LAST_WORDS_MS = 1000;

/** One accepted connection, from its first byte to its last. */
export class Connection {
  readonly origin: Origin;
  readonly #raw: Duplex;
  readonly #seat: Seat;
  readonly #bounds: ConnectionBounds;
  readonly #times: ConnectionTimes;
  readonly #onExcess: () => void;
  /** What HTTP speaks with: the accepted stream, or TLS over it. */
  #top: Duplex;
  #facts: SocketFacts | undefined;
  /** Wall time, ms. */
  #certifiedUntilMs = Infinity;
  #caller: string | undefined;
  #open = 0;
  #requests = 0;
  #received = 0;
  #deadlineAtMs: number;
  readonly #leaveAtMs: number;
  #response: ServerResponse | undefined;
  /** What it hears last, and that it has heard it. */
  #lastWords: string | undefined;
  #isRefused = false;
  #body: { readonly request: IncomingMessage; seen: number; atMs: number } | undefined;

  constructor(
    raw: Duplex,
    parts: {
      origin: Origin;
      seat: Seat;
      bounds: ConnectionBounds;
      times: ConnectionTimes;
      nowMs: number;
      /** A stranger's first request is too large. */
      onExcess: () => void;
    },
  ) {
    this.#raw = raw;
    this.#top = raw;
    this.origin = parts.origin;
    this.#seat = parts.seat;
    this.#bounds = parts.bounds;
    this.#times = parts.times;
    this.#onExcess = parts.onExcess;
    this.#deadlineAtMs = parts.nowMs + parts.times.firstByteMs;
    this.#leaveAtMs = parts.nowMs + parts.times.visitMs;
  }

  get facts(): SocketFacts | undefined {
    return this.#facts;
  }

  /** Who it has shown to be. */
  get caller(): string | undefined {
    return this.#caller;
  }

  /** True where no request waits for its answer. */
  get idle(): boolean {
    return this.#open === 0;
  }

  /** True where the other end takes none of what was written to it. */
  get stalled(): boolean {
    return this.#top.writableLength > 0;
  }

  /** True where a stranger has sent more than its one request may have. */
  get hasSentTooMuch(): boolean {
    return this.isStranger && this.#received > this.#times.visitBytes;
  }

  get isStranger(): boolean {
    return this.#caller === undefined && !this.origin.loopback;
  }

  beginHandshake(nowMs: number): void {
    this.#deadlineAtMs = nowMs + this.#times.handshakeMs;
  }

  /** HTTP begins; from here on the HTTP server limits the time of heads. */
  deliver(top: Duplex, facts: SocketFacts): void {
    this.#deadlineAtMs = Infinity;
    this.#top = top;
    this.#facts = facts;
    if (facts.certificate !== undefined) this.#certifiedUntilMs = Date.parse(facts.certificate.validTo);
  }

  /** Bounds a stranger's bytes. Called when HTTP listens: before, the parser would take the bytes past this listener. */
  watchBytes(): void {
    // Before the parser, so that a head is counted when its request begins.
    if (this.isStranger) this.#top.prependListener('data', this.#count);
  }

  /** A request's head is complete. False, and the connection is gone, where it is a stranger's second one. */
  beginRequest(request: IncomingMessage, response: ServerResponse, nowMs: number): boolean {
    this.#requests += 1;
    if (this.isStranger) {
      if (this.#requests > 1) this.destroy();
      if (this.#requests > 1) return false;
      response.setHeader('connection', 'close');
      this.#response = response;
    }
    this.#open += 1;
    const { headers } = request;
    const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
    if (hasBody) this.#body = { request, seen: bytesRead(this.#top), atMs: nowMs };
    return true;
  }

  endRequest(): void {
    this.#open -= 1;
    if (this.idle) this.#sayLast();
  }

  /** True where what comes belongs to a request that has begun. */
  get isInBody(): boolean {
    return this.#body?.request.complete === false;
  }

  /**
   * Takes no request any more, and ends with these words, behind the answers that are on their way.
   * @returns false where it was told so before.
   */
  refuse(words: string, nowMs: number): boolean {
    if (this.#isRefused) return false;
    this.#isRefused = true;
    this.#lastWords = words;
    this.#deadlineAtMs = nowMs + LAST_WORDS_MS;
    if (this.idle) this.#sayLast();
    return true;
  }

  #sayLast(): void {
    if (this.#lastWords === undefined || this.#top.destroyed) return;
    this.#top.end(this.#lastWords);
    // Closing on bytes that nobody read would take the words with it.
    this.#top.resume();
    this.#lastWords = undefined;
  }

  /** The body of this request may pause for as long as it likes. */
  allowIdleBody(request: IncomingMessage): void {
    if (this.#body?.request === request) this.#body = undefined;
  }

  /** Takes the connection out of the strangers' bounds. False where the caller holds as many as it may. */
  promote(caller: string): boolean {
    if (this.#caller === caller) return true;
    if (!this.#bounds.promote(this.#seat, caller)) return false;
    this.#caller = caller;
    this.#top.off('data', this.#count);
    if (this.#response?.headersSent === false) this.#response.removeHeader('connection');
    this.#response = undefined;
    return true;
  }

  /** True where it has used up its time. */
  isOverdue(nowMs: number): boolean {
    if (nowMs >= this.#deadlineAtMs || (this.isStranger && nowMs >= this.#leaveAtMs)) return true;
    const body = this.#body;
    if (body === undefined) return false;
    if (body.request.complete || body.request.destroyed) this.#body = undefined;
    const seen = bytesRead(this.#top);
    // Bytes that lie here unread are not the client's delay.
    if (seen !== body.seen || body.request.readableLength > 0) Object.assign(body, { seen, atMs: nowMs });
    return this.#body !== undefined && nowMs - body.atMs >= this.#times.bodyIdleMs;
  }

  /** True where the certificate that it showed is over: a request that began in time ends with it. */
  isExpired(wallMs: number): boolean {
    return wallMs > this.#certifiedUntilMs;
  }

  destroy(): void {
    this.#top.destroy();
    this.#raw.destroy();
  }

  /** Gives its seat back. */
  leave(): void {
    this.#bounds.leave(this.#seat);
  }

  readonly #count = (chunk: Buffer): void => {
    this.#received += chunk.length;
    if (this.#received <= this.#times.visitBytes) return;
    // Who asks is decided when the head has been read, which may be in this very chunk.
    setImmediate(() => {
      if (!this.hasSentTooMuch) return;
      if (this.#requests === 0) this.#onExcess();
      this.destroy();
    });
  };
}

const bytesRead = (socket: Duplex): number => (socket instanceof Socket ? socket.bytesRead : 0);

/** Both ends of a TCP connection: unique among the open ones, and the same seen through TLS. */
export const endsOf = (socket: Socket): string =>
  `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`;
