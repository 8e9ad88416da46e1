import { once } from 'node:events';
import net from 'node:net';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startNode, type InProcessNode } from '../../helpers/in-process-node.ts';
import { verifies } from '../../requirements.ts';

let node: InProcessNode;
let keys: Record<string, string>;

beforeAll(async () => {
  keys = {};
  node = await startNode({
    lan: true,
    seed: async (now) => {
      keys['observe'] = (await now.addKey('observe', { level: 'observe' })).key;
    },
  });
});

afterAll(() => node.remove());

/** Writes bytes on a connection of their own; gives back all that comes until it is closed, or until `enough`. */
const raw = async (text: string, enough?: RegExp): Promise<string> => {
  const socket = net.connect({ port: node.port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  let got = '';
  socket.on('data', (chunk: Buffer) => {
    got += chunk.toString();
    if (enough?.test(got) === true) socket.destroy();
  });
  socket.write(text);
  await once(socket, 'close');
  return got;
};

const head = (method: string, path: string, ...more: string[]): string =>
  [`${method} /api/v1${path} HTTP/1.1`, `Host: 127.0.0.1:${node.port}`, ...more, '', ''].join('\r\n');
const bearer = (key: string): string => `Authorization: Bearer ${key}`;
const asOwner = (): string => bearer(node.tokens.start);
const jobsTotal = async (): Promise<number> =>
  (await node.owner<{ jobs: { total: number } }>('GET', '/status')).jobs.total;

describe('a body', () => {
  it(
    verifies(
      'edge.bodies',
      'is not read before the caller is decided: a stranger’s megabytes are answered at their head',
    ),
    async () => {
      for (const who of [[], [bearer('ab'.repeat(32))], [bearer(keys['observe'] ?? '')]]) {
        const got = await raw(
          head('POST', '/execute', ...who, 'Content-Type: application/json', 'Content-Length: 8000000'),
          /\}\}$/,
        );
        expect(got).toMatch(/^HTTP\/1\.1 40[13] /);
        expect(got).toMatch(/connection: close/i);
      }
    },
  );

  it('that is too large is refused before it is read where its size is said, and as soon as it shows where not', async () => {
    const said = await raw(head('POST', '/keys', asOwner(), 'Content-Length: 65537'), /\}\}$/);
    expect(said).toMatch(/^HTTP\/1\.1 413 [\s\S]*"code":9005/);
    const chunk = 'x'.repeat(0x10000);
    const chunked = await raw(
      `${head('POST', '/keys', asOwner(), 'Transfer-Encoding: chunked')}10000\r\n${chunk}\r\n1\r\nx\r\n`,
      /\}\}$/,
    );
    expect(chunked).toMatch(/^HTTP\/1\.1 413 [\s\S]*"code":9005/);
    // What it may have is what the table says, to the byte.
    const args = ['x'.repeat(100_000)];
    expect(
      (await node.ask({ method: 'POST', path: '/execute', key: node.tokens.start, body: { command: 'true', args } }))
        .status,
    ).toBe(200);
  });

  it('that is huge is answered so that an ordinary client can read it', async () => {
    const answer = await fetch(`http://127.0.0.1:${node.port}/api/v1/keys`, {
      method: 'POST',
      headers: { authorization: `Bearer ${node.tokens.start}`, 'content-type': 'application/json' },
      body: 'x'.repeat(1_000_000),
    });
    expect(answer.status).toBe(413);
    expect(await answer.json()).toMatchObject({ error: { name: 'body_too_large' } });
  });

  it('of which half comes runs nothing, and is no error of the node', async () => {
    const before = await jobsTotal();
    const socket = net.connect({ port: node.port, host: '127.0.0.1' });
    socket.write(
      `${head('POST', '/execute', asOwner(), 'Content-Type: application/json', 'Content-Length: 30')}{"command":"true"`,
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.end();
    await once(socket.resume(), 'close');
    expect(await jobsTotal()).toBe(before);
    const last = async (): Promise<unknown> =>
      (await node.audit().catch(() => [])).filter(({ operation }) => operation === 'job.execute').at(-1);
    await expect.poll(last, { timeout: 5000 }).toMatchObject({ decision: 'request_timeout', statusCode: 408 });
    expect(node.logged.filter((line) => line.includes('internal error'))).toEqual([]);
  });

  it('of a DELETE is not needed, whatever its content type says', async () => {
    for (const [at, headers] of [
      {},
      { 'content-type': 'application/json' },
      { 'content-type': 'application/json', 'content-length': '0' },
      { 'content-type': 'text/html' },
    ].entries()) {
      await node.owner('POST', '/keys', { name: `doomed-${at}` });
      const answer = await node.ask({ method: 'DELETE', path: `/keys/doomed-${at}`, key: node.tokens.start, headers });
      expect(JSON.parse(answer.text)).toEqual({ success: true, name: `doomed-${at}` });
    }
    const { jobId } = await node.owner<{ jobId: string }>('POST', '/execute', { command: 'true' });
    const ended = await node.ask({
      method: 'DELETE',
      path: `/execute/${jobId}`,
      key: node.tokens.start,
      headers: { 'content-type': 'application/json' },
    });
    expect(JSON.parse(ended.text)).toMatchObject({ success: true, jobId });
  });

  it(
    verifies('error.9003', 'that is no object, no JSON, or holds a field too many is 400 and names the field'),
    async () => {
      const send = async (body: string): Promise<Record<string, unknown>> => {
        const { status, text } = await node.ask({ method: 'POST', path: '/execute', key: node.tokens.start, body });
        return { status, ...(JSON.parse(text) as { error: object }).error };
      };
      for (const body of [
        '[]',
        '"x"',
        '17',
        'null',
        '{',
        '',
        '{"command":5}',
        '{"command":""}',
        '{"command":"a\\u0000b"}',
        '{"command":"x","args":"y"}',
      ])
        expect(await send(body)).toMatchObject({ status: 400, code: 9003, name: 'invalid_request' });
      expect(await send('{"comand":"x"}')).toMatchObject({
        details: { field: expect.stringMatching(/comand|command/) },
      });
      expect(await send('{"command":"true","cdw":"/"}')).toMatchObject({
        hint: 'did you mean "cwd"?',
        details: { field: 'cdw' },
      });
    },
  );

  it('with a key "__proto__" is refused, however it is spelled and wherever it stands', async () => {
    const bodies = [
      '{"command":"true","__proto__":{"shell":true}}',
      '{"command":"true","\\u005f\\u005fproto__":{"shell":true}}',
      '{"command":"true","env":{"__proto__":"x"}}',
      '{"command":"true","env":{"_\\u005Fproto__":"x"}}',
    ];
    for (const body of bodies) {
      const { outcome, text } = await node.ask({ method: 'POST', path: '/execute', key: node.tokens.start, body });
      expect([outcome, text]).toEqual(['invalid_request', expect.stringContaining('__proto__')]);
    }
    expect(Object.prototype).not.toHaveProperty('shell');
    const harmless = { command: process.execPath, args: ['-p', '"__proto__\\u005f"'] };
    expect((await node.ask({ method: 'POST', path: '/execute', key: node.tokens.start, body: harmless })).status).toBe(
      200,
    );
    for (const path of ['/execute/jobs?__proto__=x', '/execute/jobs?__proto__[shell]=x', '/execute/jobs?constructor=x'])
      expect((await node.ask({ path, key: node.tokens.start })).outcome).toBe('invalid_request');
    const changes = JSON.parse('{"changes":{"auth.constructor.x":1}}') as object;
    expect(
      (await node.ask({ method: 'PATCH', path: '/config', key: node.tokens.start, body: changes })).status,
    ).toBeGreaterThanOrEqual(400);
  });
});

