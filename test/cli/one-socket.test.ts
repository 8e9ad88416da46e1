import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createPlainServer, type AddressInfo, type Server } from 'node:net';
import { text } from 'node:stream/consumers';

import { describe, expect, it, onTestFinished } from 'vitest';

import type { TransportRequest } from '../../src/client/transport.ts';
import { OneSocket } from '../../src/cli/one-socket.ts';

const listen = async (server: Server): Promise<number> => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
};

/** A connection to a server of Node's own. */
const socketTo = async (
  answer: (request: IncomingMessage, response: ServerResponse) => unknown,
): Promise<OneSocket> => {
  const server = createServer((request, response) => void answer(request, response));
  onTestFinished(() => server.closeAllConnections());
  return connected(await listen(server));
};

const connected = (port: number): OneSocket => {
  const socket = new OneSocket(port);
  onTestFinished(() => socket.close());
  return socket;
};

const GET: TransportRequest = { method: 'GET', path: '/', headers: {} };

const ask = async (socket: OneSocket, request: TransportRequest): Promise<string> => {
  const { status, body } = await socket.exchange(request);
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return `${status} ${Buffer.concat(parts).toString()}`;
};

describe('one connection to a port of this machine', () => {
  it('carries one request after the other, of every form', async () => {
    const connections = new Set<unknown>();
    const socket = await socketTo(async (request, response) => {
      connections.add(request.socket);
      const { method, url, headers } = request;
      const said = `${method} ${url} ${headers.host?.split(':')[0]} ${String(headers['x-mine'])} ${await text(request)}`;
      response.setHeader('x-length', String(headers['content-length'] ?? headers['transfer-encoding']));
      response.write(said.slice(0, 3));
      response.end(said.slice(3));
    });
    async function* upload() {
      yield* [Buffer.from('in '), Buffer.alloc(0), Buffer.from('chunks')];
    }
    const headers = { 'x-mine': 'yes' };
    expect(await ask(socket, { ...GET, path: '/a?b=c', headers })).toBe('200 GET /a?b=c 127.0.0.1 yes ');
    expect(await ask(socket, { method: 'POST', path: '/', headers, body: 'größer' })).toBe(
      '200 POST / 127.0.0.1 yes größer',
    );
    expect(await ask(socket, { method: 'POST', path: '/', headers, body: upload() })).toBe(
      '200 POST / 127.0.0.1 yes in chunks',
    );
    expect(socket.free).toBe(true);
    expect(connections.size).toBe(1);
  });

  it('refuses a second request while the first one is under way', async () => {
    const socket = await socketTo((_, response) => void response.write('begun'));
    const { body } = await socket.exchange(GET);
    expect(socket.free).toBe(false);
    await expect(socket.exchange(GET)).rejects.toMatchObject({ error: 'node_not_running' });
    for await (const part of body) {
      expect(Buffer.from(part).toString()).toBe('begun');
      break;
    }
  });

  it('ends where the reader leaves the loop, so that what is left can not be taken for the next answer', async () => {
    let isGone = (): void => undefined;
    const gone = new Promise<void>((resolve) => (isGone = resolve));
    const socket = await socketTo((request, response) => {
      request.socket.on('error', () => undefined).on('close', isGone);
      response.write('x'.repeat(100_000));
    });
    for await (const part of (await socket.exchange(GET)).body) {
      expect(part.length).toBeGreaterThan(0);
      break;
    }
    await gone;
    expect(socket.free).toBe(false);
  });

  it('ends with its signal, before the answer and within it', async () => {
    const socket = await socketTo(() => undefined);
    const controller = new AbortController();
    const asked = socket.exchange({ ...GET, signal: controller.signal });
    controller.abort();
    await expect(asked).rejects.toThrow();
    expect(socket.free).toBe(false);
    await expect(
      (await socketTo(() => undefined)).exchange({ ...GET, signal: controller.signal }),
    ).rejects.toMatchObject({
      name: 'AbortError',
    });
  });

  it('is not used again where the node says so, answers before it has read everything, or says more than was asked', async () => {
    const closing = await socketTo((_, response) => void response.setHeader('connection', 'close').end('bye'));
    expect(await ask(closing, GET)).toBe('200 bye');
    expect(closing.free).toBe(false);

    async function* endless() {
      for (;;) {
        yield Buffer.alloc(1000);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const early = await socketTo((_, response) => void response.end('enough'));
    expect(await ask(early, { ...GET, method: 'POST', body: endless() })).toBe('200 enough');
    expect(early.free).toBe(false);

    const server = createPlainServer((connection) => {
      connection.on('error', () => undefined);
      connection.once('data', () =>
        connection.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 forged'),
      );
    });
    const chatty = connected(await listen(server));
    expect(await ask(chatty, GET)).toBe('200 ok');
    expect(chatty.free).toBe(false);
  });

  it('gives what follows a body when that has ended, and goes on to the next request', async () => {
    const socket = await socketTo((_, response) => {
      response.writeHead(200, { trailer: 'loopsy-checksum' });
      response.write('abc');
      response.addTrailers({ 'loopsy-checksum': 'sum' });
      response.end();
    });
    for (const _ of [1, 2]) {
      const { body, trailer } = await socket.exchange(GET);
      expect(trailer('loopsy-checksum')).toBeUndefined();
      for await (const part of body) expect(Buffer.from(part).toString()).toBe('abc');
      expect(trailer('loopsy-checksum')).toBe('sum');
      expect(socket.free).toBe(true);
    }
  });

  it('asks for the next chunk of a body when the last has left: its memory may be used again', async () => {
    const hash = createHash('sha256');
    const socket = await socketTo(async (request, response) => {
      const seen = createHash('sha256');
      for await (const part of request) seen.update(part);
      response.end(seen.digest('hex'));
    });
    async function* body() {
      const memory = Buffer.alloc(1_048_576);
      for (let at = 0; at < 40; at += 1) {
        memory.fill(at);
        hash.update(memory);
        yield memory;
        memory.fill(255);
      }
    }
    const got = await ask(socket, { ...GET, method: 'POST', body: body() });
    expect(got).toBe(`200 ${hash.digest('hex')}`);
  });

  it('sends no faster than it is taken', async () => {
    let begin = (): void => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const socket = await socketTo(async (request, response) => {
      await begun;
      let taken = 0;
      for await (const part of request) taken += part.length;
      response.end(String(taken));
    });
    let given = 0;
    async function* body() {
      for (; given < 300; given += 1) yield Buffer.alloc(100_000);
    }
    const asked = ask(socket, { ...GET, method: 'POST', body: body() });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(given).toBeLessThan(300);
    begin();
    expect(await asked).toBe('200 30000000');
  });

  it('reads no faster than it is asked for', async () => {
    let sent = 0;
    const socket = await socketTo(async (_, response) => {
      for (; sent < 300; sent += 1) {
        if (!response.write(Buffer.alloc(100_000))) await once(response, 'drain');
      }
      response.end();
    });
    const { body } = await socket.exchange(GET);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sent).toBeLessThan(300);
    let bytes = 0;
    for await (const part of body) bytes += part.length;
    expect(bytes).toBe(30_000_000);
  });

  it('lets no header be forged by a line break in a value', async () => {
    const socket = await socketTo((_, response) => void response.end());
    await expect(socket.exchange({ ...GET, headers: { authorization: 'Bearer x\r\nx-admin: 1' } })).rejects.toThrow(
      'header',
    );
    await expect((await socketTo(() => undefined)).exchange({ ...GET, path: '/\r\nx: y' })).rejects.toThrow('header');
  });

  it('says ECONNREFUSED where nothing listens', async () => {
    const server = createPlainServer();
    const port = await listen(server);
    server.close();
    await once(server, 'close');
    await expect(connected(port).exchange(GET)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});
