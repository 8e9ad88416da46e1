import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, it } from 'vitest';

import type { Job } from '../../../src/protocol/jobs.ts';
import { type Asking, ask, askOn, connect, shownBy } from '../../helpers/ask.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { makeMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { LAN, sessionOf } from './cast.ts';
import { DEAF, type OpenStream, openStream, TICKS } from './streams.ts';

const MANY = 100;
const SOME = 10;
const DEAF_ONES = 3;
const LIMIT_MS = 1000;

let node: InProcessNode;

interface Callers {
  readonly kim: Partial<Asking>;
  readonly session: Partial<Asking>;
  readonly maria: Partial<Asking>;
  readonly key: Partial<Asking>;
  readonly agent: Partial<Asking>;
}

const start = async (): Promise<Callers> => {
  const [kim, maria] = [await makeMachine(), await makeMachine()];
  let key = '';
  node = await startNode({
    lan: true,
    config: { execution: { maxConcurrent: 2 * MANY }, rateLimits: { execute: 10 * MANY } },
    seed: async (now) => {
      await now.trustMachine({ certificate: kim.certificate, name: 'kim' });
      await now.trustMachine({ certificate: maria.certificate, name: 'maria' });
      key = (await now.addKey('ci', { level: 'full' })).key;
    },
  });
  const connected = await node.ask({
    method: 'POST',
    path: '/agents/connect',
    key: node.tokens.agent,
    body: { label: 'claude' },
  });
  const { token } = JSON.parse(connected.text) as { token: string };
  return {
    kim: { ...LAN, tls: shownBy(kim) },
    session: { ...LAN, tls: sessionOf(kim) },
    maria: { ...LAN, tls: shownBy(maria) },
    key: { ...LAN, tls: 'no certificate', key },
    agent: { key: token },
  };
};

afterEach(() => node.remove());

const openMany = (who: Partial<Asking>, count: number): Promise<OpenStream[]> =>
  Promise.all(Array.from({ length: count }, () => openStream(node, who)));

/** How the runs of these streams stand, as their owner sees them. */
const runsOf = async (streams: readonly OpenStream[]): Promise<Job[]> => {
  const { jobs } = await node.owner<{ jobs: Job[] }>('GET', '/execute/jobs?state=all&limit=1000');
  const ids = new Set(streams.map(({ jobId }) => jobId));
  return jobs.filter(({ jobId }) => ids.has(jobId));
};

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

const endings = [
  ['peers remove', 'kim', () => node.owner('DELETE', '/peers/kim'), 'revoked', 0, MANY],
  ['peers remove, for its sessions', 'session', () => node.owner('DELETE', '/peers/kim'), 'revoked', 0, SOME],
  [
    'a narrowed grant',
    'kim',
    () => node.owner('PUT', '/peers/kim/grant', { level: 'collaborate' }),
    'scope_missing',
    0,
    MANY,
  ],
  ['peers revoke', 'kim', () => node.owner('DELETE', '/peers/kim/grant'), 'scope_missing', 0, SOME],
  [
    'an expired grant',
    'kim',
    () => node.owner('PUT', '/peers/kim/grant', { level: 'full', expires: 1000 }),
    'expired_key',
    1000,
    MANY,
  ],
  ['key revoke', 'key', () => node.owner('DELETE', '/keys/ci'), 'revoked', 0, MANY],
  ['a key narrowed', 'key', () => node.owner('PUT', '/keys/ci/grant', { level: 'observe' }), 'scope_missing', 0, SOME],
  [
    'agents narrowed',
    'agent',
    () => node.owner('PUT', '/keys/agent/grant', { level: 'observe' }),
    'scope_missing',
    0,
    SOME,
  ],
] as const;

