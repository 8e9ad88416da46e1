import type { Socket } from 'node:net';

import type { TransportRequest, TransportResponse } from '../client/transport.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { AnswerReader, type AnswerHead } from './answer-reader.ts';
import { connectChunks } from './socket-chunks.ts';

/** Never a name: what `localhost` means can be changed. */
export const LOOPBACK = '127.0.0.1';

/** What could end a line of the head, or the head itself. */
const UNSAFE = /[^\t\x20-\x7E]/;

/**
 * One connection to a port of this machine, one request at a time: what was proved on it holds for every request, and
 * none can leave on another.
 */
export class OneSocket {
  readonly #port: number;
  readonly #socket: Socket;
  readonly #reader: AnswerReader;
  #busy = false;
  #uploading = false;

  /** Begins to connect; the first request waits for it, and fails where nothing listens (ECONNREFUSED). */
  constructor(port: number) {
    this.#port = port;
    const { socket, next } = connectChunks({ host: LOOPBACK, port, noDelay: true });
    this.#socket = socket;
    this.#reader = new AnswerReader(next);
  }

  /** True between requests, while the connection is open. */
  get free(): boolean {
    return !this.#busy && !this.#socket.destroyed;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Sends one request; resolves with the head of its answer. Its body is read before the next request. */
  async exchange(request: TransportRequest): Promise<TransportResponse> {
    const { signal } = request;
    signal?.throwIfAborted();
    if (!this.free) throw new LoopsyError('node_not_running', { message: 'the node closed the connection' });
    this.#busy = true;
    const leave = (): void => this.close();
    signal?.addEventListener('abort', leave);
    const settle = (reusable: boolean): void => {
      signal?.removeEventListener('abort', leave);
      this.#busy = false;
      if (!reusable || this.#uploading || !this.#reader.isEmpty) this.close();
    };
    try {
      this.#send(request);
      const head = await this.#reader.readHead();
      let trailers: ReadonlyMap<string, string> | undefined;
      const body = this.#body(head, (reusable, behind) => {
        trailers = behind;
        settle(reusable);
      });
      return {
        status: head.status,
        header: (name) => head.headers.get(name),
        body,
        trailer: (name) => trailers?.get(name),
      };
    } catch (thrown) {
      settle(false);
      throw thrown;
    }
  }

  #send({ method, path, headers, body }: TransportRequest): void {
    const form =
      typeof body === 'string' ? { 'content-length': Buffer.byteLength(body) } : { 'transfer-encoding': 'chunked' };
    const all = { host: `${LOOPBACK}:${this.#port}`, ...headers, ...(body === undefined ? {} : form) };
    const lines = [`${method} ${path} HTTP/1.1`, ...Object.entries(all).map(([name, value]) => `${name}: ${value}`)];
    if (lines.some((line) => UNSAFE.test(line))) throw new TypeError('a header holds what no header can');
    this.#socket.write(`${lines.join('\r\n')}\r\n\r\n${typeof body === 'string' ? body : ''}`);
    if (typeof body !== 'object') return;
    this.#uploading = true;
    pump(this.#socket, body).then(
      () => (this.#uploading = false),
      (error: Error) => this.#socket.destroy(error),
    );
  }

  /** Leaving the loop ends the connection: what is left of the answer would stand before the next one. */
  async *#body(
    head: AnswerHead,
    settle: (reusable: boolean, trailers: ReadonlyMap<string, string> | undefined) => void,
  ): AsyncGenerator<Uint8Array> {
    let trailers: ReadonlyMap<string, string> | undefined;
    try {
      trailers = yield* this.#reader.readBody(head);
    } finally {
      settle(trailers !== undefined && head.headers.get('connection')?.toLowerCase() !== 'close', trailers);
    }
  }
}

/** Sends a byte body in chunks, no faster than the node takes it; each is good until the next is asked for. */
const pump = async (socket: Socket, body: AsyncIterable<Uint8Array>): Promise<void> => {
  for await (const chunk of body) {
    if (socket.destroyed) return;
    if (chunk.length === 0) continue;
    socket.cork();
    socket.write(`${chunk.length.toString(16)}\r\n`);
    socket.write(chunk);
    const sent = isWritten(socket, '\r\n');
    socket.uncork();
    await sent;
  }
  socket.write('0\r\n\r\n');
};

/** Resolves when this, and all before it, has left, or nothing ever will: its memory may be used again. */
const isWritten = (socket: Socket, text: string): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      socket.off('close', done);
      resolve();
    };
    socket.on('close', done);
    socket.write(text, done);
  });
