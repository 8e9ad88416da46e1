import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import tls from 'node:tls';

import { describe, expect, it, onTestFinished } from 'vitest';

import type { ByteAnswer, Call, Handlers } from '../../../src/daemon/edge/call.ts';
import { Forward } from '../../../src/daemon/peers/forward.ts';
import { Link } from '../../../src/daemon/peers/link.ts';
import { readForm } from '../../../src/daemon/transfers/form.ts';
import { createClient } from '../../../src/client/client.ts';
import { fetchTransport } from '../../../src/client/fetch-transport.ts';
import { collectText } from '../../../src/kernel/collect.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import type { Grant } from '../../../src/protocol/grants.ts';
import { BASE_PATH } from '../../../src/protocol/version.ts';
import { shownBy } from '../../helpers/ask.ts';
import { makeMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { type EdgeDesk, KAI, openEdge } from '../edge/edge-desk.ts';

const MiB = 1_048_576;

interface Two {
  readonly near: EdgeDesk;
  readonly far: EdgeDesk;
  /** Connections that were made between them. */
  readonly dials: () => number;
  /** Cuts every connection between them. */
  readonly cut: () => void;
}

/** A node whose peer `kai` has these handlers, over mutual TLS. */
const twoEdges = async (handlers: Partial<Handlers>): Promise<Two> => {
  const far = await openEdge(handlers);
  const grant: Grant = { level: 'full', scopes: ['files:read', 'files:write'], reach: [] };
  const nodeId = 'n'.repeat(32);
  far.callers.set('peer', { kind: 'peer', machineId: nodeId, nodeId, grant });
  const sockets = new Set<tls.TLSSocket>();
  const own = shownBy(await makeMachine());
  const link = new Link(async () => {
    const socket = tls.connect({ port: far.port, host: '127.0.0.1', rejectUnauthorized: false, ...own });
    await once(socket, 'secureConnect');
    sockets.add(socket);
    return socket;
  });
  onTestFinished(() => link.close());
  const owners = { record: () => undefined, keep: async () => undefined, maySee: () => true };
  const way = { name: 'kai', link, boot: 'b', bootAtMs: -1, offline: undefined };
  const forward = new Forward({ way: () => way, owners, clock: systemClock });
  const near = await openEdge({}, { owners });
  Object.assign(near.parts.forwarder, {
    json: forward.json.bind(forward),
    stream: forward.stream.bind(forward),
    bytes: forward.bytes.bind(forward),
  });
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return { near, far, dials: () => sockets.size, cut };
};

/** Asks the near node for a file of the far one; resolves with the head. */
const pull = (near: EdgeDesk, headers: http.OutgoingHttpHeaders = {}): Promise<http.IncomingMessage> =>
  new Promise((resolve, reject) => {
    http
      .request({
        port: near.port,
        host: '127.0.0.1',
        agent: false,
        method: 'POST',
        path: `${BASE_PATH}/transfer/pull?peer=kai`,
        headers: { authorization: 'Bearer owner', 'content-type': 'application/json', ...headers },
      })
      .once('response', resolve)
      .once('error', reject)
      .end('{"sourcePath":"~/x"}');
  });

const hashOf = async (chunks: AsyncIterable<Uint8Array>): Promise<string> => {
  const hash = createHash('sha256');
  for await (const chunk of chunks) hash.update(chunk);
  return hash.digest('hex');
};

/** So many MiB out of one piece of memory, and their hash when they have all been given. */
const pattern = (count: number): { chunks: AsyncIterable<Uint8Array>; hash: () => string; given: () => number } => {
  const hash = createHash('sha256');
  let [given, sum] = [0, ''];
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const memory = Buffer.alloc(MiB);
    for (; given < count; given += 1) {
      memory.fill(`${given} `);
      hash.update(memory);
      yield memory;
      memory.fill(0);
    }
    sum = hash.digest('hex');
  }
  return { chunks: chunks(), hash: () => sum, given: () => given };
};

