import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { ERRORS, type ErrorName } from '../../../src/protocol/errors.ts';
import { type Answer, shownBy } from '../../helpers/ask.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { makeMachine, type TestMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { LAN } from './cast.ts';
import { provokeContext } from './provoke-context.ts';
import { provokeMessages } from './provoke-messages.ts';
import { CONTRACT } from './error-numbers.ts';
import { openStream } from './streams.ts';

/** What the steps of a pairing answer: shown by its own tests. */
const PAIRING = (Object.keys(ERRORS) as ErrorName[]).filter((name) => name.startsWith('pair_'));
/** What moving files answers where disks, names and other transfers are in the way: shown by its own tests. */
const TRANSFERS = [
  'transfer_failed',
  'source_changed',
  'target_busy',
  'disk_full',
  'disk_read_only',
  'name_unusable',
  'transfer_cancelled',
  'range_unsatisfiable',
] as const satisfies readonly ErrorName[];
/** Not this edge's answers: outcomes of runs, and what is said before there is a node. */
const ELSEWHERE: readonly ErrorName[] = [
  'execution_timeout',
  'execution_cancelled',
  ...TRANSFERS,
  // Shown by the tests of the context.
  'context_full',
  // Shown by the tests of messages.
  'message_refused',
  'message_expired',
  'mailbox_full',
  'node_not_running',
  'data_folder',
  ...PAIRING,
];

let node: InProcessNode;
let peers: Record<'full' | 'removed', TestMachine>;
let keys: Record<string, string>;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopsy-errors-'));
  await writeFile(join(folder, 'large'), 'x'.repeat(11));
  peers = { full: await makeMachine(), removed: await makeMachine() };
  keys = {};
  node = await startNode({
    lan: true,
    config: {
      execution: { maxConcurrent: 2, maxQueued: 0 },
      rateLimits: { execute: 2 },
      transfer: { allowedPaths: [folder], maxFileSize: 10 },
    },
    seed: async (now, past) => {
      for (const name of ['full', 'removed'] as const)
        await now.trustMachine({ certificate: peers[name].certificate, name });
      await now.removeMachine('removed');
      keys['full'] = (await now.addKey('full', { level: 'full' })).key;
      keys['expired'] = (await past.addKey('expired', { level: 'full', expires: 1000 })).key;
    },
  });
});

afterAll(async () => {
  await node.remove();
  await rm(folder, { recursive: true, force: true });
});

const owner = (method: string, path: string, body?: unknown): Promise<Answer> =>
  node.ask({ method, path, key: node.tokens.start, ...(body === undefined ? {} : { body }) });

const pull = (name: string): Promise<Answer> => owner('POST', '/transfer/pull', { sourcePath: join(folder, name) });

const handshake = (link: number): Promise<Answer> =>
  node.ask({
    ...LAN,
    tls: shownBy(peers.full),
    method: 'POST',
    path: '/peers/handshake',
    body: { ...node.composed.system.facts(), link },
  });

