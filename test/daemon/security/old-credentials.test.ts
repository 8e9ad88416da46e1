import { readFile, writeFile } from 'node:fs/promises';

import { afterEach, describe, expect, it } from 'vitest';

import { newToken } from '../../../src/trust/tokens.ts';
import { type Asking, connect, shownBy } from '../../helpers/ask.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { until } from '../../helpers/process-facts.ts';
import { makeMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { LAN, sessionOf } from './cast.ts';
import { type OpenStream, openStream, TICKS } from './streams.ts';

const LIMIT_MS = 1000;
/** The file is looked at twice a second, and read when it has stood still for one look. */
const FILE_MS = 1500;
const DAY_MS = 86_400_000;
const SESSION_LIFE_MS = 30 * DAY_MS;

let node: InProcessNode;

const start = async (options: Parameters<typeof startNode>[0] = {}): Promise<void> => {
  node = await startNode({ lan: true, ...options });
};

afterEach(() => node.remove());

const openMany = (who: Partial<Asking>, count = 10): Promise<OpenStream[]> =>
  Promise.all(Array.from({ length: count }, () => openStream(node, who, { input: TICKS })));

/** How long after `sinceMs` the last of these streams ended. */
const lastEnd = async (streams: readonly OpenStream[], sinceMs: number): Promise<number> =>
  Math.max(...(await Promise.all(streams.map(({ over }) => over)))) - sinceMs;

const activeRuns = async (): Promise<number> =>
  (await node.owner<{ jobs: { active: number } }>('GET', '/status')).jobs.active;

describe("a stolen owner's key that was replaced", () => {
  it.each([
    ['by a command', LIMIT_MS, () => node.owner('POST', '/key')],
    [
      'in the file',
      LIMIT_MS + FILE_MS,
      async () => {
        const text = await readFile(node.paths.config, 'utf8');
        await writeFile(node.paths.config, text.replace(node.tokens.owner, newToken()));
      },
    ],
  ] as const)(
    verifies(['trust.revocation', 'config.auth.apiKey'], '%s keeps no stream open, and nobody else loses one'),
    async (...[, limitMs, replace]) => {
      await start();
      const own = await openStream(node, { key: node.tokens.start }, { input: TICKS });
      const stolen = await openMany({ key: node.tokens.owner });
      const beganMs = performance.now();
      await replace();
      expect(await lastEnd(stolen, beganMs)).toBeLessThan(limitMs);
      expect(stolen.map(({ text }) => text().includes('"revoked"'))).not.toContain(false);
      await own.more('tick');
      // What ran for these streams alone ended with them.
      await until(async () => (await activeRuns()) === 1, LIMIT_MS);
      expect((await node.ask({ path: '/status', key: node.tokens.owner })).outcome).toBe('invalid_key');
    },
  );

  it('can not be used to take back the new one while it is replaced', async () => {
    await start();
    let stolen = node.tokens.owner;
    for (let round = 0; round < 10; round += 1) {
      const take = node.ask({ method: 'POST', path: '/key', key: stolen });
      const [mine, theirs] = await Promise.all([node.owner<{ key: string }>('POST', '/key'), take]);
      const now = (await node.owner<{ key: string }>('GET', '/key')).key;
      // Whoever came first, the owner's word is the last: a thief who came second is refused.
      if (theirs.status === 200) expect((JSON.parse(theirs.text) as { key: string }).key).not.toBe(now);
      expect(now).toBe(mine.key);
      stolen = now;
    }
  });

  it('still hears the key that it asked for itself', async () => {
    await start();
    const answer = await node.ask({ method: 'POST', path: '/key', key: node.tokens.owner });
    expect(answer.status).toBe(200);
    const { key } = JSON.parse(answer.text) as { key: string };
    expect((await node.ask({ path: '/key', key })).outcome).toBe('allowed');
    expect((await node.ask({ path: '/key', key: node.tokens.owner })).outcome).toBe('invalid_key');
  });
});

describe("a program's key", () => {
  it(
    verifies(
      ['trust.revocation', 'config.auth.allowedKeys'],
      'of config.yaml that was changed there keeps no stream open',
    ),
    async () => {
      const [old, fresh] = [newToken(), newToken()];
      await start({ config: {} });
      const set = (key: string | null): Promise<unknown> =>
        node.owner('PATCH', '/config', { changes: { 'auth.allowedKeys.ci': key } });
      await set(old);
      await node.owner('PUT', '/keys/ci/grant', { level: 'full' });
      const who = { ...LAN, tls: 'no certificate', key: old } as const;
      const streams = await openMany(who);
      const beganMs = performance.now();
      await set(fresh);
      expect(await lastEnd(streams, beganMs)).toBeLessThan(LIMIT_MS);
      expect((await node.ask({ ...who, path: '/status' })).outcome).toBe('invalid_key');
      const again = await openMany({ ...who, key: fresh }, 2);
      const goneMs = performance.now();
      await set(null);
      expect(await lastEnd(again, goneMs)).toBeLessThan(LIMIT_MS);
    },
  );
});

describe('a session certificate', () => {
  it(verifies('trust.revocation', 'that runs out keeps no stream and no connection open'), async () => {
    const kim = await makeMachine();
    await start({
      seed: async (now) => {
        await now.trustMachine({ certificate: kim.certificate, name: 'kim' });
      },
    });
    const endsAt = Math.floor((Date.now() + 3000) / 1000) * 1000;
    const session = { ...LAN, tls: sessionOf(kim, SESSION_LIFE_MS - (endsAt - Date.now())) };
    const machine = await openStream(node, { ...LAN, tls: shownBy(kim) }, { input: TICKS });
    const streams = await openMany(session);
    const idle = await connect(node.port, session);
    idle.resume();
    const idleOver = new Promise((resolve) => idle.once('close', resolve));
    const beganMs = performance.now() + (endsAt - Date.now());
    expect(await lastEnd(streams, beganMs)).toBeLessThan(LIMIT_MS);
    await idleOver;
    expect(performance.now() - beganMs).toBeLessThan(LIMIT_MS);
    await machine.more('tick');
    const late = async (): Promise<string> => (await node.ask({ ...session, path: '/status' })).outcome;
    await until(async () => (await late()) === 'expired_key', LIMIT_MS);
  });
});

describe('a reader that takes nothing', () => {
  it(verifies('trust.revocation', 'keeps no connection open once its grant was narrowed'), async () => {
    const kim = await makeMachine();
    await start({
      seed: async (now) => {
        await now.trustMachine({ certificate: kim.certificate, name: 'kim' });
      },
    });
    const { listener } = node.composed;
    const socket = await connect(node.port, { ...LAN, tls: shownBy(kim) });
    socket.on('error', () => undefined);
    const body = JSON.stringify({ command: 'cat', args: ['/dev/zero'] });
    socket.write(`POST /api/v1/execute/stream HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await until(async () => (await activeRuns()) === 1, 5000);
    // Time for all buffers on the way to be full.
    await new Promise((resolve) => setTimeout(resolve, 300));
    const secured = (): number => {
      let count = 0;
      listener.destroySockets((facts) => {
        if (facts?.tls === true) count += 1;
        return false;
      });
      return count;
    };
    expect(secured()).toBe(1);
    await node.owner('PUT', '/peers/kim/grant', { level: 'observe' });
    await until(() => Promise.resolve(secured() === 0), LIMIT_MS);
    socket.destroy();
  });
});