async function* two(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('b');
  yield Buffer.from('c');
}

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) {
    yield Buffer.from('x');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('bytes of another node', () => {
  it(verifies('link.bytes', 'pass byte for byte, with what is said of them before and behind'), async () => {
    const { chunks, hash } = pattern(40);
    const { near } = await twoEdges({
      'file.pull': async () => ({
        headers: {
          'loopsy-size': String(40 * MiB),
          'loopsy-modified': '7',
          'accept-ranges': 'bytes',
          'set-cookie': 'x=1',
          server: 'kai',
        },
        chunks,
        trailer: {
          names: ['loopsy-checksum', 'x-other'],
          read: () => ({ 'loopsy-checksum': hash(), 'x-other': 'no' }),
        },
      }),
    });
    const answer = await pull(near);
    expect(await hashOf(answer)).toBe(hash());
    expect(answer.trailers).toEqual({ 'loopsy-checksum': hash() });
    const { headers } = answer;
    expect(headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'loopsy-size': String(40 * MiB),
      'loopsy-modified': '7',
      'accept-ranges': 'bytes',
      'loopsy-node': KAI.nodeId,
      'cache-control': 'no-store',
      trailer: 'loopsy-checksum',
    });
    expect([headers['set-cookie'], headers['server'], headers['content-length']]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('of a part are asked for as its reader asks, and counted', async () => {
    const heard: unknown[] = [];
    const { near } = await twoEdges({
      'file.pull': async (input, { range, onBehalfOf }) => {
        heard.push(input, range, onBehalfOf);
        const headers = { 'content-range': 'bytes 1-2/9', 'content-type': 'application/x-y' };
        return { status: 206, headers, length: 2, chunks: two() };
      },
    });
    const answer = await pull(near, { range: 'bytes=1-2' });
    expect([
      answer.statusCode,
      answer.headers['content-range'],
      answer.headers['content-length'],
      answer.headers['content-type'],
    ]).toEqual([206, 'bytes 1-2/9', '2', 'application/x-y']);
    expect(await collectText(answer, 10)).toBe('bc');
    expect(heard).toEqual([{ sourcePath: '~/x' }, 'bytes=1-2', 'owner']);
  });

  it('are its error where it answers with one', async () => {
    const { near } = await twoEdges({
      'file.pull': async (): Promise<ByteAnswer> => {
        throw new LoopsyError('path_denied', { message: '/etc is not for you' });
      },
    });
    const answer = await pull(near);
    expect(answer.statusCode).toBe(403);
    expect(await collectText(answer, 10_000)).toContain('/etc is not for you');
    expect(near.recorded[0]).toMatchObject({ decision: 'path_denied', peer: 'kai' });
  });

  it(
    verifies('link.bytes', 'are asked for again where the link is cut before they begin, and cut where it is after'),
    async () => {
      let asked = 0;
      const two: Two = await twoEdges({
        'file.pull': async () => {
          asked += 1;
          if (asked === 1) two.cut();
          return { headers: {}, chunks: endless() };
        },
      });
      const answer = await pull(two.near);
      expect([asked, answer.statusCode]).toEqual([2, 200]);
      await once(answer, 'data');
      const failed = once(answer, 'error');
      two.cut();
      answer.resume();
      expect(String(await failed)).toMatch(/aborted/);
    },
  );

  it('are not asked for by who has left, nor faster than they are taken', async () => {
    const { chunks, given } = pattern(300);
    const { near, far } = await twoEdges({ 'file.pull': async () => ({ headers: {}, chunks }) });
    const answer = await pull(near);
    answer.on('error', () => undefined);
    let before = -1;
    while (before !== given()) {
      before = given();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // What two nodes and four sockets hold.
    expect(given()).toBeLessThan(60);
    answer.destroy();
    await expect.poll(() => far.parts.open.size).toBe(0);
    expect(near.parts.open.size).toBe(0);
  });

  it('leave the link to the next request when they have all come', async () => {
    const { near, dials } = await twoEdges({ 'file.pull': async () => ({ headers: {}, length: 2, chunks: two() }) });
    for (const _ of [1, 2, 3]) expect(await collectText(await pull(near), 10)).toBe('bc');
    expect(dials()).toBe(1);
  });
});

describe('a form for another node', () => {
  const clientAt = (port: number) =>
    createClient({ transport: fetchTransport({ fetch, baseUrl: `http://127.0.0.1:${port}`, token: 'owner' }) });

  it(verifies('link.bytes', 'passes untouched, with its boundary and its length'), async () => {
    const { chunks, hash } = pattern(20);
    const calls: Pick<Call, 'contentType' | 'bodyLength'>[] = [];
    const { near } = await twoEdges({
      'file.push': async (_, call) => {
        calls.push(call);
        if (call.body === undefined) throw new Error('no body');
        const form = await readForm(call.body, call.contentType);
        const checksum = await hashOf(form.file);
        const { destPath = '' } = await form.end();
        return { path: destPath, size: 20 * MiB, checksum, duration: 1 };
      },
    });
    const pushed = await clientAt(near.port).pushFile({ destPath: '~/größe', body: chunks, peer: 'kai' });
    expect(pushed).toMatchObject({ path: '~/größe', checksum: hash() });
    expect(calls[0]?.contentType).toMatch(/^multipart\/form-data; boundary="[0-9a-f]{32}"$/);
    // fetch sends what it does not know the length of in chunks; curl counts.
    expect(calls[0]?.bodyLength).toBeUndefined();
    const body = '--b\r\ncontent-disposition: form-data; name="file"\r\n\r\nabc\r\n--b--\r\n';
    const counted = await near.ask({
      method: 'POST',
      path: '/transfer/push?peer=kai',
      key: 'owner',
      body,
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
    });
    expect(counted.status).toBe(200);
    expect(calls[1]?.bodyLength).toBe(body.length);
  });

  it(
    verifies('rest.early-answer', 'that is refused in the middle is answered with why, through both nodes'),
    async () => {
      const { near } = await twoEdges({
        'file.push': async (_, { body, contentType }) => {
          if (body === undefined) throw new Error('no body');
          const form = await readForm(body, contentType);
          for await (const _chunk of form.file) break;
          throw new LoopsyError('disk_full', { message: 'no room on kai' });
        },
      });
      for (let at = 0; at < 10; at += 1) {
        const { chunks } = pattern(200);
        const request = http.request({
          port: near.port,
          host: '127.0.0.1',
          agent: false,
          method: 'POST',
          path: `${BASE_PATH}/transfer/push?peer=kai`,
          headers: { authorization: 'Bearer owner', 'content-type': 'multipart/form-data; boundary=b' },
        });
        const heard = once(request, 'response') as Promise<[http.IncomingMessage]>;
        request.on('error', () => undefined);
        request.write('--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n');
        void (async () => {
          for await (const chunk of chunks)
            await new Promise<void>((resolve) => request.write(Buffer.from(chunk), () => resolve()));
        })();
        const [answer] = await heard;
        expect(answer.statusCode).toBe(507);
        expect(await collectText(answer, 10_000)).toContain('no room on kai');
        request.destroy();
      }
    },
  );

  it('whose sender leaves is cut there too, and never taken for a whole one', async () => {
    let outcome = '';
    let isBegun = (): void => undefined;
    const begun = new Promise<void>((resolve) => (isBegun = resolve));
    const { near } = await twoEdges({
      'file.push': async (_, { body, contentType }) => {
        if (body === undefined) throw new Error('no body');
        const form = await readForm(body, contentType);
        isBegun();
        await hashOf(form.file).then(
          () => (outcome = 'whole'),
          (error: unknown) => (outcome = String(error)),
        );
        return { path: '', size: 0, checksum: '', duration: 0 };
      },
    });
    const request = http.request({
      port: near.port,
      host: '127.0.0.1',
      agent: false,
      method: 'POST',
      path: `${BASE_PATH}/transfer/push?peer=kai`,
      headers: { authorization: 'Bearer owner', 'content-type': 'multipart/form-data; boundary=b' },
    });
    request.on('error', () => undefined);
    request.write(`--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n${'x'.repeat(100_000)}`);
    await begun;
    request.destroy();
    await expect.poll(() => outcome).toMatch(/ended before its end/);
  });
});
