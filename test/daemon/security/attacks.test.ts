import { once } from 'node:events';
import tls from 'node:tls';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { OPERATION_IDS, rowOf } from '../../../src/protocol/operations.ts';
import { type Answer, shownBy } from '../../helpers/ask.ts';
import { startNode } from '../../helpers/in-process-node.ts';
import { makeMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { type Cast, castOf, dismiss, LAN } from './cast.ts';

let cast: Cast;

beforeAll(async () => {
  cast = await castOf();
});

afterAll(() => dismiss(cast));

describe('a web page', () => {
  it(verifies('edge.no-cors', 'gets no CORS header, whatever it asks, and may frame nothing'), async () => {
    const { node } = cast;
    const origin = `http://127.0.0.1:${node.port}`;
    const answers = [
      await node.ask({ path: '/health', headers: { origin } }),
      await node.ask({ path: '/status', key: node.tokens.start, headers: { origin, 'sec-fetch-site': 'same-origin' } }),
      await node.ask({ path: '/status', key: node.tokens.start, headers: { origin: 'https://evil.example' } }),
      await node.ask({
        method: 'OPTIONS',
        path: '/execute',
        headers: { origin, 'access-control-request-method': 'POST' },
      }),
      await node.ask({
        method: 'OPTIONS',
        path: '/execute',
        headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
      }),
      await node.ask({
        method: 'POST',
        path: '/execute/stream',
        key: node.tokens.start,
        body: { command: 'true' },
        headOnly: true,
      }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 403, 404, 403, 200]);
    for (const { headers } of answers) {
      expect(Object.keys(headers).filter((name) => name.startsWith('access-control-'))).toEqual([]);
      expect(headers).toMatchObject({
        'x-frame-options': 'DENY',
        'x-content-type-options': 'nosniff',
        'cache-control': 'no-store',
      });
      expect(headers['set-cookie']).toBeUndefined();
    }
  });

  it('gets nowhere with a form: text/plain and a foreign Origin, or a simple GET', async () => {
    const { node } = cast;
    const form = await node.ask({
      method: 'POST',
      path: '/execute',
      body: { command: 'true' },
      headers: { 'content-type': 'text/plain', origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
    });
    expect(form.outcome).toBe('foreign_origin');
    expect((await node.ask({ path: '/peers', headers: { 'sec-fetch-site': 'cross-site' } })).outcome).toBe(
      'foreign_origin',
    );
  });
});

describe('a caller that says who it is', () => {
  it(verifies('edge.caller', 'is not believed: no header makes an owner, an agent or a peer of anybody'), async () => {
    const { node, keys, peers } = cast;
    const claims = {
      'x-forwarded-for': '127.0.0.1',
      forwarded: 'for=127.0.0.1',
      'x-real-ip': '127.0.0.1',
      'loopsy-caller': 'owner',
      'loopsy-agent': 'claude',
      'loopsy-on-behalf-of': 'owner',
      'loopsy-node': node.identity.nodeId,
    };
    expect((await node.ask({ path: '/key', headers: claims })).outcome).toBe('missing_key');
    expect((await node.ask({ ...LAN, path: '/status', headers: claims })).outcome).toBe('plain_http');
    expect((await node.ask({ path: '/key', key: keys.full, headers: claims })).outcome).toBe('scope_missing');
    expect((await node.ask({ ...LAN, tls: shownBy(peers.full), path: '/key', headers: claims })).outcome).toBe(
      'scope_missing',
    );
  });

  it(verifies('trust.tokens', 'is an agent by its token alone, under the label that the node gave it'), async () => {
    const { node } = cast;
    const connect = async (): Promise<{ label: string; token: string }> =>
      JSON.parse(
        (await node.ask({ method: 'POST', path: '/agents/connect', key: node.tokens.agent, body: { label: 'gemini' } }))
          .text,
      );
    const [first, second] = [await connect(), await connect()];
    expect([first.label, second.label]).toEqual(['gemini', 'gemini-2']);
    const started = await node.ask({
      method: 'POST',
      path: '/execute',
      key: second.token,
      body: { command: 'true' },
      headers: { 'loopsy-agent': 'gemini' },
    });
    const { jobId } = JSON.parse(started.text) as { jobId: string };
    expect(await node.owner('GET', `/execute/${jobId}`)).toMatchObject({ caller: 'agent:gemini-2' });
    expect((await node.ask({ path: `/execute/${jobId}`, key: first.token })).outcome).toBe('job_not_found');
  });

  it('gets nothing by sending two of a header that decides', async () => {
    const { node } = cast;
    const twice = (name: string, values: string[]): Promise<{ outcome: string }> =>
      node.ask({ path: '/key', headers: { authorization: `Bearer ${node.tokens.start}`, [name]: values } });
    const origin = `http://127.0.0.1:${node.port}`;
    expect((await twice('origin', [origin, 'https://evil.example'])).outcome).toBe('foreign_origin');
    expect((await twice('sec-fetch-site', ['same-origin', 'cross-site'])).outcome).toBe('foreign_origin');
    expect((await twice('authorization', ['Bearer x', `Bearer ${node.tokens.start}`])).outcome).toBe('invalid_key');
  });
});

describe('a peer', () => {
  it(verifies('link.no-lending', 'can’t reach a third node through ours, by name, by id, or by itself'), async () => {
    const { node, other, peers } = cast;
    for (const peer of [
      'other',
      other.identity.nodeId,
      other.identity.nodeId.slice(0, 6),
      node.identity.nodeId,
      'localhost',
      'nobody',
    ]) {
      const answer = await node.ask({ ...LAN, tls: shownBy(peers.full), path: `/status?peer=${peer}` });
      expect([peer, answer.outcome]).toEqual([peer, 'invalid_request']);
      // Which names are known here is nobody's business.
      expect(answer.text).not.toContain('known');
    }
    expect((await other.audit().catch(() => [])).filter(({ operation }) => operation === 'system.status')).toEqual([]);
  });

  it('can’t follow or end what another caller started, and learns no more than of a job that never was', async () => {
    const { node, peers, keys } = cast;
    const { jobId } = await node.owner<{ jobId: string }>('POST', '/execute', { command: 'true' });
    const never = `${jobId.slice(0, 25)}${jobId.endsWith('0') ? '1' : '0'}`;
    for (const who of [{ ...LAN, tls: shownBy(peers.full) }, { key: keys.far }, { key: cast.agentToken }]) {
      const [there, not] = [
        await node.ask({ ...who, path: `/execute/${jobId}` }),
        await node.ask({ ...who, path: `/execute/${never}` }),
      ];
      expect(there.text.replaceAll(jobId, never)).toBe(not.text);
      const { jobs } = JSON.parse((await node.ask({ ...who, path: '/execute/jobs?state=all' })).text) as {
        jobs: { jobId: string }[];
      };
      expect(jobs.map((job) => job.jobId)).not.toContain(jobId);
    }
  });
});

describe('a request for a peer', () => {
  it(verifies('rest.peer-field', 'takes its query along'), async () => {
    const { node, keys } = cast;
    const run = { method: 'POST', path: '/execute?peer=other', key: keys.far, body: { command: 'true' } };
    for (const _turn of [1, 2]) expect((await node.ask(run)).status).toBe(200);
    const listed = await node.ask({ path: '/execute/jobs?state=all&limit=1&peer=other', key: node.tokens.start });
    expect(JSON.parse(listed.text)).toEqual({
      jobs: [expect.objectContaining({ state: 'ended' })],
      nextCursor: expect.any(String),
    });
    const ended = await node.ask({ path: '/execute/jobs?peer=other', key: node.tokens.start });
    expect(JSON.parse(ended.text)).toEqual({ jobs: [] });
  });

  it(verifies('link.twice', 'is authorised here by scope and reach, and there again by grant'), async () => {
    const { node, other, keys } = cast;
    const execute = (key: string): ReturnType<typeof node.ask> =>
      node.ask({ method: 'POST', path: '/execute?peer=other', key, body: { command: 'true' } });
    expect((await execute(keys.full)).outcome).toBe('scope_missing');
    expect((await execute(node.tokens.start)).outcome).toBe('allowed');
    await other.owner('PUT', '/peers/first/grant', { level: 'observe' });
    const refused = await execute(node.tokens.start);
    expect([refused.outcome, refused.text]).toEqual([
      'scope_missing',
      expect.stringContaining('your machine has no scope'),
    ]);
    expect((await node.ask({ path: '/status?peer=other', key: node.tokens.start })).outcome).toBe('allowed');
    await other.owner('PUT', '/peers/first/grant', { level: 'full' });
  });
});

describe('a limit of a peer', () => {
  it('is told on with the time to come again, by a run that is buffered and by one that is streamed', async () => {
    const { node, other, keys } = cast;
    await other.owner('PATCH', '/config', { changes: { 'rateLimits.execute': 1 } });
    try {
      const run = (path: string): ReturnType<typeof node.ask> =>
        node.ask({ method: 'POST', path: `${path}?peer=other`, key: keys.far, body: { command: 'true' } });
      let answer = await run('/execute');
      for (let at = 0; at < 3 && answer.status === 200; at += 1) answer = await run('/execute');
      for (const refused of [answer, await run('/execute/stream')]) {
        expect([refused.status, refused.outcome]).toEqual([429, 'rate_limited']);
        const { details } = (JSON.parse(refused.text) as { error: { details: { retryAfterMs: number } } }).error;
        expect(Number(refused.headers['retry-after'])).toBe(Math.ceil(details.retryAfterMs / 1000));
      }
    } finally {
      await other.owner('PATCH', '/config', { changes: { 'rateLimits.execute': 1000 } });
    }
  });
});

describe('a key', () => {
  it('that may not address all peers never learns which names are known here', async () => {
    const { node, keys } = cast;
    const [known, unknown] = await Promise.all(
      ['other', 'nobody'].map((peer) => node.ask({ key: keys.full, path: `/status?peer=${peer}` })),
    );
    expect(known?.outcome).toBe('scope_missing');
    expect(unknown?.text).toBe(known?.text);
    expect(JSON.parse((await node.ask({ key: keys.far, path: '/status?peer=nobody' })).text)).toMatchObject({
      error: { name: 'peer_not_found', details: { known: expect.arrayContaining(['other']) } },
    });
  });

  it(
    verifies(
      'rest.named-key-tls',
      'of a program on another machine gets more than a stranger: many requests on one connection',
    ),
    async () => {
      const { node, keys } = cast;
      const socket = tls.connect({
        port: node.port,
        host: '127.0.0.1',
        localAddress: LAN.from,
        rejectUnauthorized: false,
      } as tls.ConnectionOptions);
      await once(socket, 'secureConnect');
      let got = '';
      socket.on('data', (chunk: Buffer) => (got += chunk.toString()));
      const head = `Host: x\r\nAuthorization: Bearer ${keys.observe}\r\n`;
      for (let count = 1; count <= 3; count += 1) {
        socket.write(`GET /api/v1/status HTTP/1.1\r\n${head}\r\n`);
        while (got.split('"uptime"').length <= count) await once(socket, 'data');
      }
      expect(got).not.toContain('connection: close');
      socket.destroy();
    },
  );
});

describe('the id of a request', () => {
  it('that one caller chose never brings another caller’s result, here or on a peer', async () => {
    const { node, keys } = cast;
    for (const path of ['/execute', '/execute?peer=other']) {
      const headers = { 'loopsy-request-id': path.length.toString(16).padStart(32, '0') };
      const run = (key: string): ReturnType<typeof node.ask> =>
        node.ask({
          method: 'POST',
          path,
          key,
          headers,
          body: { command: process.execPath, args: ['-p', 'process.pid'] },
        });
      const [ofOwner, ofKey, again] = [await run(node.tokens.start), await run(keys.far), await run(keys.far)];
      const { stdout } = JSON.parse(ofKey.text) as { stdout: string };
      expect(stdout).toMatch(/^\d+\n$/);
      expect(JSON.parse(ofOwner.text)).not.toMatchObject({ stdout });
      expect(JSON.parse(again.text)).toMatchObject({ stdout });
    }
  });

  it('brings a large result again, whole, from the run that it began', async () => {
    const { node, keys } = cast;
    for (const path of ['/execute', '/execute?peer=other']) {
      const asking = {
        method: 'POST',
        path,
        key: keys.far,
        headers: { 'loopsy-request-id': `dd${path.length.toString(16).padStart(30, '0')}` },
        body: { command: process.execPath, args: ['-e', 'process.stdout.write("ä".repeat(300_000) + process.pid)'] },
      };
      const [first, again] = [await node.ask(asking), await node.ask(asking)];
      expect([first.status, first.text.length]).toEqual([200, expect.any(Number)]);
      expect(JSON.parse(first.text)).toMatchObject({ stdout: expect.stringMatching(/^ä{300000}\d+$/) });
      expect(again.text === first.text).toBe(true);
    }
  });

  it('that was used before never makes another request look done: it is refused, and nothing happens', async () => {
    const { node } = cast;
    const { tokens } = node;
    let used = 0;
    const ids = (): { 'loopsy-request-id': string } => ({
      'loopsy-request-id': `ee${(used += 1).toString(16).padStart(30, '0')}`,
    });
    const run = (path: string, headers: object, words = ['first']): Promise<Answer> =>
      node.ask({
        method: 'POST',
        path,
        key: tokens.start,
        headers: { ...headers },
        body: { command: 'echo', args: words },
        headOnly: path.includes('/stream'),
      });
    const expectUsed = ({ outcome, text }: Answer): void =>
      expect([outcome, text]).toEqual(['invalid_request', expect.stringContaining('used for another request')]);
    const jobs = async (peer: string): Promise<number> =>
      (await node.owner<{ jobs: { total: number } }>('GET', `/status${peer}`)).jobs.total;
    const starts = ['/execute', '/execute/stream', '/execute?peer=other', '/execute/stream?peer=other'];
    for (const [at, path] of starts.entries()) {
      await node.owner('POST', '/keys', { name: `kept-${at}` });
      const headers = ids();
      expect((await run(path, headers)).outcome).toBe('allowed');
      const before = [await jobs(''), await jobs('?peer=other')];
      const remove = { method: 'DELETE', path: `/keys/kept-${at}`, key: tokens.start };
      // Another operation, another input, another node, another way to ask for the same.
      expectUsed(await node.ask({ ...remove, headers }));
      expectUsed(await run(path, headers, ['second']));
      for (const other of starts) if (other !== path) expectUsed(await run(other, headers));
      expect([await jobs(''), await jobs('?peer=other')]).toEqual(before);
      expect(await node.owner('GET', '/keys')).toMatchObject({
        keys: expect.arrayContaining([expect.objectContaining({ name: `kept-${at}` })]),
      });
      expect((await run(path, headers)).outcome).toBe('allowed');
      expect([await jobs(''), await jobs('?peer=other')]).toEqual(before);
      // And the other way round: what was done is no run.
      const another = ids();
      expect((await node.ask({ ...remove, headers: another })).outcome).toBe('allowed');
      expectUsed(await run(path, another));
      expect([await jobs(''), await jobs('?peer=other')]).toEqual(before);
    }
  });
});

describe('tls.enabled: false', () => {
  it(
    verifies(
      ['rest.plain-network', 'config.tls.enabled'],
      'lets named keys in over plain HTTP from the LAN, and nobody else',
    ),
    async () => {
      const machine = await makeMachine();
      const keys: Record<string, string> = {};
      const node = await startNode({
        lan: true,
        config: { tls: { enabled: false } },
        seed: async (now, past) => {
          keys['full'] = (await now.addKey('full', { level: 'full' })).key;
          keys['gone'] = (await now.addKey('gone', { level: 'full' })).key;
          keys['old'] = (await past.addKey('old', { level: 'full', expires: 1000 })).key;
          await now.revokeKey('gone');
          await now.trustMachine({ certificate: machine.certificate, name: 'kim' });
        },
      });
      try {
        const from = async (path: string, key?: string): Promise<string> =>
          (await node.ask({ ...LAN, path, key })).outcome;
        expect(await from('/status', keys['full'])).toBe('allowed');
        expect(await from('/status', keys['old'])).toBe('expired_key');
        expect(await from('/key', keys['full'])).toBe('scope_missing');
        for (const key of [
          undefined,
          node.tokens.owner,
          node.tokens.start,
          node.tokens.agent,
          keys['gone'],
          'ab'.repeat(32),
        ]) {
          for (const id of OPERATION_IDS) {
            if (rowOf(id).method === 'GET') expect(await from(rowOf(id).path, key)).toBe('plain_http');
          }
        }
        // What it says is true: plain HTTP is served, but not to this key.
        const refused = await node.ask({ ...LAN, path: '/status', key: node.tokens.owner });
        expect(JSON.parse(refused.text)).toMatchObject({
          error: {
            code: 1007,
            message: 'over plain HTTP from the network this node lets named keys in, and nobody else',
            hint: expect.stringMatching(/`loopsy key add`.*TLS/),
          },
        });
        const page = { ...LAN, path: '/status', key: keys['full'], headers: { origin: 'http://evil.example' } };
        expect((await node.ask(page)).outcome).toBe('foreign_origin');
        // Nodes go on over TLS.
        expect((await node.ask({ ...LAN, path: '/status', tls: shownBy(machine) })).outcome).toBe('allowed');
      } finally {
        await node.remove();
      }
    },
  );
});
