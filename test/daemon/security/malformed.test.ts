import { once } from 'node:events';
import type { Duplex } from 'node:stream';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Asking, connect, shownBy } from '../../helpers/ask.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { makeMachine, type TestMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { LAN } from './cast.ts';

let node: InProcessNode;
let peer: TestMachine;

beforeAll(async () => {
  peer = await makeMachine();
  node = await startNode({
    lan: true,
    seed: async (now) => {
      await now.trustMachine({ certificate: peer.certificate, name: 'kim' });
    },
  });
});

afterAll(() => node.remove());

/** Writes bytes on a connection of their own; gives back all that comes until it is closed. */
const raw = async (text: string, who: Partial<Asking> = {}): Promise<string> => {
  const socket = await connect(node.port, who);
  const over = collect(socket);
  socket.write(text);
  return over;
};

const collect = async (socket: Duplex): Promise<string> => {
  let got = '';
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => (got += chunk.toString()));
  await once(socket, 'close');
  return got;
};

const host = (): string => `Host: 127.0.0.1:${node.port}`;
const key = (): string => `Authorization: Bearer ${node.tokens.start}`;
const head = (method: string, path: string, ...more: string[]): string =>
  [`${method} /api/v1${path} HTTP/1.1`, host(), ...more, '', ''].join('\r\n');

/** How many requests of this kind the audit log tells of, counted ones too. */
const recorded = async (matches: (record: Record<string, unknown>) => boolean): Promise<number> =>
  (await node.audit().catch(() => []))
    .filter(matches)
    .reduce((sum, { count }) => sum + (typeof count === 'number' ? count : 1), 0);

const isMalformed = ({ operation, decision, caller }: Record<string, unknown>): boolean =>
  operation === 'unknown' && decision === 'invalid_request' && caller === 'stranger';

const malformed: Record<string, [() => string, number]> = {
  'with a length and chunks': [
    () => `${head('POST', '/execute', key(), 'Content-Length: 5', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    400,
  ],
  'with two lengths': [() => `${head('GET', '/health', 'Content-Length: 5', 'Content-Length: 6')}hello`, 400],
  'of bare line feeds': [() => `GET /api/v1/health HTTP/1.1\n${host()}\n\n`, 400],
  'of no method that there is': [() => '\u0000\u0001garbage\r\n\r\n', 400],
  'with a head of 20 KB': [() => head('GET', '/health', `X: ${'x'.repeat(20_000)}`), 431],
  'for HTTP/2': [() => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  'for a tunnel': [() => `CONNECT 127.0.0.1:1 HTTP/1.1\r\n${host()}\r\n${key()}\r\n\r\n`, 400],
};

const isAnswer = (status: number): unknown =>
  expect.stringMatching(new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*connection: close[\\s\\S]*"code":9003`, 'i'));

describe('a request that is none', () => {
  it.each(Object.entries(malformed))(
    verifies('data.audit', '%s is refused with the one shape of errors, and has its line in the audit log'),
    async (_, [text, status]) => {
      const before = await recorded(isMalformed);
      expect(await raw(text())).toEqual(isAnswer(status));
      await expect.poll(() => recorded(isMalformed), { timeout: 4000 }).toBe(before + 1);
    },
  );

  it('is refused behind one that was answered, too', async () => {
    const before = await recorded(isMalformed);
    const got = await raw(`${head('GET', '/health')}nonsense\r\n\r\n`);
    expect(got.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400']);
    await expect.poll(() => recorded(isMalformed), { timeout: 4000 }).toBe(before + 1);
  });

  it('is no second line where it is the body of one that has its own', async () => {
    const isRun = ({ operation, decision }: Record<string, unknown>): boolean =>
      operation === 'job.execute' && decision === 'request_timeout';
    const [all, runs] = [await recorded(isMalformed), await recorded(isRun)];
    await raw(`${head('POST', '/execute', key(), 'Transfer-Encoding: chunked')}no length\r\n`);
    await expect.poll(() => recorded(isRun), { timeout: 4000 }).toBe(runs + 1);
    expect(await recorded(isMalformed)).toBe(all);
  });

  it('is counted by its source, however often it comes', async () => {
    const before = await recorded(isMalformed);
    const lines = (await node.audit()).length;
    for (let at = 0; at < 50; at += 1) await raw('nonsense\r\n\r\n', { from: '127.0.0.9' });
    await expect.poll(() => recorded(isMalformed), { timeout: 5000 }).toBe(before + 50);
    expect((await node.audit()).length - lines).toBeLessThan(10);
  });

  it('is a peer’s own where its certificate says so, and is answered inside TLS', async () => {
    const isIts = ({ operation, decision, caller }: Record<string, unknown>): boolean =>
      operation === 'unknown' && decision === 'invalid_request' && String(caller).startsWith('peer:');
    const before = await recorded(isIts);
    expect(await raw('nonsense\r\n\r\n', { ...LAN, tls: shownBy(peer) })).toEqual(isAnswer(400));
    await expect.poll(() => recorded(isIts), { timeout: 4000 }).toBe(before + 1);
  });

  it('of a stranger that is too large is cut as before, and has its line', async () => {
    const before = await recorded(isMalformed);
    const socket = await connect(node.port, { ...LAN, tls: 'no certificate' });
    const over = collect(socket);
    socket.write(`GET /api/v1/health HTTP/1.1\r\n${host()}\r\nX: ${'x'.repeat(9000)}`);
    expect(await over).not.toContain('200');
    await expect.poll(() => recorded(isMalformed), { timeout: 4000 }).toBe(before + 1);
  });

  it('holds its connection no longer than its answer needs', async () => {
    const sockets = await Promise.all(Array.from({ length: 20 }, () => connect(node.port, {})));
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      socket.pause();
      socket.write('nonsense\r\n\r\n');
    }
    await expect.poll(() => node.composed.listener.size, { timeout: 3000 }).toBe(0);
    for (const socket of sockets) socket.destroy();
  });
});

