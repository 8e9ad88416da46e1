import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';

import { describe, expect, it, onTestFinished } from 'vitest';

import { bidFarewell, greet } from '../../../src/daemon/peers/greet.ts';
import { readAnswer } from '../../../src/daemon/peers/exchange.ts';
import { Link, type LinkRequest } from '../../../src/daemon/peers/link.ts';
import { collectText } from '../../../src/kernel/collect.ts';
import { systemClock as clock } from '../../../src/kernel/clock.ts';
import { EXIT, LoopsyError } from '../../../src/protocol/errors.ts';
import type { Handshake } from '../../../src/protocol/peers.ts';
import { verifies } from '../../requirements.ts';

interface Peer {
  readonly link: Link;
  /** Connections that were made. */
  readonly dials: () => number;
}

/** A link to a server of this test, over sockets of its own. */
const linkTo = async (handler: http.RequestListener): Promise<Peer> => {
  const server = http.createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // It listens on an address.
  const { port } = server.address() as AddressInfo;
  let dials = 0;
  const link = new Link(async () => {
    dials += 1;
    const socket = net.connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return socket;
  });
  onTestFinished(async () => {
    link.close();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return { link, dials: () => dials };
};

const request = (more: Partial<LinkRequest> = {}): LinkRequest => ({
  method: 'GET', path: '/', headers: {}, long: false, idleMs: 5000, signal: new AbortController().signal, ...more,
}); // prettier-ignore

const HANDSHAKE: Handshake = {
  nodeId: 'a'.repeat(32),
  hostname: 'kai',
  platform: 'linux',
  version: '2.0.0',
  port: 19_532,
  capabilities: [],
  link: 1,
  boot: 'b',
};

describe('a link', () => {
  it('keeps its connections, and streams have their own', async () => {
    const { link, dials } = await linkTo((_, response) => response.end('x'));
    for (let at = 0; at < 5; at += 1) await collectText(await link.request(request()), 10);
    expect(dials()).toBe(1);
    await collectText(await link.request(request({ long: true })), 10);
    expect(dials()).toBe(2);
  });

  it(verifies('link.pool', 'answers short requests at once beside streams that never end'), async () => {
    const { link } = await linkTo((asked, response) =>
      asked.url === '/stream' ? response.write('x') : response.end('x'),
    );
    for (let at = 0; at < 30; at += 1) await link.request(request({ path: '/stream', long: true }));
    expect(await collectText(await link.request(request()), 10)).toBe('x');
  });

  it('has room for 200 streams, and refuses the next one by name', async () => {
    const { link } = await linkTo((_, response) => response.write('x'));
    await Promise.all(Array.from({ length: 200 }, () => link.request(request({ long: true }))));
    expect(() => link.request(request({ long: true }))).toThrow(expect.objectContaining({ error: 'too_many_streams' }));
  });

  it('says whether a request that failed can have arrived', async () => {
    const { link } = await linkTo((asked) => asked.socket.destroy());
    await expect(link.request(request())).rejects.toMatchObject({ name: 'LinkCut', kind: 'cut', sent: true });
    const nowhere = new Link(() => Promise.reject(new LoopsyError('peer_unreachable')));
    await expect(nowhere.request(request())).rejects.toMatchObject({ error: 'peer_unreachable' });
    const broken = new Link(() => Promise.reject(new Error('no route')));
    await expect(broken.request(request())).rejects.toMatchObject({ name: 'LinkCut', sent: false });
  });

  it('tells silence, a lost patience and what it closed itself from a cut', async () => {
    const { link } = await linkTo(() => undefined);
    const silent = { name: 'LinkCut', kind: 'silent', sent: true };
    await expect(link.request(request({ idleMs: 50 }))).rejects.toMatchObject({ ...silent, silentMs: 50 });
    await expect(link.request(request({ signal: AbortSignal.timeout(50) }))).rejects.toMatchObject(silent);
    const waiting = link.request(request());
    setTimeout(() => link.cut(), 30);
    await expect(waiting).rejects.toMatchObject({ kind: 'closed', sent: true });
  });

  it('tells the reader of an answer as well why its rest does not come', async () => {
    const { link } = await linkTo((_, response) => response.write('half of it'));
    const restOf = async (more: Partial<LinkRequest>): Promise<string> =>
      readAnswer(await link.request(request({ long: true, ...more })), 100);
    await expect(restOf({ idleMs: 50 })).rejects.toMatchObject({ kind: 'silent' });
    await expect(restOf({ signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ kind: 'silent' });
    const closed = restOf({});
    setTimeout(() => link.cut(), 30);
    await expect(closed).rejects.toMatchObject({ kind: 'closed' });
    const broken = await linkTo((_, response) => response.write('half', () => response.destroy()));
    await expect(broken.link.request(request()).then((answer) => readAnswer(answer, 100))).rejects.toMatchObject({
      kind: 'cut',
    });
  });

  it('says in time that there is no connection, though a dial goes on', async () => {
    const link = new Link(() => new Promise(() => undefined));
    onTestFinished(() => link.close());
    const asked = link.request(request({ signal: AbortSignal.timeout(50) }));
    await expect(asked).rejects.toMatchObject({ kind: 'silent', sent: false });
  });

  it('ends with its requests when it is closed', async () => {
    const { link } = await linkTo(() => undefined);
    const waiting = link.request(request());
    setTimeout(() => link.close(), 30);
    await expect(waiting).rejects.toMatchObject({ error: 'revoked' });
  });

  it('carries a body of bytes as it comes', async () => {
    const { link } = await linkTo((asked, response) => {
      let bytes = 0;
      asked.on('data', (chunk: Buffer) => (bytes += chunk.length));
      asked.on('end', () => response.end(String(bytes)));
    });
    const body = (async function* chunks() {
      for (let at = 0; at < 50; at += 1) yield Buffer.alloc(60_000);
    })();
    expect(await collectText(await link.request(request({ method: 'POST', body, long: true })), 20)).toBe('3000000');
  });
});

describe('a body of bytes', () => {
  const hashing: http.RequestListener = (asked, response) => {
    const hash = createHash('sha256');
    asked.on('data', (chunk: Buffer) => hash.update(chunk));
    asked.on('end', () => response.end(`${asked.headers['content-length']} ${hash.digest('hex')}`));
  };

  it(verifies('link.bytes', 'is sent chunk by chunk: the memory of one may be used for the next'), async () => {
    const { link } = await linkTo(hashing);
    const sent = createHash('sha256');
    const memory = Buffer.alloc(1_048_576);
    const body = (async function* () {
      for (let at = 0; at < 30; at += 1) {
        memory.fill(at);
        sent.update(memory);
        yield memory;
        memory.fill(255);
      }
    })();
    const bodyLength = 30 * memory.length;
    const answer = await link.request(request({ method: 'POST', body, bodyLength, long: true }));
    expect(await collectText(answer, 100)).toBe(`${bodyLength} ${sent.digest('hex')}`);
  });

  it('of another length than was said cuts the request', async () => {
    let whole = 0;
    const { link, dials } = await linkTo((asked, response) => {
      asked.resume();
      asked.on('end', () => (whole += 1));
      asked.on('end', () => response.end());
      asked.on('error', () => undefined);
    });
    async function* body() {
      yield Buffer.from('abc');
      yield Buffer.from('def');
    }
    for (const bodyLength of [5, 7]) {
      const sent = link.request(request({ method: 'POST', body: body(), bodyLength, long: true }));
      await expect(sent).rejects.toMatchObject({ name: 'LinkCut', sent: true });
    }
    expect([whole, dials()]).toEqual([0, 2]);
  });

  it('is not asked for any more where the peer has answered without it', async () => {
    let given = 0;
    let isLeft = false;
    const { link } = await linkTo((asked, response) => {
      // As nodes do: closing on bytes that nobody read would take the answer away.
      asked.on('error', () => undefined).on('close', () => response.end());
      asked.resume();
      response.writeHead(403, { connection: 'close', 'content-length': 2 });
      response.write('no');
    });
    async function* body() {
      try {
        for (; ; given += 1) yield Buffer.alloc(1_048_576);
      } finally {
        isLeft = true;
      }
    }
    const answer = await link.request(request({ method: 'POST', body: body(), long: true }));
    expect(await collectText(answer, 10)).toBe('no');
    await expect.poll(() => isLeft).toBe(true);
    expect(given).toBeLessThan(1000);
  });
});

describe('a greeting', () => {
  it('gives the facts of the other side, the way there and back, and how far its clock is off', async () => {
    const { link } = await linkTo((asked, response) => {
      expect([asked.method, asked.url]).toEqual(['POST', '/api/v1/peers/handshake']);
      response.setHeader('date', new Date(Date.now() + 90_000).toUTCString());
      response.end(JSON.stringify(HANDSHAKE));
    });
    const greeting = await greet(link, { handshake: HANDSHAKE, limitMs: 2000, clock, name: 'kai' });
    expect(greeting.handshake).toEqual(HANDSHAKE);
    expect(greeting.latencyMs).toBeGreaterThan(0);
    expect(Math.abs(greeting.clockSkewMs - 90_000)).toBeLessThan(2000);
  });

  it.each(['invalid_key', 'revoked', 'missing_key'])(
    'that is answered with %s says that the other side has no trust',
    async (name) => {
      const { link } = await linkTo((_, response) => {
        response.statusCode = 403;
        response.end(JSON.stringify({ error: { code: 1, name, message: 'no' } }));
      });
      const greeting = greet(link, { handshake: HANDSHAKE, limitMs: 2000, clock, name: 'kai' });
      await expect(greeting).rejects.toMatchObject({
        error: 'scope_missing',
        exit: EXIT.notAuthorised,
        message: 'kai does not trust this machine',
      });
    },
  );

  it('that is answered with anything else, or never, is a failure', async () => {
    const odd = await linkTo((_, response) => {
      response.statusCode = 500;
      response.end('{"hello":1}');
    });
    const asking = { handshake: HANDSHAKE, limitMs: 100, clock, name: 'kai' };
    await expect(greet(odd.link, asking)).rejects.toMatchObject({ error: 'peer_handshake' });
  });

  it(
    verifies('cli.four-answers', 'that finds nobody is unreachable, one that takes too long has timed out'),
    async () => {
      const failureOf = async (link: Link): Promise<unknown> =>
        greet(link, { handshake: HANDSHAKE, limitMs: 100, clock, name: 'kai' }).catch((error: LoopsyError) => [
          error.exit,
          error.message,
        ]);
      const silent = await linkTo(() => undefined);
      expect(await failureOf(silent.link)).toEqual([EXIT.timedOut, 'kai did not answer within 0.1 s']);
      const halting = await linkTo((_, response) => response.write('{'));
      expect(await failureOf(halting.link)).toEqual([EXIT.timedOut, 'kai did not answer within 0.1 s']);
      const leaving = await linkTo((asked) => asked.socket.destroy());
      expect(await failureOf(leaving.link)).toEqual([EXIT.unreachable, 'the connection to kai was cut']);
      const nowhere = new Link(() => new Promise(() => undefined));
      expect(await failureOf(nowhere)).toEqual([EXIT.unreachable, 'there was no connection to kai within 0.1 s']);
    },
  );
});

describe('a farewell', () => {
  it(verifies('link.farewell', 'says whether the other side has heard it, and never fails'), async () => {
    const heard = await linkTo((asked, response) => {
      asked.resume();
      response.end('{}');
    });
    expect(await bidFarewell(heard.link, 1000)).toBe(true);
    const deaf = await linkTo(() => undefined);
    expect(await bidFarewell(deaf.link, 50)).toBe(false);
  });
});
