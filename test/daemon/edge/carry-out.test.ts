import { once } from 'node:events';
import http from 'node:http';

import { describe, expect, it } from 'vitest';

import type { ByteAnswer } from '../../../src/daemon/edge/call.ts';
import { collectText } from '../../../src/kernel/collect.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { BASE_PATH } from '../../../src/protocol/version.ts';
import { verifies } from '../../requirements.ts';
import { openEdge } from './edge-desk.ts';

/** Bytes that go on until nobody wants them any more. */
class Endless implements AsyncIterable<Uint8Array> {
  isOpen = true;

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        yield Buffer.from('x');
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    } finally {
      this.isOpen = false;
    }
  }
}

const bytes = (...parts: string[]): AsyncIterable<Uint8Array> =>
  (async function* () {
    for (const part of parts) yield Buffer.from(part);
  })();

const pull = { method: 'POST', path: '/transfer/pull', key: 'owner', body: { sourcePath: '~/x' } } as const;

/** Sends a request and resolves with the head of its answer. */
const begin = (
  port: number,
  {
    path,
    key = 'owner',
    body,
    headers = {},
  }: {
    path: string;
    key?: string;
    body?: string;
    headers?: http.OutgoingHttpHeaders;
  },
): Promise<http.IncomingMessage> =>
  new Promise((resolve, reject) => {
    const request = http.request({
      port,
      host: '127.0.0.1',
      agent: false,
      method: 'POST',
      path: `${BASE_PATH}${path}`,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    });
    request.once('response', resolve).once('error', reject).end(body);
  });

describe('an operation that answers with bytes', () => {
  it(verifies('edge.bytes', 'is told which part is wanted, and answers with what it has'), async () => {
    const heard: unknown[] = [];
    const desk = await openEdge({
      'file.pull': async (input, { range }) => {
        heard.push(input, range);
        const trailer = { names: ['loopsy-checksum'], read: () => ({ 'loopsy-checksum': 'sum' }) };
        return range === undefined
          ? { headers: { 'loopsy-size': '3' }, chunks: bytes('ab', 'c'), trailer }
          : { status: 206, headers: {}, length: 1, chunks: bytes('b') };
      },
    });
    const whole = await begin(desk.port, { path: '/transfer/pull', body: '{"sourcePath":"~/x"}' });
    expect(await collectText(whole, 10)).toBe('abc');
    expect([whole.statusCode, whole.headers['loopsy-size'], whole.trailers]).toEqual([
      200,
      '3',
      { 'loopsy-checksum': 'sum' },
    ]);
    expect(await desk.ask({ ...pull, headers: { range: 'bytes=1-1' } })).toMatchObject({ status: 206, text: 'b' });
    expect(heard).toEqual([{ sourcePath: '~/x' }, undefined, { sourcePath: '~/x' }, 'bytes=1-1']);
    expect(
      desk.recorded.map(({ operation, decision, statusCode, sourcePath }) => [
        operation,
        decision,
        statusCode,
        sourcePath,
      ]),
    ).toEqual([
      ['file.pull', 'allowed', 200, '~/x'],
      ['file.pull', 'allowed', 206, '~/x'],
    ]);
  });

  it('is recorded when its answer begins, and answers with an error as any other', async () => {
    const endless = new Endless();
    const desk = await openEdge({
      'file.pull': async ({ sourcePath }): Promise<ByteAnswer> => {
        if (sourcePath === '~/gone') throw new LoopsyError('file_not_found');
        return { headers: {}, chunks: endless };
      },
    });
    const refused = await desk.ask({ ...pull, body: { sourcePath: '~/gone' } });
    expect([refused.status, refused.outcome]).toEqual([404, 'file_not_found']);
    const answer = await begin(desk.port, { path: '/transfer/pull', body: '{"sourcePath":"~/x"}' });
    await once(answer, 'data');
    expect(desk.recorded.map(({ decision }) => decision)).toEqual(['file_not_found', 'allowed']);
    answer.destroy();
    await expect.poll(() => endless.isOpen).toBe(false);
  });

  it(
    verifies(
      'trust.revocation',
      'ends mid-way where its caller may no longer have it, and says so before its first byte',
    ),
    async () => {
      const endless = new Endless();
      let opened = (): void => undefined;
      const isOpening = new Promise<void>((resolve) => (opened = resolve));
      let open: (answer: ByteAnswer) => void = () => undefined;
      const desk = await openEdge({
        'file.pull': ({ sourcePath }) => {
          if (sourcePath !== 'late') return Promise.resolve({ headers: {}, chunks: endless });
          opened();
          return new Promise((resolve) => (open = resolve));
        },
      });
      const { open: requests } = desk.parts;
      const answer = await begin(desk.port, { path: '/transfer/pull', body: '{"sourcePath":"now"}' });
      await once(answer, 'data');
      const cut = once(answer, 'error');
      requests.abortWhere(() => true, 'revoked');
      expect(String(await cut)).toMatch(/aborted/);
      await expect.poll(() => endless.isOpen).toBe(false);

      const dropped = new Endless();
      const late = desk.ask({ ...pull, body: { sourcePath: 'late' } });
      await isOpening;
      requests.abortWhere(() => true, 'scope_missing');
      open({ headers: {}, chunks: dropped });
      expect(await late).toMatchObject({ status: 403, outcome: 'scope_missing' });
      await expect.poll(() => dropped.isOpen).toBe(false);
      expect(desk.recorded.at(-1)).toMatchObject({ decision: 'scope_missing' });
    },
  );
});