describe('a value', () => {
  it(
    verifies('error.9003', 'that can not be what its field is for is 400 and names the field, never a later failure'),
    async () => {
      const post = async (path: string, body: object): Promise<unknown> => {
        const { status, text } = await node.ask({ method: 'POST', path, key: node.tokens.start, body });
        return [status, (JSON.parse(text) as { error: object }).error];
      };
      const isWrong = (field: string): unknown => [400, expect.objectContaining({ code: 9003, details: { field } })];
      for (const address of ['/etc/passwd', 'kai\r\nHost: evil', 'kai/../health', 'kai:19532', '', '1.2.3', 'a b']) {
        expect([address, await post('/peers', { address })]).toEqual([address, isWrong('address')]);
        expect([address, await post('/peers/probe', { address })]).toEqual([address, isWrong('address')]);
        const trust = { address, fingerprint: 'ab'.repeat(32) };
        expect([address, await post('/peers/trust', trust)]).toEqual([address, isWrong('address')]);
      }
      for (const cursor of ['zzz', '%00', '01', '..%2f']) {
        const listed = await node.ask({ path: `/execute/jobs?cursor=${cursor}`, key: node.tokens.start });
        expect([cursor, listed.status, JSON.parse(listed.text)]).toEqual([
          cursor,
          400,
          { error: expect.objectContaining({ code: 9003, details: { field: 'cursor' } }) },
        ]);
      }
      expect(await node.owner('GET', '/peers')).toEqual({ peers: [] });
    },
  );
});

