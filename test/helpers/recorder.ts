import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';

import type { Shown } from './ask.ts';

const LAST = 'the last word';

/** A server that writes down every byte behind its handshake, and refuses as a node does. */
export class Recorder {
  readonly heard: Buffer[] = [];
  readonly isPlain: boolean;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();

  constructor(shown: Shown | undefined, options: tls.TlsOptions = {}) {
    this.isPlain = shown === undefined;
    const take = (socket: net.Socket): void => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => {
        this.heard.push(chunk);
        socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}');
      });
    };
    this.#server =
      shown === undefined
        ? net.createServer(take)
        : tls.createServer({ ...shown, requestCert: true, rejectUnauthorized: false, ...options }, take);
    this.#server.on('tlsClientError', () => undefined);
  }

  get text(): string {
    return Buffer.concat(this.heard).toString('latin1');
  }

  async listen(port = 0): Promise<number> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  /** Waits for the test's own last word. @returns what was said before it. */
  async catchUp(port: number): Promise<string> {
    const at = { port, host: '127.0.0.1', rejectUnauthorized: false };
    const socket = this.isPlain ? net.connect(at) : tls.connect(at);
    socket.on('error', () => undefined);
    socket.write(LAST);
    while (!this.text.endsWith(LAST)) await new Promise(setImmediate);
    socket.destroy();
    return this.text.slice(0, -LAST.length);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
