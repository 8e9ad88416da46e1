import http from 'node:http';
import type { AddressInfo } from 'node:net';
import net from 'node:net';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { collectText, CutShort, TooLarge } from '../../src/kernel/collect.ts';

const outcomes: Promise<string>[] = [];
const server = http.createServer((request, response) => {
  const read = collectText(request, 100).catch((error: unknown) => {
    if (error instanceof TooLarge || error instanceof CutShort) return error.name;
    throw error;
  });
  outcomes.push(read);
  void read.then((text) => {
    response.setHeader('connection', 'close');
    response.end(text);
  });
});

beforeAll(() => new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve)));
afterAll(() => new Promise((resolve) => void server.close(resolve)));

/** Sends what a client writes, and gives what came of the body. */
const send = async (...parts: string[]): Promise<string> => {
  // It was listened on an address, so that it has one.
  const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  const seen = outcomes.length;
  socket.on('error', () => undefined);
  socket.resume();
  for (const part of parts) {
    if (part === 'CUT') socket.destroy();
    else await new Promise((resolve) => void socket.write(part, resolve));
    await new Promise((resolve) => setImmediate(resolve));
    while (outcomes.length === seen) await new Promise((resolve) => setImmediate(resolve));
  }
  const outcome = await outcomes[seen];
  socket.destroy();
  return outcome ?? '';
};

const HEAD = 'POST / HTTP/1.1\r\nhost: a\r\n';

describe('a body', () => {
  it('is read whole, its characters too where chunks cut them', async () => {
    expect(await send(`${HEAD}content-length: 0\r\n\r\n`)).toBe('');
    expect(await send(`${HEAD}content-length: 5\r\n\r\n`, 'h', 'ello')).toBe('hello');
    expect(await send(`${HEAD}content-length: 2\r\n\r\n`, 'ü')).toBe('ü');
    expect(await send(`${HEAD}transfer-encoding: chunked\r\n\r\n`, '3\r\nabc\r\n', '1\r\nd\r\n', '0\r\n\r\n')).toBe(
      'abcd',
    );
  });

  it('may be as large as the limit, and not a byte larger, announced or not', async () => {
    expect(await send(`${HEAD}content-length: 100\r\n\r\n`, 'x'.repeat(100))).toHaveLength(100);
    expect(await send(`${HEAD}content-length: 101\r\n\r\n`)).toBe('TooLarge');
    expect(await send(`${HEAD}transfer-encoding: chunked\r\n\r\n`, `64\r\n${'x'.repeat(100)}\r\n`, '1\r\ny\r\n')).toBe(
      'TooLarge',
    );
  });

  it('that ends before its end is no whole one', async () => {
    expect(await send(`${HEAD}content-length: 50\r\n\r\n`, 'half', 'CUT')).toBe('CutShort');
    expect(await send(`${HEAD}transfer-encoding: chunked\r\n\r\n`, '4\r\nhalf\r\n', 'CUT')).toBe('CutShort');
  });
});
