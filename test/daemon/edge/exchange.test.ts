import { once } from 'node:events';
import net from 'node:net';

import { describe, expect, it } from 'vitest';

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