const refuser = async (): Promise<net.Server> => {
  const server = net.createServer((socket) => socket.on('error', () => undefined).end('SSH-2.0-x\r\n'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
};

const provoke: Readonly<Partial<Record<ErrorName, () => Promise<Answer>>>> = {
  missing_key: () => node.ask({ path: '/status' }),
  invalid_key: () => node.ask({ path: '/status', key: 'ab'.repeat(32) }),
  expired_key: () => node.ask({ path: '/status', key: keys['expired'] }),
  scope_missing: () => node.ask({ path: '/key', key: keys['full'] }),
  revoked: () => node.ask({ ...LAN, path: '/status', tls: shownBy(peers.removed) }),
  foreign_origin: () => node.ask({ path: '/status', headers: { host: 'evil.example' } }),
  plain_http: () => node.ask({ ...LAN, path: '/health' }),
  peer_not_found: () => owner('GET', '/status?peer=nobody'),
  peer_unreachable: () => owner('POST', '/peers', { address: '127.0.0.1', port: 1 }),
  peer_handshake: async () => {
    const server = await refuser();
    const answer = await owner('POST', '/peers/probe', {
      address: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
    });
    server.close();
    return answer;
  },
  peer_version: () => handshake(2),
  outcome_unknown: () =>
    node.ask({
      method: 'POST',
      path: '/execute',
      key: node.tokens.start,
      body: { command: 'true' },
      headers: { 'loopsy-request-id': 'ab'.repeat(16), 'loopsy-repeat': 'another start' },
    }),
  command_denied: () => owner('POST', '/execute', { command: 'rm', args: ['-rf', 'x'] }),
  too_many_jobs: async () => {
    const runs = await Promise.all([1, 2].map(() => openStream(node, { key: node.tokens.start })));
    const answer = await owner('POST', '/execute', { command: 'true' });
    await Promise.all(runs.map(({ jobId }) => owner('DELETE', `/execute/${jobId}`)));
    return answer;
  },
  execution_failed: () => owner('POST', '/execute', { command: 'no-such-program' }),
  job_not_found: () => owner('GET', `/execute/${'0'.repeat(26)}`),
  internal: async () => {
    const { system } = node.composed;
    const { status } = system;
    system.status = () => {
      throw new Error('what nobody expected, with a secret');
    };
    const answer = await owner('GET', '/status');
    system.status = status;
    return answer;
  },
  path_denied: () => pull('../x'),
  file_not_found: () => pull('nothing'),
  file_too_large: () => pull('large'),
  wrong_type: () => pull('.'),
  checksum_mismatch: () => {
    const part = (name: string, value: string): string =>
      `--b\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
    return node.ask({
      method: 'POST',
      path: '/transfer/push',
      key: node.tokens.start,
      body: `${part('destPath', join(folder, 'pushed'))}${part('checksum', '0'.repeat(64))}${part('file', 'abc')}--b--`,
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
    });
  },
  transfer_not_found: () => owner('GET', `/transfers/${'0'.repeat(26)}`),
  ...provokeContext((...asked) => owner(...asked)),
  ...provokeMessages((...asked) => owner(...asked)),
  rate_limited: async () => {
    const run = (): Promise<Answer> =>
      node.ask({ method: 'POST', path: '/execute', key: keys['full'], body: { command: 'true' } });
    expect([(await run()).status, (await run()).status]).toEqual([200, 200]);
    return run();
  },
  invalid_request: () => owner('POST', '/execute', { comand: 'true' }),
  unknown_route: () => owner('GET', '/nothing'),
  body_too_large: () => owner('POST', '/keys', { name: 'x'.repeat(70_000) }),
  conflict: async () => {
    await owner('POST', '/keys', { name: 'twice' });
    return owner('POST', '/keys', { name: 'twice' });
  },
  too_many_streams: async () => {
    const follow = (): Promise<net.Socket> =>
      new Promise((resolve) => {
        const socket = net.connect({ port: node.port, host: '127.0.0.1' }, () => {
          socket.write(
            `GET /api/v1/audit/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${node.tokens.start}\r\n\r\n`,
          );
          socket.once('data', () => resolve(socket));
        });
      });
    const sockets = await Promise.all(Array.from({ length: 32 }, follow));
    const answer = await owner('GET', '/audit/stream');
    for (const socket of sockets) socket.destroy();
    return answer;
  },
  config_invalid: async () => {
    const text = await readFile(node.paths.config, 'utf8');
    await writeFile(node.paths.config, 'version: 2\nserver: [');
    const answer = await owner('PATCH', '/config', { changes: { 'logging.level': 'info' } });
    await writeFile(node.paths.config, text);
    return answer;
  },
};

const errorIn = ({ text }: Answer): Record<string, unknown> =>
  (JSON.parse(text) as { error: Record<string, unknown> }).error;
/** Known by tests that need a node of their own. */
const BELOW: readonly ErrorName[] = ['peer_offline', 'node_stopping'];
/** bodies.test.ts: the client has left by then. */
const UNSEEN: readonly ErrorName[] = ['request_timeout'];

describe('an error', () => {
  it(
    verifies(
      'rest.error-shape',
      'of the catalogue is either answered here by the edge, or known to be none of its answers',
    ),
    () => {
      const known = [...Object.keys(provoke), ...BELOW, ...UNSEEN, ...ELSEWHERE].toSorted();
      expect(known).toEqual(Object.keys(ERRORS).toSorted());
      for (const [name, [code, status]] of Object.entries(CONTRACT))
        expect([name, ERRORS[name as ErrorName]]).toEqual([name, expect.objectContaining({ code, status })]);
    },
  );

  const answered = new Map<string, readonly unknown[]>();

  it.each(Object.keys(provoke) as ErrorName[])(
    '%s is answered in the one shape: what happened, and what to do',
    async (name) => {
      const answer = await provoke[name]?.();
      if (answer === undefined) throw new Error(`nothing provokes ${name}`);
      const [code, status] = CONTRACT[name] ?? [];
      const error = errorIn(answer);
      expect({ status: answer.status, ...error }).toMatchObject({
        status,
        code,
        name,
        message: expect.stringMatching(/\S{3}/),
      });
      expect(Object.keys(error).filter((key) => !['code', 'name', 'message', 'hint', 'details'].includes(key))).toEqual(
        [],
      );
      expect(Object.keys(JSON.parse(answer.text) as object)).toEqual(['error']);
      expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
      // Whatever a person can do something about says what.
      if (
        ![
          'outcome_unknown',
          'too_many_streams',
          'body_too_large',
          'conflict',
          'execution_failed',
          'invalid_request',
          'checksum_mismatch',
          'wrong_type',
        ].includes(name)
      )
        expect([name, error['hint']]).toEqual([name, expect.stringMatching(/\S{3}/)]);
      expect(answer.text).not.toContain(node.tokens.start);
      answered.set(name, [error['code'], answer.status]);
    },
  );

  const ids = verifies(
    [
      'error.1001', 'error.1002', 'error.1003', 'error.1004', 'error.1005', 'error.1006', 'error.1007', 'error.2001', 'error.2003',
      'error.2005', 'error.3001', 'error.3003', 'error.3006', 'error.4001', 'error.4002', 'error.4003', 'error.4004', 'error.9001',
      'error.9002',
    ],
    'has the number and the status that the contract gives it',
  ); // prettier-ignore
  it(ids, () => {
    const own = Object.entries(CONTRACT).filter(([name]) => name in provoke);
    expect(Object.fromEntries(answered)).toEqual(Object.fromEntries(own));
  });

  it('that nobody expected has a reference that is in the log, and keeps its secret', async () => {
    const answer = await provoke.internal?.();
    const { details, message } = errorIn(answer ?? (await owner('GET', '/nothing')));
    const { reference } = details as { reference: string };
    expect(message).toContain(reference);
    expect(answer?.text).not.toContain('secret');
    expect(node.logged.filter((line) => line.includes(reference) && line.includes('with a secret'))).toHaveLength(1);
  });

  it('of a limit says when to come again', async () => {
    const answer = await node.ask({ method: 'POST', path: '/execute', key: keys['full'], body: { command: 'true' } });
    expect(answer.outcome).toBe('rate_limited');
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    // Reading output, lists and signals are not counted.
    expect((await node.ask({ path: '/execute/jobs?state=all', key: keys['full'] })).status).toBe(200);
  });

  it(
    verifies(['error.3002', 'error.3005'], 'is not what a time-out or a cancel of a run is: they are outcomes'),
    async () => {
      const timedOut = await owner('POST', '/execute', { command: 'sleep', args: ['60'], timeout: 50 });
      expect([timedOut.status, JSON.parse(timedOut.text)]).toEqual([
        200,
        expect.objectContaining({ endedBy: 'timeout', killed: true, exitCode: null }),
      ]);
      const running = owner('POST', '/execute', { command: 'sleep', args: ['60'] });
      let jobs: { jobId: string }[] = [];
      while (jobs.length === 0) ({ jobs } = await node.owner<{ jobs: { jobId: string }[] }>('GET', '/execute/jobs'));
      await owner('DELETE', `/execute/${jobs[0]?.jobId}`);
      const cancelled = await running;
      expect([cancelled.status, JSON.parse(cancelled.text)]).toEqual([
        200,
        expect.objectContaining({ endedBy: 'cancel', killed: true, exitCode: null }),
      ]);
    },
  );

  it(
    verifies(
      ['error.2002', 'fault.unknown-peer'],
      'tells an offline peer from an unknown one, which is answered with the known ones',
    ),
    async () => {
      const [one, two] = [await startNode({ name: 'one' }), await startNode({ name: 'two' })];
      try {
        await one.owner('POST', '/peers/trust', {
          address: '127.0.0.1',
          port: two.port,
          fingerprint: two.identity.fingerprint,
          name: 'two',
        });
        await two.stop();
        const status = async (): Promise<string> =>
          (await one.owner<{ peers: { status: string }[] }>('GET', '/peers')).peers[0]?.status ?? '';
        await expect.poll(status, { timeout: 10_000 }).toBe('offline');
        const offline = await one.ask({ path: '/status?peer=two', key: one.tokens.start });
        expect([offline.status, errorIn(offline)]).toEqual([
          503,
          expect.objectContaining({
            code: 2002,
            name: 'peer_offline',
            message: expect.stringContaining('two is offline'),
            hint: expect.stringMatching(/\S/),
          }),
        ]);
        const unknown = await one.ask({ path: '/status?peer=tow', key: one.tokens.start });
        expect(errorIn(unknown)).toMatchObject({
          code: 2001,
          hint: 'known peers: two',
          details: { peer: 'tow', known: ['two'] },
        });
        await one.composed.quiesce();
        const stopping = await one.ask({
          method: 'POST',
          path: '/execute',
          key: one.tokens.start,
          body: { command: 'true' },
        });
        expect([stopping.status, errorIn(stopping)]).toEqual([
          503,
          expect.objectContaining({ code: 9006, name: 'node_stopping' }),
        ]);
      } finally {
        await one.remove();
        await two.remove();
      }
    },
  );
});