describe('the end of trust', () => {
  it.each(endings)(
    verifies(
      ['show.revocation', 'trust.revocation', 'rest.peers-delete'],
      '%s ends all streams of a caller and their runs within 1 s, deaf ones too, and touches no other',
    ),
    async (...[, who, end, answer, afterMs, count]) => {
      const callers = await start();
      const others = [
        await openStream(node, callers.maria, { input: TICKS }),
        await openStream(node, { key: node.tokens.start }, { input: TICKS }),
      ];
      const streams = await openMany(callers[who], count - DEAF_ONES);
      for (let at = 0; at < DEAF_ONES; at += 1) {
        const deaf = await openStream(node, callers[who], { input: DEAF });
        if (!deaf.text().includes('deaf')) await deaf.more('deaf');
        streams.push(deaf);
      }
      const pids = (await runsOf(streams)).map(({ pid = 0 }) => pid);
      expect(pids.filter(isAlive)).toHaveLength(count);
      const beganMs = performance.now() + afterMs;
      await end();
      const ends = await Promise.all(streams.map(({ over }) => over));
      expect(Math.max(...ends) - beganMs).toBeLessThan(LIMIT_MS);
      while (pids.some(isAlive) && performance.now() - beganMs < LIMIT_MS) await new Promise(setImmediate);
      expect(pids.filter(isAlive)).toEqual([]);
      expect(performance.now() - beganMs).toBeLessThan(LIMIT_MS);
      const causes = async (): Promise<unknown[]> => (await runsOf(streams)).map(({ endedBy }) => endedBy);
      await expect.poll(causes).toEqual(streams.map(() => 'cancel'));
      // Whose connections stay is told why, in the stream's last words.
      if (answer === 'scope_missing') expect(streams.map(({ text }) => text().includes(answer))).not.toContain(false);
      // The callers that go on are read from as before.
      await Promise.all(others.map((other) => other.more('tick')));
      expect((await runsOf(others)).map(({ state }) => state)).toEqual(['running', 'running']);
      const again = { ...callers[who], method: 'POST', path: '/execute', body: { command: 'true' } };
      expect((await node.ask(again)).outcome).toBe(answer);
    },
  );

  it('ends idle connections of the one who is gone, and of no other', async () => {
    const { kim, maria, key } = await start();
    const held = await Promise.all(
      [kim, maria, key].map(async (who) => {
        const socket = await connect(node.port, who);
        const closed = once(socket, 'close').then(() => 'closed');
        return { socket, closed };
      }),
    );
    // A key shows itself with its first request only.
    const [ofKim, ofMaria, ofKey] = held;
    if (ofKim === undefined || ofMaria === undefined || ofKey === undefined) throw new Error('not connected');
    ofKey.socket.write(`GET /api/v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key.key}\r\n\r\n`);
    await once(ofKey.socket, 'data');
    ofKey.socket.resume();
    await node.owner('DELETE', '/peers/kim');
    await node.owner('DELETE', '/keys/ci');
    expect(await Promise.all([ofKim.closed, ofKey.closed])).toEqual(['closed', 'closed']);
    expect((await askOn(ofMaria.socket, node.port, { ...maria, path: '/status' })).status).toBe(200);
  });
});

describe('a request in flight', () => {
  const half = async (who: Partial<Asking>): Promise<{ answer: Promise<string>; finish: () => void }> => {
    const socket = await connect(node.port, who);
    const body = JSON.stringify({ command: 'true' });
    let got = '';
    socket.on('data', (chunk: Buffer) => (got += chunk.toString()));
    socket.on('error', () => undefined);
    const bearer = who.key === undefined ? '' : `Authorization: Bearer ${who.key}\r\n`;
    socket.write(
      `POST /api/v1/execute HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n${bearer}Content-Length: ${body.length}\r\n\r\n${body.slice(0, 5)}`,
    );
    // It is known to be there when a request behind it has been answered.
    await node.owner('GET', '/status');
    const answer = once(socket, 'close').then(() => got);
    return { answer, finish: () => socket.write(body.slice(5)) };
  };

  it('is decided again when its body has come: trust that ended meanwhile runs nothing', async () => {
    const { kim, maria, agent } = await start();
    const requests = await Promise.all([kim, maria, agent].map(half));
    await node.owner('DELETE', '/peers/kim');
    await node.owner('PUT', '/peers/maria/grant', { level: 'observe' });
    await node.owner('PUT', '/keys/agent/grant', { level: 'collaborate' });
    for (const { finish } of requests) finish();
    const [ofKim, ofMaria, ofAgent] = await Promise.all(requests.map(({ answer }) => answer));
    expect(ofKim).toBe('');
    for (const answer of [ofMaria, ofAgent]) expect(answer).toMatch(/^HTTP\/1\.1 403 [\s\S]*"name":"scope_missing"/);
    expect(await node.owner('GET', '/status')).toMatchObject({ jobs: { total: 0 } });
  });

  it('is answered with why it ended, not with a result, where the grant was narrowed while it ran', async () => {
    const { maria } = await start();
    const running = node.ask({ ...maria, method: 'POST', path: '/execute', body: { command: 'sleep', args: ['60'] } });
    while ((await node.owner<{ jobs: { active: number } }>('GET', '/status')).jobs.active === 0)
      await new Promise(setImmediate);
    await node.owner('PUT', '/peers/maria/grant', { level: 'observe' });
    expect(await running).toMatchObject({ status: 403, outcome: 'scope_missing' });
    const stream = openStream(node, maria);
    await expect(stream).rejects.toThrow('no stream: 403');
  });

  it('of a narrowed caller goes on where it is still allowed', async () => {
    const { maria } = await start();
    const stream = await openStream(node, maria, { input: TICKS });
    await node.owner('PUT', '/peers/maria/grant', { level: 'full', scopes: ['exec'] });
    await stream.more('tick');
    expect((await node.ask({ ...maria, path: '/status' })).outcome).toBe('scope_missing');
  });
});

