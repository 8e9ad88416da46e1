import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type tls from 'node:tls';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { connectNode } from '../../../src/cli/connect.ts';
import type { Registration } from '../../../src/config/read-registration.ts';
import { newChallenge, verifyProof } from '../../../src/kernel/token-proof.ts';
import { VERSION } from '../../../src/protocol/version.ts';
import { issueSessionCertificate, toPem } from '../../../src/trust/certificates.ts';
import { outcomeOf, type Shown, shownBy } from '../../helpers/ask.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { Recorder } from '../../helpers/recorder.ts';
import { makeMachine, type TestMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { sessionOf } from './cast.ts';

describe('the wrong machine at the right address', () => {
  let node: InProcessNode;
  let peer: TestMachine;
  let port: number;

  beforeEach(async () => {
    node = await startNode();
    peer = await makeMachine();
    const right = new Recorder(shownBy(peer));
    port = await right.listen();
    await node.owner('POST', '/peers/trust', {
      address: '127.0.0.1',
      port,
      fingerprint: peer.fingerprint,
      name: 'kim',
    });
    // The right one is sent a request: the harness would notice one.
    expect(right.text).toContain('POST /api/v1/peers/handshake');
    await right.close();
  });

  afterEach(() => node.remove());

  const impostors = (): [who: string, shown: (other: TestMachine) => Shown | undefined, options?: tls.TlsOptions][] => [
    ['another machine', (other) => shownBy(other)],
    ['a session of another machine', (other) => sessionOf(other)],
    [
      'a session that claims the name of the right machine, signed by another',
      (other) => {
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
        const forged = issueSessionCertificate(other.key, privateKey, Date.now());
        return {
          key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
          cert: toPem(forged) + toPem(peer.certificate),
        };
      },
    ],
    ['an expired session of the right machine', () => sessionOf(peer, 40 * 86_400_000)],
    ['the right machine over TLS 1.2', () => shownBy(peer), { maxVersion: 'TLSv1.2' }],
    ['plain TCP', () => undefined],
  ];

  it.each(impostors())(verifies('link.pinned', '%s never receives a request'), async (_who, shown, options) => {
    const wrong = new Recorder(shown(await makeMachine()), options);
    await wrong.listen(port);
    try {
      for (const [method, path, body] of [
        ['POST', '/execute?peer=kim', { command: 'secret-command' }],
        ['POST', '/peers/kim/ping', {}],
        ['GET', '/status?peer=kim', undefined],
      ] as const) {
        const answer = await node.ask({
          method,
          path,
          key: node.tokens.start,
          ...(body === undefined ? {} : { body }),
        });
        expect([path, answer.outcome]).toEqual([
          path,
          expect.stringMatching(/^peer_(?:handshake|offline|unreachable)$/),
        ]);
      }
      const heard = await wrong.catchUp(port);
      if (wrong.isPlain) expect(heard).not.toMatch(/HTTP|secret|execute|Bearer/);
      else expect(heard).toBe('');
    } finally {
      await wrong.close();
    }
  });

  it(
    verifies(
      ['error.2004', 'fault.fingerprint'],
      'is named, when its fingerprint is not the one that was given, and is sent nothing',
    ),
    async () => {
      const wrong = new Recorder(shownBy(await makeMachine()));
      const at = await wrong.listen();
      try {
        const { status, text } = await node.ask({
          method: 'POST',
          path: '/peers/trust',
          key: node.tokens.start,
          body: { address: '127.0.0.1', port: at, fingerprint: peer.fingerprint },
        });
        expect([status, JSON.parse(text)]).toEqual([
          502,
          {
            error: expect.objectContaining({
              code: 2004,
              details: expect.objectContaining({ expected: peer.fingerprint }),
            }),
          },
        ]);
        expect(await wrong.catchUp(at)).toBe('');
      } finally {
        await wrong.close();
      }
    },
  );
});

describe('the right machine', () => {
  it(verifies('link.forward', 'gets the request made anew: no key, cookie or header of the local caller'), async () => {
    const node = await startNode();
    const peer = await makeMachine();
    const right = new Recorder(shownBy(peer));
    const port = await right.listen();
    try {
      await node.owner('POST', '/peers/trust', {
        address: '127.0.0.1',
        port,
        fingerprint: peer.fingerprint,
        name: 'kim',
      });
      const headers = {
        cookie: 'sid=private',
        'x-private': 'private',
        'user-agent': 'private',
        referer: 'http://private',
        'loopsy-on-behalf-of': 'private',
      };
      for (const key of [node.tokens.start, node.tokens.owner]) {
        const answer = await node.ask({
          method: 'POST',
          path: '/execute?peer=kim',
          key,
          headers,
          body: { command: 'x' },
        });
        // What it answers is no error of a node's, and is not passed on as one.
        expect([answer.status, answer.outcome]).toEqual([502, 'peer_handshake']);
      }
      const requests = right.text.split('POST /api/v1/').filter((request) => request.startsWith('execute '));
      expect(requests).toHaveLength(2);
      for (const request of requests) {
        expect(request.toLowerCase()).not.toMatch(/private|cookie|authorization|bearer/);
        for (const secret of Object.values(node.tokens)) expect(request).not.toContain(secret);
        expect(request).toContain('loopsy-on-behalf-of: owner');
      }
    } finally {
      await right.close();
      await node.remove();
    }
  });
});

describe('whoever listens on the node’s port', () => {
  const registrationOf = (port: number, token: string): Registration => ({
    url: `http://127.0.0.1:${port}`, host: '127.0.0.1', port, pid: 1, version: VERSION, token, nodeId: 'a'.repeat(32), boot: 'b', startedAt: 0, program: 'p', user: 'u',
  }); // prettier-ignore

  it(
    verifies(
      'edge.proof',
      'gets no token of a client before it has proved that it holds it, and can’t borrow the proof',
    ),
    async () => {
      const node = await startNode();
      const { start: token, owner } = node.tokens;
      const heard: string[] = [];
      let proofs: (challenge: string | undefined) => Promise<string | undefined> = () => Promise.resolve(undefined);
      const fake = http.createServer((request, response) => {
        heard.push(JSON.stringify([request.url, request.rawHeaders]));
        void proofs(request.headers['loopsy-challenge'] as string | undefined).then((proof) => {
          if (proof !== undefined) response.setHeader('loopsy-proof', proof);
          response.end('{"status":"ok"}');
        });
      });
      fake.listen(0, '127.0.0.1');
      await once(fake, 'listening');
      const { port } = fake.address() as AddressInfo;
      try {
        const connect = (at: number): ReturnType<typeof connectNode> =>
          connectNode({ registration: registrationOf(at, token), apiKey: undefined, note: () => undefined });
        for (const answer of [
          () => Promise.resolve(undefined),
          () => Promise.resolve('0'.repeat(64)),
          // A relay: it asks the real node, over its own port.
          async (challenge: string | undefined) =>
            String(
              (await node.ask({ path: '/health', headers: { 'loopsy-challenge': challenge } })).headers['loopsy-proof'],
            ),
        ]) {
          proofs = answer;
          await expect(connect(port)).rejects.toMatchObject({ error: 'node_not_running' });
        }
        expect(heard.length).toBe(3);
        expect(heard.join('\n')).not.toContain(token);
        const real = await connect(node.port);
        expect(await real.client.call('system.status', {})).toMatchObject({ hostname: 'node' });
        // Each of its tokens is proved, and none that it does not hold.
        for (const [held, known] of [
          [token, true],
          [owner, true],
          [node.tokens.agent, true],
          ['cd'.repeat(32), false],
        ] as const) {
          const { header, nonce } = newChallenge(held);
          const { headers } = await node.ask({ path: '/health', headers: { 'loopsy-challenge': header } });
          const proof = headers['loopsy-proof'];
          expect(
            verifyProof(typeof proof === 'string' ? proof : undefined, { token: held, nonce, port: node.port }),
          ).toBe(known);
        }
      } finally {
        fake.closeAllConnections();
        fake.close();
        await node.remove();
      }
    },
  );

  it('is asked nothing by a probe: `peers add` shakes hands, and leaves', async () => {
    const node = await startNode();
    const stranger = new Recorder(shownBy(await makeMachine()));
    const port = await stranger.listen();
    try {
      const answer = await node.ask({
        method: 'POST',
        path: '/peers',
        key: node.tokens.start,
        body: { address: '127.0.0.1', port },
      });
      expect(outcomeOf(answer.status, answer.text)).toBe('allowed');
      expect(JSON.parse(answer.text)).toMatchObject({ trusted: false, status: 'unknown' });
      expect(await stranger.catchUp(port)).toBe('');
    } finally {
      await stranger.close();
      await node.remove();
    }
  });
});
