import type { X509Certificate } from 'node:crypto';
import http, { type IncomingMessage, type RequestListener } from 'node:http';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import type { Log } from '../../kernel/log.ts';
import { unmapped } from '../../kernel/unmapped.ts';
import { type Binding, Fronts } from './bind-addresses.ts';
import { CONNECTION_LIMITS, ConnectionBounds, type ConnectionLimits } from './connection-bounds.ts';
import { Connection, type ConnectionTimes, type SocketFacts } from './connection.ts';
import { type Malformed, malformedAnswer, malformedBy, type MalformedVisit, TOO_LARGE, TUNNEL } from './malformed.ts';
import { SecureServer, type TlsIdentity } from './secure-server.ts';

/** Every limit of the port. */
export interface ListenerLimits extends ConnectionLimits, ConnectionTimes {
  /** A request's head, from its first byte, or from the connection's begin. */
  readonly headMs: number;
  /** How long a connection may rest between two requests. */
  readonly restMs: number;
  /** How often the limits are looked at; a limit is kept to within this. */
  readonly checkMs: number;
  /** How long open requests may go on when the node stops. */
  readonly drainMs: number;
}

/** As SECURITY.md promises them: what a stranger can hold is little, and not for long. */
export const LISTENER_LIMITS: ListenerLimits = {
  ...CONNECTION_LIMITS,
  firstByteMs: 5000,
  handshakeMs: 5000,
  headMs: 10_000,
  bodyIdleMs: 30_000,
  visitMs: 30_000,
  visitBytes: 8192,
  restMs: 60_000,
  checkMs: 1000,
  drainMs: 2000,
};

/** What the listener is made of. */
export interface ListenerOptions {
  readonly bindings: readonly Binding[];
  /** 0: any free port, the same for all bindings. */
  readonly port: number;
  readonly identity: TlsIdentity;
  /** Are both ends loopback? False where one is unknown. */
  readonly isLoopback: (remoteAddress: string | undefined, localAddress: string | undefined) => boolean;
  /** Is a known peer expected at this address? It is let in before strangers. */
  readonly isKnownAddress: (address: string) => boolean;
  /** Whose a client certificate is, as `promote` names callers: such a connection is never bound as a stranger's. */
  readonly callerOf: (certificate: X509Certificate) => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: Partial<ListenerLimits>;
}

const KEEP_ALIVE_MS = 10_000;

const CONNECTIONS = new WeakMap<Duplex, Connection>();
const NOTHING_KNOWN: SocketFacts = {
  tls: false,
  loopback: false,
  remoteAddress: undefined,
  certificate: undefined,
  leaf: undefined,
};

/** The facts of `request.socket`. A socket that did not come by the listener has none. */
export const socketFacts = (socket: Duplex): SocketFacts => CONNECTIONS.get(socket)?.facts ?? NOTHING_KNOWN;

/**
 * Counts the connection of `request.socket` for a caller that has shown who it is, no longer as a stranger's.
 * False where that caller holds as many as it may: the connection then keeps the bounds that it has.
 */
export const promote = (socket: Duplex, caller: string): boolean => CONNECTIONS.get(socket)?.promote(caller) ?? false;

/** Lets the body of a request pause for as long as it likes: bytes that come when a person types them. */
export const allowIdleBody = (request: IncomingMessage): void =>
  CONNECTIONS.get(request.socket)?.allowIdleBody(request);

/**
 * The one port. The first byte decides: 0x16 begins a TLS hello, anything else is plain HTTP. One HTTP server speaks
 * on both; who may do what is decided for each request, from `socketFacts`.
 */
