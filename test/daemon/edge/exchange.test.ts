import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

import { describe, expect, it, onTestFinished } from 'vitest';

import type { Call } from '../../../src/daemon/edge/call.ts';
import type { EdgeParts } from '../../../src/daemon/edge/parts.ts';

import { chunksOf } from '../../../src/kernel/chunks.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { BASE_PATH } from '../../../src/protocol/version.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';
import { type EdgeDesk, openEdge } from './edge-desk.ts';

const CHUNK = Buffer.alloc(1_048_576);

/** A node whose disk is full, and a client that has begun to send it a form. */
const sending = async (more: Parameters<typeof openEdge>[1] = {}): Promise<{ socket: net.Socket; desk: EdgeDesk }> => {
  const desk = await openEdge(
    {
      'file.push': async (_, { body }) => {
        // Something of it has been read.
        if (body !== undefined) await once(body, 'data');
        throw new LoopsyError('disk_full');
      },
    },
    more,
  );
  const socket = net.connect(desk.port, '127.0.0.1');
  socket.write(
    `POST ${BASE_PATH}/transfer/push HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer owner\r\n` +
      `Content-Type: multipart/form-data; boundary=x\r\nContent-Length: ${100 * CHUNK.length}\r\n\r\n`,
  );
  socket.write(CHUNK);
  return { socket, desk };
};

describe('an answer that is given before its request has ended', () => {
  it(
    verifies('rest.early-answer', 'is heard by a client that goes on sending: closing on its bytes would take it away'),
    async () => {
      const { socket } = await sending();
      const [answer] = (await once(socket, 'data')) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1\.1 507 [\s\S]*connection: close[\s\S]*disk_full/i);
      const failed = once(socket, 'error');
      const isSent = new Promise<string>((resolve) => socket.write(CHUNK, () => setTimeout(resolve, 50, 'sent')));
      expect(await Promise.race([failed, isSent])).toBe('sent');
      socket.end();
      await once(socket, 'close');
    },
  );

  it('is waited for no longer than a moment', async () => {
    const clock = new FakeClock();
    const { socket } = await sending({ clock });
    await once(socket, 'data');
    const closed = once(socket, 'end');
    socket.resume();
    clock.advance(2000);
    await closed;
  });
});

describe('an answer of bytes that comes while the body does', () => {
  const path = `${BASE_PATH}/transfer/targets/${'0'.repeat(26)}/bytes?file=1&at=0&to=4&turn=0`;
  /** Says each chunk back, in capitals, until one is `stop`. */
  const echo = {
    'target.put': async (_: unknown, { body }: Call) => ({
      headers: {},
      chunks: (async function* () {
        if (body === undefined) return;
        const next = chunksOf(body);
        for (let chunk = await next(); chunk !== undefined; chunk = await next()) {
          if (String(chunk) === 'stop') return;
          yield Buffer.from(String(chunk).toUpperCase());
        }
      })(),
    }),
  };
  const talk = async (more: Partial<EdgeParts> = {}) => {
    const desk = await openEdge(echo, more);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const begin = async () => {
      const request = http.request({
        agent,
        port: desk.port,
        host: '127.0.0.1',
        method: 'POST',
        path,
        headers: { authorization: 'Bearer owner' },
      });
      request.write('one');
      const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
      const next = async (): Promise<string> => String(((await once(answer, 'data')) as [Buffer])[0]);
      return { request, answer, next };
    };
    return { desk, begin };
  };

  it(verifies('edge.exchange', 'is heard before the body has ended, and the connection is used again'), async () => {
    const { begin } = await talk();
    const { request, answer, next } = await begin();
    expect([answer.statusCode, await next()]).toEqual([200, 'ONE']);
    request.write('two');
    expect(await next()).toBe('TWO');
    const { localPort } = request.socket ?? {};
    request.end();
    await once(answer, 'end');
    const again = await begin();
    expect([await again.next(), again.request.socket?.localPort]).toEqual(['ONE', localPort]);
    again.request.end();
    again.answer.resume();
    await once(again.answer, 'end');
  });

  it('that ends before the body does is heard to its end; who goes on sending loses the connection', async () => {
    const clock = new FakeClock();
    const { desk, begin } = await talk({ clock });
    const { request, answer, next } = await begin();
    expect(await next()).toBe('ONE');
    request.on('error', () => undefined);
    const closed = once(request, 'close');
    answer.resume();
    request.write('stop');
    await new Promise((resolve) => setTimeout(resolve, 50));
    request.write('more');
    clock.advance(2000);
    await once(answer, 'end');
    await closed;
    expect(desk.recorded).toMatchObject([{ operation: 'target.put', decision: 'allowed', statusCode: 200 }]);
  });
});
