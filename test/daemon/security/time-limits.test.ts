import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { LISTENER_LIMITS } from '../../../src/daemon/edge/listener.ts';
import { shownBy } from '../../helpers/ask.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { makeMachine, type TestMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { timed, visit, visitSecurely } from '../edge/listening.ts';
import { LAN } from './cast.ts';

const SHORT = {
  firstByteMs: 150,
  handshakeMs: 150,
  headMs: 200,
  bodyIdleMs: 200,
  visitMs: 400,
  restMs: 300,
  checkMs: 20,
  drainMs: 300,
};
const SLACK_MS = 250;
const from = (more: object = {}): object => ({ localAddress: LAN.from, ...more });

let node: InProcessNode;
let peer: TestMachine;

beforeEach(async () => {
  peer = await makeMachine();
  node = await startNode({
    lan: true,
    limits: SHORT,
    seed: async (now) => {
      await now.trustMachine({ certificate: peer.certificate, name: 'kim' });
    },
  });
});

afterEach(() => node.remove());

const head = (...more: string[]): string =>
  ['POST /api/v1/execute HTTP/1.1', `Host: 127.0.0.1:${node.port}`, ...more, '', ''].join('\r\n');

describe('a connection that does not go on', () => {
  it(
    verifies('edge.time-outs', 'is cut in time: half a hello, half a head, half a body, silence before and after TLS'),
    async () => {
      const cut = async (limitMs: number, come: () => Promise<{ over: Promise<string> }>): Promise<void> => {
        const coming = await come();
        const took = await timed(coming.over);
        expect(took).toBeLessThan(limitMs + SLACK_MS);
      };
      const say = (coming: ReturnType<typeof visit>, ...texts: (string | Buffer)[]): ReturnType<typeof visit> => {
        for (const text of texts) coming.socket.write(text);
        return coming;
      };
      const known = shownBy(peer);
      const key = `Authorization: Bearer ${node.tokens.start}`;
      await Promise.all([
        cut(SHORT.firstByteMs, async () => visit(node.port)),
        cut(SHORT.firstByteMs, async () => visit(node.port, from())),
        cut(SHORT.handshakeMs, async () =>
          say(visit(node.port, from()), Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01])),
        ),
        cut(SHORT.headMs, async () => say(visit(node.port), 'GET /api/v1/health HTTP/1.1\r\nHost: 127')),
        cut(SHORT.headMs, async () => say(await visitSecurely(node.port, from()), 'GET /api/v1/hea')),
        cut(SHORT.visitMs, async () => visitSecurely(node.port, from())),
        cut(SHORT.restMs, async () => visitSecurely(node.port, from(known))),
        cut(SHORT.bodyIdleMs, async () => say(visit(node.port), `${head(key, 'Content-Length: 30')}{"command":`)),
        cut(SHORT.bodyIdleMs, async () =>
          say(visit(node.port), `${head(key, 'Transfer-Encoding: chunked')}5\r\n{"com`),
        ),
        cut(SHORT.bodyIdleMs, async () =>
          say(await visitSecurely(node.port, from(known)), `${head('Content-Length: 30')}{"command":`),
        ),
      ]);
      expect(await node.owner('GET', '/status')).toMatchObject({ jobs: { total: 0 } });
    },
  );

  it('is given on a real node no more than the design says', () => {
    expect(LISTENER_LIMITS).toMatchObject({
      firstByteMs: 5000, handshakeMs: 5000, headMs: 10_000, visitBytes: 8192, perStranger: 8, strangers: 256, loopback: 256, handshakesPerSecond: 50,
    }); // prettier-ignore
    expect(LISTENER_LIMITS.checkMs).toBeLessThanOrEqual(2000);
  });

  it(
    verifies('edge.close', 'never holds the node back: it closes within 100 ms with idle connections of every kind'),
    async () => {
      const lasting = await startNode({ lan: true });
      const idle = [
        visit(lasting.port),
        visit(lasting.port),
        await visitSecurely(lasting.port, from()),
        await visitSecurely(lasting.port, shownBy(peer)),
      ];
      const [served] = idle;
      served?.socket.write('GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
      await served?.until('"status":"ok"');
      idle[1]?.socket.write('GET /api/v1/he');
      expect(lasting.composed.listener.size).toBe(4);
      expect(await timed(lasting.stop())).toBeLessThan(100);
      await Promise.all(idle.map(({ over }) => over));
      await lasting.remove();
    },
  );
});

describe('a stranger', () => {
  it(
    verifies('edge.strangers', 'holds 8 connections, asks once, in 8 KiB; a peer at the same address is not held back'),
    async () => {
      const strict = await startNode({
        lan: true,
        limits: { perStranger: 8, strangers: 256, handshakesPerSecond: 50, checkMs: 20 },
        seed: async (now) => {
          await now.trustMachine({ certificate: peer.certificate, name: 'kim' });
        },
      });
      try {
        const held = await Promise.all(Array.from({ length: 8 }, () => visitSecurely(strict.port, from())));
        await expect(visitSecurely(strict.port, from())).rejects.toThrow();
        const [first, second, third] = held;
        const ask = (path: string, ...more: string[]): string =>
          [`GET /api/v1${path} HTTP/1.1`, 'Host: x', ...more, '', ''].join('\r\n');
        first?.socket.write(ask('/health'));
        expect(await first?.over).toMatch(/^HTTP\/1\.1 200 [\s\S]*connection: close/i);
        third?.socket.write(ask('/health') + ask('/health'));
        expect((await third?.over)?.match(/HTTP\/1\.1 200/g)?.length ?? 0).toBeLessThan(2);
        second?.socket.write(ask('/health', `X: ${'x'.repeat(9000)}`));
        expect(await second?.over).not.toContain('"status"');
        for (const { socket } of held) socket.destroy();
        const known = await Promise.all(
          Array.from({ length: 12 }, () => visitSecurely(strict.port, from(shownBy(peer)))),
        );
        for (const { socket } of known) socket.write(ask('/status', `X: ${'x'.repeat(9000)}`));
        await Promise.all(known.map((coming) => coming.until('"uptime"')));
        for (const { socket } of known) socket.destroy();
      } finally {
        await strict.remove();
      }
    },
  );
});