describe('a path', () => {
  it('that is not encoded as it should be is 400, where a name could stand and anywhere else', async () => {
    for (const path of ['/peers/%zz', '/peers/%', '/keys/%c0%ae', '/execute/%E0%A4', '/%zz']) {
      const got = await raw(head('GET', path, asOwner(), 'Connection: close'));
      expect([path, got]).toEqual([path, expect.stringMatching(/^HTTP\/1\.1 400 [\s\S]*"code":9003/)]);
    }
  });

  it('with encoded ways up, NUL or another encoding reaches nothing', async () => {
    const before = await node.owner<{ keys: unknown[] }>('GET', '/keys');
    const names = [
      '..%2f..%2fconfig.yaml',
      '%2e%2e%2fconfig.yaml',
      '..%5c..%5ctrust.db',
      '%00',
      'a%00b',
      '%c0%ae%c0%ae',
      '%',
      '%zz',
      '..',
      '.',
      '%2e%2e',
      'a'.repeat(3000),
    ];
    for (const name of names) {
      for (const path of [`/keys/${name}`, `/execute/${name}`, `/peers/${name}`]) {
        // As it is: clients would tidy it up.
        const got = await raw(head('DELETE', path, asOwner(), 'Connection: close'));
        expect([path, got.slice(9, 12)]).toEqual([path, expect.stringMatching(/^40[034]$/)]);
      }
    }
    expect(await node.owner('GET', '/keys')).toEqual(before);
    expect((await node.ask({ path: '/health' })).status).toBe(200);
  });

  it('that is none of the table’s is 404 with a hint, for whoever asks', async () => {
    for (const [method, path] of [
      ['GET', '/nothing'],
      ['POST', '/health'],
      ['PUT', '/execute'],
      ['GET', '//etc/passwd'],
      ['GET', '/../health'],
      ['TRACE', '/health'],
    ] as const) {
      const got = await raw(head(method, path, 'Connection: close'));
      expect([method, path, got]).toEqual([method, path, expect.stringMatching(/^HTTP\/1\.1 404 [\s\S]*"code":9004/)]);
    }
  });
});

describe('HTTP that two parsers would read in two ways', () => {
  it('is cut without an answer to what was smuggled', async () => {
    const smuggled = head('POST', '/stop', asOwner(), 'Content-Length: 2') + '{}';
    const attempts = [
      head('GET', '/health', 'Content-Length: 5', 'Transfer-Encoding: chunked') + `0\r\n\r\n${smuggled}`,
      head('POST', '/execute', asOwner(), 'Transfer-Encoding: xchunked') + smuggled,
      head('POST', '/execute', asOwner(), 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity') +
        `0\r\n\r\n${smuggled}`,
      head('GET', '/health', 'Content-Length: 5', 'Content-Length: 6') + smuggled,
      head('GET', '/health', 'Content-Length: -1') + smuggled,
      head('GET', '/health', 'Content-Length: +5') + smuggled,
      head('GET', '/health', 'X: a\nHost: b') + smuggled,
      head('GET', '/health', 'Content-Length : 5') + smuggled,
      `GET /api/v1/health HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n${smuggled}`,
    ];
    const stops = node.stopsAsked();
    for (const attempt of attempts) {
      const got = await raw(attempt);
      expect([attempt, got.match(/HTTP\/1\.1 200/g) ?? []]).toEqual([attempt, []]);
    }
    expect(node.stopsAsked()).toBe(stops);
  });

  it('a request line with a foreign host, an upgrade and a tunnel lead nowhere', async () => {
    const absolute = `GET http://evil.example/api/v1/key HTTP/1.1\r\nHost: evil.example\r\n${asOwner()}\r\nConnection: close\r\n\r\n`;
    expect(await raw(absolute)).toMatch(/^HTTP\/1\.1 403 [\s\S]*"code":1006/);
    expect(await raw(`CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n${asOwner()}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 400 /,
    );
    const upgrade = head(
      'GET',
      '/key',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: x',
    );
    expect(await raw(upgrade, /\}\}$/)).toMatch(/^HTTP\/1\.1 401 /);
    expect(await raw(`GET /api/v1/key HTTP/1.1\r\n${asOwner()}\r\n\r\n`)).not.toMatch(/^HTTP\/1\.1 200/);
    expect(await raw(`GET /api/v1/key HTTP/1.0\r\n${asOwner()}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 403 /);
  });
});