describe('a transfer under way', () => {
  it(
    verifies('transfer.reach', 'ends where its caller may no longer address one of the nodes, and is told so'),
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'loopsy-reach-'));
      await writeFile(join(folder, 'large'), Buffer.alloc(4_000_000));
      const config = { transfer: { allowedPaths: [folder] } };
      let key = '';
      node = await startNode({
        name: 'one',
        config,
        seed: async (now) => void ({ key } = await now.addKey('ci', { level: 'full', reach: 'all' })),
      });
      const two = await startNode({ name: 'two', config });
      try {
        for (const [a, b, name] of [
          [node, two, 'two'],
          [two, node, 'one'],
        ] as const) {
          const { fingerprint } = b.identity;
          await a.owner('POST', '/peers/trust', { address: '127.0.0.1', port: b.port, fingerprint, name });
        }
        const input = { from: 'two', sources: [join(folder, 'large')], dest: join(folder, 'copy'), limit: 1024 };
        const stream = await openStream(node, { key }, { input, path: '/transfers/run' });
        if (!stream.text().includes('progress')) await stream.more('progress');
        const beganMs = performance.now();
        await node.owner('PUT', '/keys/ci/grant', { level: 'full', reach: [] });
        expect((await stream.over) - beganMs).toBeLessThan(LIMIT_MS);
        expect(stream.text()).toContain('scope_missing');
        const again = { key, method: 'POST', path: '/transfers', body: input };
        expect((await node.ask(again)).outcome).toBe('scope_missing');
      } finally {
        await two.remove();
        await rm(folder, { recursive: true, force: true });
      }
    },
  );
});

describe('a removal', () => {
  it(
    verifies(
      ['link.farewell', 'cli.peers-remove'],
      'is told to the other side, even where no connection was open; its link and streams end there too',
    ),
    async () => {
      node = await startNode({ name: 'one' });
      const two = await startNode({ name: 'two' });
      try {
        const trust = (a: InProcessNode, b: InProcessNode, name: string): Promise<unknown> =>
          a.owner('POST', '/peers/trust', {
            address: '127.0.0.1',
            port: b.port,
            fingerprint: b.identity.fingerprint,
            name,
          });
        await trust(node, two, 'two');
        await trust(two, node, 'one');
        const [out, back] = [
          await openStream(two, { key: two.tokens.start }, { input: TICKS, query: '?peer=one' }),
          await openStream(node, { key: node.tokens.start }, { input: TICKS, query: '?peer=two' }),
        ];
        await Promise.all([out.more('tick'), back.more('tick')]);
        two.composed.listener.destroySockets((facts) => facts?.tls === true, { only: 'idle' });
        const beganMs = performance.now();
        expect(await node.owner('DELETE', '/peers/two')).toMatchObject({ success: true, told: true });
        for (const stream of [out, back]) expect((await stream.over) - beganMs).toBeLessThan(LIMIT_MS);
        expect(out.text()).toContain('"error"');
        const gone = await ask(two.port, { path: '/status?peer=one', key: two.tokens.start });
        expect(gone.outcome).toMatch(/^(?:revoked|scope_missing)$/);
        await expect
          .poll(async () => (await two.owner<{ peers: unknown[] }>('GET', '/peers')).peers)
          .toEqual([
            expect.objectContaining({
              name: 'one',
              status: 'offline',
              reason: expect.stringContaining('does not trust'),
            }),
          ]);
        expect(await node.owner('GET', '/peers')).toEqual({ peers: [] });
      } finally {
        await two.remove();
      }
    },
  );

  it('leaves running what the owner wants kept, for the owner alone', async () => {
    const { kim } = await start();
    const stream = await openStream(node, kim);
    await node.owner('DELETE', '/peers/kim?keepRuns=true');
    await stream.over;
    const run = await node.owner<Job>('GET', `/execute/${stream.jobId}`);
    expect(run).toMatchObject({ state: 'running' });
    expect(isAlive(run.pid ?? 0)).toBe(true);
    expect((await node.ask({ ...kim, path: `/execute/${stream.jobId}` })).outcome).toBe('revoked');
    expect(await node.owner('DELETE', `/execute/${stream.jobId}`)).toMatchObject({ state: 'cancelled' });
  });
});
