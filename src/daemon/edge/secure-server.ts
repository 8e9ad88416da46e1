import { constants } from 'node:crypto';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls, { type TLSSocket } from 'node:tls';

import { endsOf } from './connection.ts';

/** This node's certificate (with its issuer's, where there is one) and key, PEM. */
export interface TlsIdentity {
  readonly key: string;
  readonly cert: string;
}

/** How a handshake ended well. */
type Secured = (socket: TLSSocket) => void;

/** In this order: for many bytes the first is a tenth faster than what Node prefers, and as good. */
export const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

/** Shakes hands on connections that were accepted elsewhere: TLS 1.3, any client certificate or none, no resumption. */
export class SecureServer {
  readonly #server: tls.Server;
  readonly #handshakeMs: number;
  readonly #waiting = new Map<string, Secured>();
  #identity: TlsIdentity;

  constructor(identity: TlsIdentity, handshakeMs: number) {
    this.#identity = identity;
    this.#handshakeMs = handshakeMs;
    this.#server = this.#create((socket) => {
      const secured = this.#waiting.get(endsOf(socket));
      this.#waiting.delete(endsOf(socket));
      if (secured === undefined) socket.destroy();
      else secured(socket);
    });
  }

  /** Calls `secured` when the handshake is complete; where it fails, `raw` is destroyed. */
  secure(raw: Duplex, secured: Secured): void {
    if (!(raw instanceof net.Socket)) {
      // What has no addresses is told apart by having a server of its own.
      this.#create(secured).emit('connection', raw);
      return;
    }
    const ends = endsOf(raw);
    this.#waiting.set(ends, secured);
    raw.once('close', () => {
      if (this.#waiting.get(ends) === secured) this.#waiting.delete(ends);
    });
    this.#server.emit('connection', raw);
  }

  /** New connections see a new certificate. */
  setIdentity(identity: TlsIdentity): void {
    this.#identity = identity;
    this.#server.setSecureContext(contextOf(identity));
  }

  #create(secured: Secured): tls.Server {
    const server = tls.createServer({
      ...contextOf(this.#identity),
      requestCert: true,
      // Pins decide, not chains.
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: this.#handshakeMs,
    });
    server.on('secureConnection', secured);
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    // The HTTP server reports a socket's errors to the server that made the socket.
    server.on('clientError', (_error: Error, socket: Duplex) => socket.destroy());
    return server;
  }
}

const contextOf = ({ key, cert }: TlsIdentity): tls.SecureContextOptions => ({
  key,
  cert,
  // Without it the system's roots would be loaded, for nothing.
  ca: [],
  minVersion: 'TLSv1.3',
  ciphers: CIPHERS,
  // A resumed session would skip the look at the client's certificate.
  secureOptions: constants.SSL_OP_NO_TICKET,
});
