import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import http, { type RequestListener } from 'node:http';
import https from 'node:https';
import net, { type AddressInfo, type Server } from 'node:net';

import { afterEach, describe, expect, it } from 'vitest';

import { issueSessionCertificate } from '../../../src/trust/certificates.ts';
import { type Shown, shownBy } from '../../helpers/ask.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { type InProcessNode, type InProcessOptions, startNode } from '../../helpers/in-process-node.ts';
import { makeMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { Person } from './two-nodes.ts';

const nodes: InProcessNode[] = [];
const closes: (() => void)[] = [];

const node = async (name: string, options: InProcessOptions = {}): Promise<InProcessNode> => {
  const made = await startNode({ name, ...options });
  nodes.push(made);
  return made;
};

const listening = async (server: Server): Promise<number> => {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => void sockets.add(socket.on('error', () => socket.destroy())));
  closes.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
};

afterEach(async () => {
  for (const close of closes.splice(0)) close();
  await Promise.all(nodes.splice(0).map((one) => one.remove()));
});

/** A TLS server that answers every request alike; its certificate is a loopsy machine's, or another's. */
const secure = async (answer: RequestListener, shown?: Shown): Promise<number> =>
  listening(https.createServer(shown ?? shownBy(await makeMachine()), answer));

const says =
  (status: number, body: unknown): RequestListener =>
  (_request, response) =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

/** A certificate that is no machine's own: another key issued it. */
const webServer = async (): Promise<Shown> => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = issueSessionCertificate((await makeMachine()).key, privateKey, Date.now());
  return shownBy({ key: privateKey, certificate });
};

const refused = (name: string, message: string) => ({ error: { code: 1, name, message } });

interface Stranger {
  readonly what: string;
  readonly listen: () => Promise<number>;
  readonly error: string;
  readonly reason: RegExp;
}

const NO_NODE = /^what answers at 127\.0\.0\.1:\d+ is not a loopsy node$/;
const STRANGERS: readonly Stranger[] = [
  {
    what: 'a web server without TLS',
    listen: () => listening(http.createServer((_request, response) => response.end('hello'))),
    error: 'peer_handshake',
    reason: NO_NODE,
  },
  {
    what: 'a server that speaks first',
    listen: () => listening(net.createServer((socket) => socket.write('SSH-2.0-OpenSSH_9.6\r\n'))),
    error: 'peer_handshake',
    reason: NO_NODE,
  },
  {
    what: 'a server that takes the connection and says nothing',
    listen: () => listening(net.createServer()),
    error: 'peer_unreachable',
    reason: /^127\.0\.0\.1:\d+ took the connection, and says nothing$/,
  },
  {
    what: 'a loopsy machine whose program is another',
    listen: () => secure((_request, response) => response.writeHead(404).end('<html>')),
    error: 'peer_handshake',
    reason: NO_NODE,
  },
  {
    what: 'a loopsy from before there was pairing',
    listen: () => secure(says(404, refused('unknown_route', 'there is no such route'))),
    error: 'peer_version',
    reason: /^the loopsy at 127\.0\.0\.1:\d+ can not pair$/,
  },
  {
    what: 'a host of version 2',
    listen: () => secure(says(200, { v: 2, attempt: 'something', new: true })),
    error: 'peer_version',
    reason: /^the other side speaks version 2 of pairing, this one 1$/,
  },
  {
    what: 'a host of version 2 that refuses version 1',
    listen: () => secure(says(409, refused('peer_version', 'only version 2 here'))),
    error: 'peer_version',
    reason: /^the peer speaks another version$/,
  },
  {
    what: 'a host that does not keep to the protocol',
    listen: () => secure(says(200, { v: 1, attempt: 7, pake: 'x' })),
    error: 'peer_handshake',
    reason: /^attempt is not as a pairing needs it$/,
  },
  {
    what: 'a host with a trouble of its own',
    listen: () => secure(says(500, refused('internal', 'the moon is in the way'))),
    error: 'peer_handshake',
    reason: /^127\.0\.0\.1:\d+ refused: the moon is in the way$/,
  },
  {
    what: 'a host that cuts every answer',
    listen: () => secure((request) => void request.socket.destroy()),
    error: 'peer_unreachable',
    reason: /^the connection to 127\.0\.0\.1:\d+ was cut, or it did not answer in time$/,
  },
];

describe('what answers a joiner', () => {
  it(
    verifies('pair.strange-answers', 'is no host, or one of another version: each has a text of its own within 5 s'),
    async () => {
      const joiner = new Person(await node('kai'), 'joiner');
      for (const { what, listen, error, reason } of STRANGERS) {
        const port = await listen();
        const askedAt = performance.now();
        await joiner.join('123456', port);
        const status = await joiner.until(({ active }) => !active);
        expect(status, what).toMatchObject({ state: 'failed', error, reason: expect.stringMatching(reason) });
        expect(status.hint, what).toBeTypeOf('string');
        expect(performance.now() - askedAt, what).toBeLessThan(5000);
      }
      expect(await joiner.peers()).toEqual([]);
    },
  );

  it('has a certificate that is no loopsy machine’s: it is told so, and hears nothing', async () => {
    const joiner = new Person(await node('kai'), 'joiner');
    let asked = 0;
    const port = await secure(() => void (asked += 1), await webServer());
    await joiner.join('123456', port);
    expect(await joiner.reaches('failed')).toMatchObject({ reason: expect.stringMatching(NO_NODE) });
    expect(asked).toBe(0);
  });

  it('hangs up at once, as a node does that a crowd calls: it is called again for ten seconds, and the person reads so', async () => {
    const clock = new FakeClock(Date.now());
    const joiner = new Person(await node('kai', { clock }), 'joiner');
    let calls = 0;
    const port = await listening(
      net.createServer((socket) => {
        calls += 1;
        socket.destroy();
      }),
    );
    await joiner.join('123456', port);
    const cut = `the connection to 127.0.0.1:${port} was cut`;
    await joiner.until(({ trouble }) => trouble === `${cut}; trying again`);
    const begunMs = clock.monotonicMs();
    const failed = await driveClock(clock, joiner.reaches('failed'));
    expect(failed).toMatchObject({ error: 'peer_unreachable', reason: cut });
    expect(calls).toBe(6);
    expect(clock.monotonicMs() - begunMs).toBeGreaterThanOrEqual(10_000);
  });

  it('a name that nobody knows is said to be none', async () => {
    const joiner = new Person(await node('kai'), 'joiner');
    await joiner.join('123456', 19532, { address: 'nowhere.invalid' });
    const { reason } = await joiner.reaches('failed');
    expect(reason).toMatch(/^the name nowhere\.invalid is not known|^no answer from nowhere\.invalid/);
  });
});

describe('a joiner of another version', () => {
  it('hears so, and the host’s screen says who it was; the code stays', async () => {
    const host = new Person(await node('maria', { lan: true }), 'host');
    const code = await host.start();
    const body = { v: 2, pake: 'whatever', more: 1 };
    const told = await host.node.ask({
      method: 'POST',
      path: '/pair/initiate',
      tls: 'no certificate',
      from: '127.0.0.9',
      body,
    });
    expect([told.status, told.outcome]).toEqual([409, 'peer_version']);
    expect(await host.look()).toMatchObject({
      state: 'waiting',
      inviteCode: code,
      trouble: '127.0.0.9 can not pair: the other side speaks version 2 of pairing, this one 1',
    });
  });
});