describe('a head that two readers would read in two ways', () => {
  it('is refused: two Hosts, none, or a target that names another host than Host does', async () => {
    const heads = [
      ['GET /api/v1/key HTTP/1.1', host(), 'Host: evil.example'],
      ['GET /api/v1/key HTTP/1.1', host(), host()],
      ['GET /api/v1/key HTTP/1.1'],
      [`GET http://127.0.0.1:${node.port}/api/v1/key HTTP/1.1`, host()],
      ['GET http://evil.example/api/v1/key HTTP/1.1', host()],
      ['GET http:/api/v1/key HTTP/1.1', host()],
      ['OPTIONS * HTTP/1.1', host()],
    ];
    const isRefused = ({ decision }: Record<string, unknown>): boolean => decision !== 'allowed';
    const before = await recorded(isRefused);
    for (const lines of heads) {
      const text = [...lines, key(), 'Connection: close', '', ''].join('\r\n');
      expect([lines, await raw(text)]).toEqual([
        lines,
        expect.stringMatching(/^HTTP\/1\.1 40[03] [\s\S]*"code":(?:9003|1006)/),
      ]);
      const overTls = await raw(text.replace(`${key()}\r\n`, ''), { ...LAN, tls: shownBy(peer) });
      expect([lines, overTls]).toEqual([lines, isAnswer(400)]);
    }
    await expect.poll(() => recorded(isRefused), { timeout: 4000 }).toBe(before + 2 * heads.length);
  });
});

describe('a body that waits to be asked for', () => {
  const waiting = (who: string, bytes = 18): string =>
    head('POST', '/execute', who, 'Expect: 100-continue', 'Content-Type: application/json', `Content-Length: ${bytes}`);

  it(verifies('edge.bodies', 'is asked for when it is decided who sends it, and not before'), async () => {
    const socket = await connect(node.port, {});
    let got = '';
    socket.on('data', (chunk: Buffer) => (got += chunk.toString()));
    socket.write(waiting(key()));
    await expect.poll(() => got).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    socket.write('{"command":"true"}');
    await expect.poll(() => got).toMatch(/HTTP\/1\.1 200 [\s\S]*"exitCode":0/);
    socket.destroy();
  });

  it.each([
    ['of nobody', { who: 'X: y', status: 401 }],
    ['of a key that is none', { who: `Authorization: Bearer ${'ab'.repeat(32)}`, status: 403 }],
    ['that is too large', { bytes: 9_000_000, status: 413 }],
  ] as const)('%s is never asked for', async (_, { status, ...more }) => {
    const { who = key(), bytes = 18 } = { who: undefined, bytes: undefined, ...more };
    const got = await raw(waiting(who, bytes));
    expect(got).not.toContain('100 Continue');
    expect(got).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });

  it('of a foreign page is never asked for', async () => {
    const text = waiting(key()).replace('Expect', 'Origin: https://evil.example\r\nExpect');
    expect(await raw(text)).toMatch(/^HTTP\/1\.1 403 /);
  });

  it('with a wish that nobody knows is taken as without it', async () => {
    const text = head('GET', '/health', 'Expect: tea', 'Connection: close');
    expect(await raw(text)).toMatch(/^HTTP\/1\.1 200 /);
  });
});
