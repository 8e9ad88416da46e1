import { realpath } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createClient } from '../../src/client/client.ts';
import { fetchTransport } from '../../src/client/fetch-transport.ts';
import { errorFromBody, type LoopsyError } from '../../src/protocol/errors.ts';
import { FRAME, FrameReader, FRAMES_TYPE } from '../../src/protocol/frames.ts';
import { jobEventSchema, jobSliceSchema, type JobEvent } from '../../src/protocol/jobs.ts';
import type { OperationId, OutputOf } from '../../src/protocol/operations.ts';
import { VERSION } from '../../src/protocol/version.ts';
import { shapeOf } from '../helpers/e2e-shapes.ts';
import { connectMachines, Machine } from '../helpers/nodes.ts';
import { isAlive, until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

let near: Machine;
let far: Machine;

beforeAll(async () => {
  [near, far] = [
    await Machine.create('near'),
    await Machine.create('far', { extra: 'rateLimits:\n  execute: 1000\n' }),
  ];
  await connectMachines(near, far);
}, 60_000);

afterAll(async () => {
  await near?.remove();
  await far?.remove();
}, 60_000);

interface Sending {
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

/** A request to the first node as its owner. */
const send = async (method: string, path: string, { body, headers = {} }: Sending = {}): Promise<Response> => {
  const { url, token } = await near.registration();
  const type = body === undefined ? {} : { 'content-type': 'application/json' };
  return fetch(`${url}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...type, ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
};

/** The status and the error of an answer. */
const failureOf = async (response: Response): Promise<[number, LoopsyError | undefined]> => [
  response.status,
  errorFromBody(await response.json()),
];

/** A request to the first node as its owner: 200, and the shape that the table says. */
const ask = async <Id extends OperationId>(
  id: Id,
  [method, path]: readonly [string, string],
  body?: unknown,
): Promise<OutputOf<Id>> => {
  const response = await send(method, path, { body });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return shapeOf(id, JSON.parse(text));
};

interface SseEvent {
  readonly id: number | undefined;
  readonly event: JobEvent;
}

/** The events of an SSE answer that has ended. */
const readSse = (text: string): SseEvent[] =>
  text
    .split('\n\n')
    .filter((block) => block.includes('data:'))
    .map((block) => {
      const field = (name: string): string | undefined => new RegExp(`^${name}: ?(.*)$`, 'm').exec(block)?.[1];
      const id = field('id');
      return {
        id: id === undefined ? undefined : Number(id),
        event: jobEventSchema.parse(JSON.parse(field('data') ?? '')),
      };
    });

const textOf = (events: readonly SseEvent[], type: string): string =>
  events
    .filter(({ event }) => event.type === type)
    .map(({ event: { data, encoding } }) => Buffer.from(String(data), encoding ?? 'utf8').toString('latin1'))
    .join('');

const start = async (body: unknown, query = ''): Promise<{ jobId: string; leave: () => void; response: Response }> => {
  const { url, token } = await near.registration();
  const controller = new AbortController();
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const response = await fetch(`${url}/api/v1/execute/stream${query}`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
    signal: controller.signal,
  });
  return { jobId: response.headers.get('loopsy-object') ?? '', leave: () => controller.abort(), response };
};

describe('facts', () => {
  it(verifies(['rest.health', 'rest.bearer'], 'GET /health is for anyone; everything else needs a key'), async () => {
    const { url, nodeId } = await near.registration();
    const health = shapeOf('system.health', await (await fetch(`${url}/api/v1/health`)).json());
    expect(health).toMatchObject({ status: 'ok', nodeId, version: VERSION });
    expect(health.uptime).toBeGreaterThan(0);
    expect(health.uptime).toBeLessThan(120_000);
    for (const path of [
      '/status',
      '/identity',
      '/peers',
      '/execute/jobs',
      '/keys',
      '/config',
      '/audit',
      '/openapi.json',
    ]) {
      const response = await fetch(`${url}/api/v1${path}`);
      expect([path, ...(await failureOf(response))]).toMatchObject([path, 401, { error: 'missing_key', code: 1001 }]);
    }
  });

  it(verifies(['rest.status', 'rest.identity'], 'GET /status and GET /identity, here and of a peer'), async () => {
    const own = await near.registration();
    const identity = await ask('system.identity', ['GET', '/identity']);
    expect(identity).toEqual({
      nodeId: own.nodeId,
      hostname: 'near',
      platform: process.platform,
      version: VERSION,
      port: own.port,
      capabilities: ['execute', 'transfer', 'context', 'messages'],
    });
    await ask('job.execute', ['POST', '/execute'], { command: 'true' });
    const status = await ask('system.status', ['GET', '/status']);
    expect(status).toMatchObject({
      ...identity,
      pid: own.pid,
      peers: { total: 1 },
      jobs: { active: 0, queued: 0 },
      dataDir: near.path(),
      tls: true,
    });
    expect(status.jobs.total).toBeGreaterThan(0);
    expect(await ask('system.identity', ['GET', '/identity?peer=far'])).toMatchObject({
      hostname: 'far',
      nodeId: (await far.registration()).nodeId,
    });
  });

  it(
    verifies(
      ['rest.peers', 'rest.peers-add', 'rest.deletes'],
      'GET and POST /peers: one row a node; a DELETE needs no body',
    ),
    async () => {
      const { port, nodeId } = await far.registration();
      const added = await ask('peer.add', ['POST', '/peers'], { address: 'localhost', port });
      expect(added).toMatchObject({ nodeId, name: 'far', trusted: true, manuallyAdded: true, address: 'localhost' });
      const { peers } = await ask('peer.list', ['GET', '/peers']);
      expect(peers).toHaveLength(1);
      expect(peers[0]?.lastSeen).toBeGreaterThan(Date.now() - 60_000);
      const third = await Machine.create('third');
      const at = { address: '127.0.0.1', port: (await third.registration()).port };
      expect(await ask('peer.add', ['POST', '/peers'], at)).toMatchObject({
        trusted: false,
        status: 'unknown',
        reason: expect.stringContaining('loopsy pair'),
      });
      expect((await ask('peer.list', ['GET', '/peers'])).peers).toHaveLength(2);
      const types = { 'content-type': 'application/json' };
      const gone = await send('DELETE', `/peers/${encodeURIComponent(`127.0.0.1:${at.port}`)}`, { headers: types });
      expect([gone.status, await gone.json()]).toMatchObject([200, { success: true }]);
      expect((await ask('peer.list', ['GET', '/peers'])).peers).toHaveLength(1);
      await third.remove();
    },
  );
});

describe.each(['', '?peer=far'])('runs%s', (query) => {
  const machine = (): Machine => (query === '' ? near : far);

  it(
    verifies(
      ['rest.execute', 'jobs.where', 'link.forward'],
      'POST /execute answers with everything; a non-zero exit is 200',
    ),
    async () => {
      const body = { command: 'sh', args: ['-c', 'cat; echo $A >&2; exit 5'], env: { A: 'b c' }, stdin: 'ünï' };
      const result = await ask('job.execute', ['POST', `/execute${query}`], body);
      const { nodeId } = await machine().registration();
      const host = query === '' ? 'near' : 'far';
      expect(result).toMatchObject({
        exitCode: 5,
        stdout: 'ünï',
        stderr: 'b c\n',
        killed: false,
        endedBy: 'exit',
        host,
        nodeId,
        cwd: await realpath(machine().home),
      });
      expect(result.duration).toBeGreaterThan(0);
      const late = await ask('job.execute', ['POST', `/execute${query}`], {
        command: 'sleep',
        args: ['30'],
        timeout: 150,
      });
      expect(late).toMatchObject({ exitCode: null, killed: true, endedBy: 'timeout' });
      const shell = await ask('job.execute', ['POST', `/execute${query}`], {
        command: "printf '\\377' | cat",
        shell: true,
      });
      expect(shell).toMatchObject({ stdout: '/w==', encoding: 'base64' });
    },
  );

  it(
    verifies('rest.execute-stream', 'POST /execute/stream is SSE with ids that it can be resumed at, or frames'),
    async () => {
      const body = {
        command: 'sh',
        args: ['-c', "printf 'a\\303'; sleep 0.2; printf '\\244b\\377'; echo e >&2; exit 2"],
      };
      const { response, jobId } = await start(body, query);
      expect(response.headers.get('content-type')).toContain('text/event-stream');
      const events = readSse(await response.text());
      expect(events.map(({ event }) => event.type)).toEqual(
        expect.arrayContaining(['started', 'stdout', 'stderr', 'exit']),
      );
      expect(new Set(events.map(({ event }) => event.jobId))).toEqual(new Set([jobId]));
      expect(textOf(events, 'stdout')).toBe('a\u00c3\u00a4b\u00ff');
      expect(events.at(-1)?.event).toMatchObject({ type: 'exit', data: { exitCode: 2 } });
      const first = events.find(({ event, id }) => event.type === 'stdout' && id !== undefined);
      const rest = await send('GET', `/execute/${jobId}/output?since=${first?.id}`, {
        headers: {
          accept: 'text/event-stream',
        },
      });
      const again = readSse(await rest.text());
      expect(textOf([...(first === undefined ? [] : [first]), ...again], 'stdout')).toBe('a\u00c3\u00a4b\u00ff');
      const framed = await send('POST', `/execute/stream${query}`, { body, headers: { accept: FRAMES_TYPE } });
      expect(framed.headers.get('content-type')).toBe(FRAMES_TYPE);
      const pieces = [...new FrameReader().read(Buffer.from(await framed.arrayBuffer()))];
      const out = pieces.filter(({ type }) => type === FRAME.stdout).map(({ bytes }) => bytes);
      expect(Buffer.concat(out).toString('latin1')).toBe('a\u00c3\u00a4b\u00ff');
      expect(pieces.at(-1)?.type).toBe(FRAME.exit);
    },
  );

  it(
    verifies(
      ['rest.execute-jobs', 'rest.execute-signal'],
      'a run is listed and shown, gets signals, and is ended by DELETE',
    ),
    async () => {
      const { jobId, response } = await start(
        { command: 'sh', args: ['-c', 'trap "echo usr" USR1; echo ready; while :; do sleep 0.05; done'] },
        query,
      );
      const { jobs } = await ask('job.list', ['GET', `/execute/jobs${query}`]);
      expect(jobs.map((job) => job.jobId)).toContain(jobId);
      const job = await ask('job.get', ['GET', `/execute/${jobId}${query}`]);
      expect(job).toMatchObject({ command: 'sh', state: 'running', args: ['-c', expect.any(String)] });
      expect(job.startedAt).toBeGreaterThan(Date.now() - 60_000);
      const said = async (): Promise<number> => (await ask('job.get', ['GET', `/execute/${jobId}`])).outputBytes;
      // Before it has set its trap, the signal would end it.
      await until(async () => (await said()) > 0, 5000);
      expect(await ask('job.signal', ['POST', `/execute/${jobId}/signal${query}`], { signal: 'SIGUSR1' })).toEqual({
        success: true,
        jobId,
        delivered: true,
      });
      await until(async () => (await said()) > 'ready\n'.length, 5000);
      const gone = await send('DELETE', `/execute/${jobId}${query}`, {
        headers: {
          'content-type': 'application/json',
        },
      });
      expect(await gone.json()).toEqual({ success: true, jobId, state: 'cancelled' });
      const events = readSse(await response.text());
      expect(textOf(events, 'stdout')).toBe('ready\nusr\n');
      expect(events.at(-1)?.event.data).toMatchObject({ endedBy: 'cancel', killed: true, exitCode: null });
      await until(async () => !(await isAlive(job.pid ?? 0)), 3000);
      const unknown = await send('GET', `/execute/${'0'.repeat(26)}${query}`);
      expect(await failureOf(unknown)).toMatchObject([404, { code: 3006 }]);
    },
  );

  it(
    verifies('rest.execute-output', 'GET /execute/:jobId/output goes on from a cursor, waits, and closes at the end'),
    async () => {
      const { jobId, leave } = await start(
        { command: 'sh', args: ['-c', 'echo one; read x; echo two'], stdinStream: true },
        query,
      );
      const slice = async (text: string): Promise<ReturnType<typeof jobSliceSchema.parse>> =>
        jobSliceSchema.parse(
          await (
            await send('GET', `/execute/${jobId}/output${text}`, { headers: { accept: 'application/json' } })
          ).json(),
        );
      await until(async () => (await slice('?since=0&wait=1000')).cursor === 4, 5000);
      const quiet = await slice('?since=4&wait=50');
      expect(quiet).toMatchObject({ cursor: 4, ended: false });
      const waiting = slice('?since=4&wait=20000');
      const { url, token } = await near.registration();
      const sent = await fetch(`${url}/api/v1/execute/${jobId}/stdin`, {
        method: 'POST',
        body: 'x\n',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream' },
      });
      expect(shapeOf('job.stdin', await sent.json())).toEqual({ success: true, jobId, bytes: 2 });
      const woken = await waiting;
      expect(woken.events.some(({ data }) => data === 'two\n') || woken.ended).toBe(true);
      await until(async () => (await slice('?since=4&wait=1000')).ended, 5000);
      expect(
        (await slice('')).events
          .filter(({ type }) => type === 'stdout')
          .map(({ data }) => data)
          .join(''),
      ).toBe('one\ntwo\n');
      leave();
    },
  );

  it(
    verifies('rest.execute-stdin', 'POST /execute/:jobId/stdin takes a byte stream; its end closes stdin'),
    async () => {
      const { url, token } = await near.registration();
      const client = createClient({ transport: fetchTransport({ fetch, baseUrl: url, token }) });
      const { jobId, response } = await start({ command: 'sh', args: ['-c', 'cat | cksum'], stdinStream: true }, query);
      const chunk = Buffer.alloc(100_000, 255);
      const body = (async function* chunks() {
        for (let at = 0; at < 20; at += 1) yield chunk;
      })();
      expect(await client.upload('job.stdin', { jobId }, { body })).toMatchObject({ bytes: 2_000_000 });
      expect(textOf(readSse(await response.text()), 'stdout')).toMatch(/^\d+ 2000000\n$/);
    },
  );
});

describe('lists', () => {
  it('page by cursor, newest first, without a row twice or lost', async () => {
    for (let at = 0; at < 5; at += 1)
      await ask('job.execute', ['POST', '/execute'], { command: 'echo', args: [`page ${at}`] });
    const seen: string[] = [];
    for (let cursor: string | undefined = ''; cursor !== undefined;) {
      const more: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const page = await ask('job.list', ['GET', `/execute/jobs?state=all&limit=2${more}`]);
      expect(page.jobs.length).toBeLessThanOrEqual(2);
      seen.push(...page.jobs.map(({ jobId }) => jobId));
      cursor = page.nextCursor;
    }
    const { jobs } = await ask('job.list', ['GET', '/execute/jobs?state=all&limit=1000']);
    expect(seen).toEqual(jobs.map(({ jobId }) => jobId));
    expect(seen).toEqual(seen.toSorted().toReversed());
    expect(jobs[0]?.args).toEqual(['page 4']);
    const over = await send('GET', '/execute/jobs?limit=1001');
    expect(await failureOf(over)).toMatchObject([400, { details: { field: 'limit' } }]);
  });

  it('the API describes itself', async () => {
    expect((await ask('system.openapi', ['GET', '/openapi.json'])).openapi).toBe('3.1.0');
  });
});