export class Listener implements Service {
  readonly name = 'listener';
  readonly #options: ListenerOptions;
  readonly #limits: ListenerLimits;
  readonly #bounds: ConnectionBounds;
  readonly #fronts: Fronts;
  readonly #connections = new Set<Connection>();
  readonly #secure: SecureServer;
  #http: http.Server | undefined;
  #onMalformed: (visit: MalformedVisit) => void = () => undefined;
  #check: Timer | undefined;
  #stopping = false;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#limits = { ...LISTENER_LIMITS, ...options.limits };
    this.#bounds = new ConnectionBounds(this.#limits, options.clock, options.isKnownAddress);
    this.#secure = new SecureServer(options.identity, this.#limits.handshakeMs);
    this.#fronts = new Fronts({
      accept: (socket) => this.accept(socket),
      fail: (error) => options.log.warn('accept failed', { error: error.message }),
    });
  }

  /** Who answers requests, and who hears of bytes that are none. Called once, before `start`. */
  serve(handler: RequestListener, onMalformed: (visit: MalformedVisit) => void = () => undefined): void {
    this.#onMalformed = onMalformed;
    const { headMs, restMs, checkMs } = this.#limits;
    const options = {
      // Looked at every `checkMs`: over at the limit, not after it.
      headersTimeout: Math.max(1, headMs - checkMs),
      requestTimeout: 0,
      keepAliveTimeout: restMs,
      connectionsCheckingInterval: checkMs,
      // What has none is refused as all else is: with a record.
      requireHostHeader: false,
    };
    const take: RequestListener = (request, response) => {
      const connection = CONNECTIONS.get(request.socket);
      if (connection?.beginRequest(request, response, this.#nowMs()) !== true) return;
      response.once('close', () => {
        connection.endRequest();
        if (this.#stopping && connection.idle) connection.destroy();
      });
      handler(request, response);
      // By now it has been decided who asks.
      if (connection.hasSentTooMuch) connection.destroy();
    };
    this.#http = http.createServer(options, take);
    // The body is asked for where it is read; any other expectation is nothing to us.
    this.#http.on('checkContinue', take);
    this.#http.on('checkExpectation', take);
    this.#http.on('connect', (_request, socket) => this.#refuse(CONNECTIONS.get(socket), TUNNEL));
    this.#http.on('clientError', (error, socket) => {
      const connection = CONNECTIONS.get(socket);
      const malformed = connection?.isInBody === true ? undefined : malformedBy(error);
      if (malformed === undefined) socket.destroy();
      else this.#refuse(connection, malformed);
    });
  }

  /** @throws {ListenFailure} */
  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#fronts.open(this.#options.bindings, this.#options.port);
    // It never listens itself: without this no time limit of its own would work.
    this.#http?.emit('listening');
    this.#check = this.#options.clock.every(this.#limits.checkMs, () => this.#endOverdue());
  }

  /** Takes no more connections, ends idle ones at once, the others when their answers are complete, or after a while. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const closed = this.#fronts.close();
    this.destroySockets(() => true, { only: 'idle' });
    const { clock } = this.#options;
    const cut = clock.after(this.#limits.drainMs, () => this.destroySockets(() => true));
    await closed;
    cut.cancel();
    this.#check?.cancel();
    this.destroySockets(() => true);
    this.#http?.close();
  }

  /** The port that it listens on; 0 before it does. */
  get port(): number {
    return this.#fronts.port;
  }

  /** What it listens on: `[::]:19532`. */
  get addresses(): string[] {
    return this.#fronts.addresses;
  }

  /** How many connections are open. */
  get size(): number {
    return this.#connections.size;
  }

  /** Takes a connection that came by another way than the port. */
  accept(raw: Duplex): void {
    raw.on('error', () => raw.destroy());
    const origin = this.#originOf(raw);
    const seat = this.#stopping ? undefined : this.#bounds.admit(origin);
    if (seat === undefined) {
      raw.destroy();
      return;
    }
    const connection: Connection = new Connection(raw, {
      origin,
      seat,
      bounds: this.#bounds,
      times: this.#limits,
      nowMs: this.#nowMs(),
      onExcess: () => this.#refuse(connection, TOO_LARGE),
    });
    this.#connections.add(connection);
    raw.once('close', () => {
      this.#connections.delete(connection);
      connection.leave();
    });
    this.#awaitFirstByte(raw, connection);
  }

  /** Destroys the connections that `which` names by their facts and the caller they were counted for. */
  destroySockets(
    which: (facts: SocketFacts | undefined, caller: string | undefined) => boolean,
    { only }: { only?: 'idle' | 'stalled' } = {},
  ): number {
    let count = 0;
    for (const connection of this.#connections) {
      if (only !== undefined && !connection[only]) continue;
      if (!which(connection.facts, connection.caller)) continue;
      connection.destroy();
      count += 1;
    }
    return count;
  }

  /** New connections see a new certificate. */
  setIdentity(identity: TlsIdentity): void {
    this.#secure.setIdentity(identity);
  }

  #refuse(connection: Connection | undefined, malformed: Malformed): void {
    if (connection?.refuse(malformedAnswer(malformed), this.#nowMs()) !== true) return;
    const { facts, origin } = connection;
    const caller = facts?.certificate === undefined ? undefined : connection.caller;
    this.#onMalformed({ ...malformed, caller, remoteAddress: origin.address });
  }

  #awaitFirstByte(raw: Duplex, connection: Connection): void {
    raw.once('readable', () => {
      // A stream without an encoding reads buffers.
      const first = raw.read(1) as Buffer | null;
      if (first === null) {
        if (!raw.readableEnded && !raw.destroyed) this.#awaitFirstByte(raw, connection);
        return;
      }
      raw.unshift(first);
      if (first[0] === 0x16) this.#beginHandshake(raw, connection);
      else this.#deliver(raw, connection);
    });
  }

  #beginHandshake(raw: Duplex, connection: Connection): void {
    if (!this.#bounds.mayHandshake(connection.origin)) {
      connection.destroy();
      return;
    }
    connection.beginHandshake(this.#nowMs());
    this.#secure.secure(raw, (socket) => this.#deliver(socket, connection));
  }

  #deliver(top: Duplex, connection: Connection): void {
    const { address, loopback } = connection.origin;
    const secured = top instanceof TLSSocket;
    const certificate = secured ? top.getPeerX509Certificate() : undefined;
    connection.deliver(top, { tls: secured, loopback, remoteAddress: address, certificate, leaf: certificate?.raw });
    CONNECTIONS.set(top, connection);
    const caller = certificate === undefined ? undefined : this.#options.callerOf(certificate);
    if (caller !== undefined) connection.promote(caller);
    // A node that was switched off says nothing: where it waits for nothing, this tells.
    if (secured) top.setKeepAlive(true, KEEP_ALIVE_MS);
    this.#http?.emit('connection', top);
    connection.watchBytes();
  }

  #originOf(raw: Duplex): { address: string | undefined; loopback: boolean } {
    if (!(raw instanceof net.Socket)) return { address: undefined, loopback: false };
    const { remoteAddress, localAddress } = raw;
    return {
      address: remoteAddress === undefined ? undefined : unmapped(remoteAddress),
      loopback: this.#options.isLoopback(remoteAddress, localAddress),
    };
  }

  #endOverdue(): void {
    const now = this.#nowMs();
    // Seen a moment early rather than late.
    const { checkMs } = this.#limits;
    const wallMs = this.#options.clock.now() + checkMs / 2;
    for (const connection of this.#connections)
      if (connection.isOverdue(now + checkMs) || connection.isExpired(wallMs)) connection.destroy();
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }
}
