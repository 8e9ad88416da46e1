import { once } from 'node:events';
import net from 'node:net';

import { describe, expect, it } from 'vitest';

import type { Call } from '../../../src/daemon/edge/call.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { BASE_PATH } from '../../../src/protocol/version.ts';
import { verifies } from '../../requirements.ts';
import { type EdgeDesk, openEdge } from './edge-desk.ts';

describe('a form', () => {
  const calls: Pick<Call, 'contentType' | 'bodyLength'>[] = [];
  const take = async (_input: unknown, call: Call) => {
    calls.push(call);
    for await (const _ of call.body ?? []);
    return { path: '/x', size: 0, checksum: '', duration: 0 };
  };
  const push = (desk: EdgeDesk, type?: string): ReturnType<EdgeDesk['ask']> =>
    desk.ask({
      method: 'POST',
      path: '/transfer/push',
      key: 'owner',
      body: 'abc',
      headers: { 'content-type': type ?? '' },
    });

  it('reaches its handler with its boundary in one form, and its length where the client says so', async () => {
    const desk = await openEdge({ 'file.push': take });
    const sound = [
      'multipart/form-data; boundary=----WebKitFormBoundaryABC123',
      'Multipart/Form-Data;boundary="----WebKitFormBoundaryABC123"',
    ];
    for (const type of sound) {
      expect((await push(desk, type)).status).toBe(200);
      const { contentType, bodyLength } = calls.at(-1) ?? {};
      expect([contentType, bodyLength]).toEqual(['multipart/form-data; boundary="----WebKitFormBoundaryABC123"', 3]);
    }
    for (const boundary of [`it's(1)+_,-./:=?`, 'a b', 'x'.repeat(70)])
      expect((await push(desk, `multipart/form-data; boundary="${boundary}"`)).status).toBe(200);
  });

  it(verifies('edge.bodies', 'without a sound boundary is refused before a byte of it is asked for'), async () => {
    const desk = await openEdge({ 'file.push': take });
    const unsound = [
      '',
      'application/octet-stream',
      'multipart/form-data',
      'multipart/form-data; boundary=',
      'multipart/form-data; boundary=a b',
      'multipart/form-data; boundary="a "',
      'multipart/form-data; boundary="a\\"b"',
      'multipart/form-data; boundary=a; boundary=b',
      `multipart/form-data; boundary=${'x'.repeat(71)}`,
      'multipart/form-data; boundary=ä',
      'multipart/mixed; boundary=a',
      'x, multipart/form-data; boundary=a',
    ];
    for (const type of unsound) {
      const socket = net.connect(desk.port, '127.0.0.1');
      socket.write(
        `POST ${BASE_PATH}/transfer/push HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer owner\r\n` +
          `Content-Type: ${type}\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n`,
        'latin1',
      );
      const [first] = (await once(socket, 'data')) as [Buffer];
      expect([type, first.toString()]).toEqual([type, expect.stringMatching(/^HTTP\/1\.1 400 [\s\S]*invalid_request/)]);
      socket.destroy();
    }
  });

  it(verifies('edge.bodies', 'is asked for when its handler takes it, and never where that refuses it'), async () => {
    const picky = async (input: unknown, call: Call) => {
      if (call.bodyLength === 9) throw new LoopsyError('file_too_large');
      return take(input, call);
    };
    const desk = await openEdge({ 'file.push': picky });
    for (const [length, answer] of [
      [9, /^HTTP\/1\.1 413 /],
      [8, /^HTTP\/1\.1 100 Continue\r\n\r\n/],
    ] as const) {
      const socket = net.connect(desk.port, '127.0.0.1');
      socket.write(
        `POST ${BASE_PATH}/transfer/push HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer owner\r\n` +
          `Content-Type: multipart/form-data; boundary=a\r\nContent-Length: ${length}\r\nExpect: 100-continue\r\n\r\n`,
      );
      const [first] = (await once(socket, 'data')) as [Buffer];
      expect(first.toString()).toMatch(answer);
      socket.destroy();
    }
  });
});
