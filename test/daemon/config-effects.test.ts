import { readdir, readFile, writeFile } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { newToken } from '../../src/trust/tokens.ts';
import { type Answer, shownBy } from '../helpers/ask.ts';
import { type InProcessNode, startNode } from '../helpers/in-process-node.ts';
import { until } from '../helpers/process-facts.ts';
import { makeMachine } from '../helpers/trust-desk.ts';
import { verifies } from '../requirements.ts';

let node: InProcessNode;

beforeAll(async () => {
  node = await startNode({ name: 'kai' });
});

afterAll(() => node?.remove());

const set = (changes: Record<string, unknown>): Promise<unknown> => node.owner('PATCH', '/config', { changes });

const run = (command: string, more: object = {}): Promise<Answer> =>
  node.ask({ method: 'POST', path: '/execute', key: node.tokens.start, body: { command, ...more } });

const outcomes = async (...commands: [string, object?][]): Promise<string[]> => {
  const answers = [];
  for (const [command, more] of commands) answers.push((await run(command, more)).outcome);
  return answers;
};

describe('a key of the config acts at once', () => {
  it(verifies('config.auth.apiKey', 'auth.apiKey: a new one in the file replaces the old one'), async () => {
    const next = newToken();
    const text = await readFile(node.paths.config, 'utf8');
    await writeFile(node.paths.config, text.replace(node.tokens.owner, next));
    const admits = async (key: string): Promise<string> => (await node.ask({ path: '/config', key })).outcome;
    await until(async () => (await admits(next)) === 'allowed', 5000);
    expect(await admits(node.tokens.owner)).toBe('invalid_key');
    expect((await node.ask({ path: '/config', key: node.tokens.start })).text).not.toContain(next);
  });

  it(verifies('config.auth.allowedKeys', 'auth.allowedKeys: a named key of level collaborate'), async () => {
    const key = newToken();
    const asks = async (path: string): Promise<string> => (await node.ask({ path, key })).outcome;
    expect(await asks('/status')).toBe('invalid_key');
    await set({ 'auth.allowedKeys.ci': key });
    expect([await asks('/status'), await asks('/execute/jobs'), await asks('/config')]).toEqual([
      'allowed',
      'scope_missing',
      'scope_missing',
    ]);
    await set({ 'auth.allowedKeys.ci': null });
    expect(await asks('/status')).toBe('invalid_key');
  });

  it(verifies('config.tls.pinnedCerts', 'tls.pinnedCerts: a machine that is trusted with level full'), async () => {
    const machine = await makeMachine();
    const asks = async (): Promise<string> =>
      (await node.ask({ path: '/execute/jobs', tls: shownBy(machine) })).outcome;
    expect(await asks()).toBe('invalid_key');
    await set({ 'tls.pinnedCerts.desk': machine.fingerprint });
    expect(await asks()).toBe('allowed');
    await set({ 'tls.pinnedCerts.desk': null });
    expect(await asks()).not.toBe('allowed');
  });

  it(verifies('config.execution.denylist', 'execution.denylist: on every path, without false alarms'), async () => {
    const sh = { shell: true };
    expect(
      await outcomes(
        ['rm', { args: ['x'] }],
        ['sh', { args: ['-c', 'rm x'] }],
        ['env', { args: ['rm', 'x'] }],
        ['true; rm x', sh],
      ),
    ).toEqual(Array.from({ length: 4 }, () => 'command_denied'));
    expect(
      await outcomes(['echo', { args: ['format'] }], ['echo rm', sh], ['echo', { args: ['rm', '-rf', '/'] }]),
    ).toEqual(['allowed', 'allowed', 'allowed']);
    const streamed = {
      method: 'POST',
      path: '/execute/stream',
      key: node.tokens.start,
      body: { command: 'rm', args: ['x'] },
    };
    expect((await node.ask(streamed)).outcome).toBe('command_denied');
    await set({ 'execution.denylist': ['echo'] });
    expect(await outcomes(['echo', { args: ['x'] }], ['rm', { args: ['-f', 'no-such-file'] }])).toEqual([
      'command_denied',
      'allowed',
    ]);
    await set({ 'execution.denylist': null });
  });

  it(verifies('config.execution.allowlist', 'execution.allowlist: nothing else runs'), async () => {
    await set({ 'execution.allowlist': ['true', 'echo'] });
    const sh = { shell: true };
    expect(await outcomes(['true'], ['echo', { args: ['x'] }], ['echo a; true', sh])).toEqual([
      'allowed',
      'allowed',
      'allowed',
    ]);
    expect(await outcomes(['ls'], ['sh', { args: ['-c', 'true'] }], ['echo $(ls)', sh])).toEqual(
      Array.from({ length: 3 }, () => 'command_denied'),
    );
    await set({ 'execution.allowlist': null });
    expect((await run('ls')).outcome).toBe('allowed');
  });

  it(
    verifies(
      ['config.execution.maxConcurrent', 'config.execution.maxQueued', 'error.3003'],
      'maxConcurrent and maxQueued',
    ),
    async () => {
      await set({ 'execution.maxConcurrent': 1, 'execution.maxQueued': 1 });
      const first = run('sleep', { args: ['5'] });
      const counts = async (): Promise<unknown> => (await node.owner<{ jobs: unknown }>('GET', '/status')).jobs;
      await until(async () => JSON.stringify(await counts()).includes('"active":1'), 5000);
      const second = run('true');
      await until(async () => JSON.stringify(await counts()).includes('"queued":1'), 5000);
      expect(await run('true')).toMatchObject({ status: 429, outcome: 'too_many_jobs' });
      await set({ 'execution.maxConcurrent': null, 'execution.maxQueued': null });
      expect((await second).outcome).toBe('allowed');
      const { jobs } = await node.owner<{ jobs: { jobId: string }[] }>('GET', '/execute/jobs');
      for (const { jobId } of jobs) await node.owner('DELETE', `/execute/${jobId}`);
      await first;
    },
  );

  it(verifies(['config.execution.defaultTimeout', 'config.execution.env'], 'defaultTimeout and env'), async () => {
    await set({ 'execution.defaultTimeout': 200, 'execution.env.MINE': 'of the config' });
    expect(JSON.parse((await run('sleep', { args: ['20'] })).text)).toMatchObject({ endedBy: 'timeout', killed: true });
    expect(JSON.parse((await run('sleep', { args: ['0.4'], timeout: 0 })).text)).toMatchObject({ endedBy: 'exit' });
    expect(JSON.parse((await run('printenv', { args: ['MINE'] })).text).stdout).toBe('of the config\n');
    expect((await node.ask({ path: '/config', key: node.tokens.start })).text).not.toContain('of the config');
    await set({ 'execution.defaultTimeout': null, 'execution.env.MINE': null });
  });

  it(
    verifies(
      ['config.rateLimits', 'edge.rate', 'error.9002'],
      'rateLimits.execute: a run counts once, reading it never',
    ),
    async () => {
      const { key } = await node.owner<{ key: string }>('POST', '/keys', { name: 'busy', grant: { level: 'full' } });
      await set({ 'rateLimits.execute': 2 });
      const asks = (path: string, method = 'GET', body?: object): Promise<Answer> =>
        node.ask({ path, key, method, ...(body === undefined ? {} : { body }) });
      const { jobId } = JSON.parse((await asks('/execute', 'POST', { command: 'true' })).text);
      for (let at = 0; at < 5; at += 1) expect((await asks(`/execute/${jobId}/output`)).status).toBe(200);
      expect((await asks('/execute', 'POST', { command: 'true' })).status).toBe(200);
      const over = await asks('/execute', 'POST', { command: 'true' });
      expect(over).toMatchObject({ status: 429, outcome: 'rate_limited' });
      expect(Number(over.headers['retry-after'])).toBeGreaterThan(0);
      expect((await asks('/status')).status).toBe(200);
      for (let at = 0; at < 4; at += 1) expect((await run('true')).status).toBe(200);
      await set({ 'rateLimits.execute': 600 });
      await until(async () => (await asks('/execute', 'POST', { command: 'true' })).status === 200, 5000);
    },
  );

  it(verifies('config.server.hostname', 'server.hostname: in identity and in results'), async () => {
    await set({ 'server.hostname': 'Kai’s other box' });
    expect(await node.owner('GET', '/identity')).toMatchObject({ hostname: 'Kai’s other box' });
    expect(JSON.parse((await run('true')).text).host).toBe('Kai’s other box');
  });

  it(
    verifies('config.live', 'discovery.manualPeers: a trusted node has one row, whichever of its addresses is listed'),
    async () => {
      const other = await startNode({ name: 'maria' });
      const { fingerprint, port } = await other.owner<{ fingerprint: string; port: number }>('GET', '/status');
      const rows = async (): Promise<Record<string, unknown>[]> =>
        (await node.owner<{ peers: Record<string, unknown>[] }>('GET', '/peers')).peers;
      await set({ 'discovery.manualPeers': [{ address: '127.0.0.1', port }] });
      expect(await rows()).toEqual([
        expect.objectContaining({ address: '127.0.0.1', port, trusted: false, manuallyAdded: true, status: 'unknown' }),
      ]);
      await node.owner('POST', '/peers/trust', { address: '127.0.0.1', port, fingerprint });
      expect(await rows()).toEqual([expect.objectContaining({ trusted: true, nodeId: other.identity.nodeId })]);
      await set({ 'discovery.manualPeers': [{ address: 'localhost', port }] });
      await until(async () => (await rows()).length === 1, 5000);
      expect(await rows()).toEqual([expect.objectContaining({ trusted: true, manuallyAdded: true })]);
      await other.remove();
    },
  );

  it(verifies('config.audit', 'audit.maxBytes and audit.keep: the log rotates'), async () => {
    await set({ 'audit.maxBytes': 4096, 'audit.keep': 2 });
    for (let round = 0; round < 4; round += 1) {
      await Promise.all(Array.from({ length: 25 }, () => node.owner('GET', '/identity')));
      await node.owner('GET', '/key');
    }
    const logs = (await readdir(node.paths.logsDir)).filter((name) => name.startsWith('audit.jsonl'));
    expect(logs.toSorted()).toEqual(['audit.jsonl', 'audit.jsonl.1', 'audit.jsonl.2']);
  });

  it('is refused as a whole where one of the keys is unknown or wrong', async () => {
    const before = (await node.owner<{ config: unknown }>('GET', '/config')).config;
    const wrong = await node.ask({
      method: 'PATCH',
      path: '/config',
      key: node.tokens.start,
      body: { changes: { 'jobs.keepDays': 3, 'execution.maxConcurent': 2 } },
    });
    expect(wrong).toMatchObject({ status: 400, outcome: 'invalid_request' });
    expect(wrong.text).toContain('execution.maxConcurrent');
    expect((await node.owner<{ config: unknown }>('GET', '/config')).config).toEqual(before);
  });
});
