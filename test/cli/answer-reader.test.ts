import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { AnswerReader } from '../../src/cli/answer-reader.ts';

/** A reader of these chunks, after which the connection is closed. */
const readerOf = (...chunks: readonly (string | Buffer)[]): AnswerReader => {
  const left = chunks.map((chunk) => (typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : chunk));
  return new AnswerReader(async () => left.shift());
};

const readAnswer = async (reader: AnswerReader) => {
  const head = await reader.readHead();
  const parts: Uint8Array[] = [];
  const body = reader.readBody(head);
  let step = await body.next();
  for (; step.done !== true; step = await body.next()) parts.push(step.value);
  return {
    status: head.status,
    headers: Object.fromEntries(head.headers),
    trailers: Object.fromEntries(step.value),
    body: Buffer.concat(parts).toString('latin1'),
  };
};

const answer = (head: string, body = ''): string => `HTTP/1.1 200 OK\r\n${head}\r\n${body}`;

describe('the answers of a node', () => {
  it('have a length, come in chunks, or have no body', async () => {
    const reader = readerOf(
      answer('Content-Length: 5\r\nX-One: a \r\nx-one:b\r\n', 'hello'),
      answer('transfer-encoding: Chunked\r\n', '5\r\nhello\r\nA\r\n, chunks!!\r\n0\r\n\r\n'),
      answer('transfer-encoding: chunked\r\n', '0\r\nChecksum: 1234 \r\nmore: x\r\nmore:y\r\n\r\n'),
      'HTTP/1.1 204\r\n\r\n',
      'HTTP/1.1 429 Too Many\r\ncontent-length: 0\r\n\r\n',
    );
    expect(await readAnswer(reader)).toEqual({
      status: 200,
      headers: { 'content-length': '5', 'x-one': 'a, b' },
      trailers: {},
      body: 'hello',
    });
    expect(await readAnswer(reader)).toMatchObject({ body: 'hello, chunks!!' });
    expect(await readAnswer(reader)).toMatchObject({ body: '', trailers: { checksum: '1234', more: 'x, y' } });
    expect(await readAnswer(reader)).toMatchObject({ status: 204, body: '' });
    expect(await readAnswer(reader)).toMatchObject({ status: 429, body: '' });
    expect(reader.isEmpty).toBe(true);
  });

  it('are the same wherever they are cut, and byte for byte', async () => {
    const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(bodies, fc.array(fc.nat(400), { maxLength: 30 }), async (chunks, cuts) => {
        const body = Buffer.concat(chunks);
        const chunked = chunks.flatMap((chunk) => [
          Buffer.from(`${chunk.length.toString(16)}\r\n`),
          chunk,
          Buffer.from('\r\n'),
        ]);
        const bytes = Buffer.concat([
          Buffer.from(answer('transfer-encoding: chunked\r\n')),
          ...chunked,
          Buffer.from(`0\r\n\r\n${answer(`content-length: ${body.length}\r\n`)}`),
          body,
        ]);
        const places = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
        const reader = readerOf(...places.slice(1).map((place, at) => bytes.subarray(places[at], place)));
        expect((await readAnswer(reader)).body).toBe(body.toString('latin1'));
        expect((await readAnswer(reader)).body).toBe(body.toString('latin1'));
        expect(reader.isEmpty).toBe(true);
      }),
    );
  });

  it('leave what comes behind them for the next one', async () => {
    const reader = readerOf(answer('content-length: 2\r\n', 'okHTTP/1.1 200'));
    await readAnswer(reader);
    expect(reader.isEmpty).toBe(false);
  });

  it.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['another version', 'HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['a status that says nothing yet', 'HTTP/1.1 100 Continue\r\n\r\n'],
    ['no length', answer('')],
    [
      'a length and chunks (request smuggling)',
      answer('content-length: 5\r\ntransfer-encoding: chunked\r\n', '0\r\n\r\n'),
    ],
    ['two lengths', answer('content-length: 5\r\ncontent-length: 5\r\n', 'hello')],
    ['a length with a sign', answer('content-length: +5\r\n', 'hello')],
    ['a length beyond numbers', answer('content-length: 99999999999999999999\r\n')],
    ['another coding', answer('transfer-encoding: gzip, chunked\r\n', '0\r\n\r\n')],
    ['a folded header', answer('content-length: 5\r\n x: y\r\n', 'hello')],
    ['a space before the colon', answer('content-length : 5\r\n', 'hello')],
    ['a line feed alone', 'HTTP/1.1 200 OK\ncontent-length: 5\r\n\r\nhello'],
    ['a control character', answer('content-length: 5\r\nx: a\0b\r\n', 'hello')],
    ['a head without end', answer(`content-length: 5\r\nx: ${'y'.repeat(20_000)}`)],
    ['a chunk with an extension', answer('transfer-encoding: chunked\r\n', '5;x\r\nhello\r\n0\r\n\r\n')],
    ['a chunk of a negative size', answer('transfer-encoding: chunked\r\n', '-5\r\nhello\r\n0\r\n\r\n')],
    ['a chunk too large for any', answer('transfer-encoding: chunked\r\n', '123456789\r\n')],
    ['a chunk that is longer than it says', answer('transfer-encoding: chunked\r\n', '4\r\nhello\r\n0\r\n\r\n')],
    ['a trailer that is none', answer('transfer-encoding: chunked\r\n', '0\r\nx y: z\r\n\r\n')],
    ['a folded trailer', answer('transfer-encoding: chunked\r\n', '0\r\nx: y\r\n z\r\n\r\n')],
    ['a control character in a trailer', answer('transfer-encoding: chunked\r\n', '0\r\nx: a\0b\r\n\r\n')],
    ['trailers without end', answer('transfer-encoding: chunked\r\n', `0\r\n${'x: y\r\n'.repeat(5000)}`)],
  ])('with %s are refused', async (_, text) => {
    await expect(readAnswer(readerOf(text))).rejects.toThrow(/not HTTP\/1\.1 as nodes speak it/);
  });

  it('that are cut are never taken for whole ones', async () => {
    for (const text of [
      answer('content-length: 5\r\n', 'hello'),
      answer('transfer-encoding: chunked\r\n', '5\r\nhello\r\n0\r\n\r\n'),
      answer('transfer-encoding: chunked\r\n', '5\r\nhello\r\n0\r\nsum: x\r\n\r\n'),
    ]) {
      for (let length = 0; length < text.length; length += 1) {
        await expect(readAnswer(readerOf(text.slice(0, length)))).rejects.toThrow('closed within an answer');
      }
    }
  });
});
