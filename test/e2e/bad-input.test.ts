import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:https';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { connectMachines, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

let a: Machine;
let b: Machine;

beforeAll(async () => {
  const extra = 'rateLimits:\n  execute: 3\nexecution:\n  maxConcurrent: 1\n  maxQueued: 1\n';
  [a, b] = [await Machine.create('asker'), await Machine.create('asked', { extra })];
}, 60_000);

afterAll(async () => {
  await a?.remove();
  await b?.remove();
});

const auditOf = async (machine: Machine): Promise<string> => {
  const file = machine.path('logs', 'audit.jsonl');
  return existsSync(file) ? readFile(file, 'utf8') : '';
};

/** Every line of the audit but the node's own CLI's. */
const strangersIn = (audit: string): string[] =>
  audit
    .split('\n')
    .filter((line) => line !== '' && !line.includes('"caller":"owner"') && !line.includes('system.health'));

describe('a wrong fingerprint', () => {
  it(
    verifies(['fault.fingerprint', 'cli.connect-script'], 'is shown beside the right one, and nothing is sent'),
    async () => {
      const { fingerprint, port } = await b.json<{ fingerprint: string; port: number }>(['status']);
      const wrong = fingerprint.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
      const refused = await a.run(['connect', `127.0.0.1:${port}`, '--fingerprint', wrong, '--yes']);
      expect([refused.code, refused.stderr.split('\n')]).toEqual([
        5,
        expect.arrayContaining([`  expected  ${wrong}`, `  shown     ${fingerprint}`]),
      ]);
      const { url, token } = await a.registration();
      const answer = await fetch(`${url}/api/v1/peers/trust`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ address: '127.0.0.1', port, fingerprint: wrong }),
      });
      expect([answer.status, await answer.text()]).toEqual([502, expect.stringContaining(fingerprint)]);
      expect((await a.json<{ peers: unknown[] }>(['peers'])).peers).toEqual([]);
      // The audit is on disk within a second.
      await new Promise((resolve) => setTimeout(resolve, 1100));
      expect(strangersIn(await auditOf(b))).toEqual([]);
    },
  );
});

describe('a peer', () => {
  beforeAll(() => connectMachines(a, b), 20_000);

  it(verifies(['fault.unknown-peer', 'error.2001'], 'that is not known is answered with the known ones'), async () => {
    const unknown = await a.run(['exec', 'nobody', '--', 'true']);
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain('asked');
    const answer = await a.fetch('GET', '/status?peer=nobody');
    expect([answer.status, await answer.json()]).toEqual([
      404,
      {
        error: expect.objectContaining({
          code: 2001,
          name: 'peer_not_found',
          message: expect.stringContaining('nobody'),
        }),
      },
    ]);
  });

  it(
    verifies('fault.exec', 'refuses not found, cwd missing, denied and over the limits with numbers of their own'),
    async () => {
      const codeOf = async (body: Record<string, unknown>): Promise<[number, number]> => {
        const answer = await b.fetch('POST', '/execute', body);
        const { error } = (await answer.json()) as { error: { code: number } };
        return [answer.status, error.code];
      };
      expect(await codeOf({ command: 'no-such-program' })).toEqual([422, 3004]);
      expect(await codeOf({ command: 'true', cwd: '/no/such/folder' })).toEqual([422, 3004]);
      expect(await codeOf({ command: 'rm', args: ['-rf', 'x'] })).toEqual([403, 3001]);
      expect(await codeOf({ command: 'env', args: ['rm', 'x'] })).toEqual([403, 3001]);
      expect(await codeOf({ command: '' })).toEqual([400, 9003]);
      // One runs, one waits, the third is too many.
      const held = [1, 2].map(async (n) => {
        await until(async () => {
          const { jobs } = await b.json<{ jobs: { active: number; queued: number } }>(['status']);
          return jobs.active + jobs.queued >= n - 1;
        }, 3000);
        return b.fetch('POST', '/execute', { command: 'sleep', args: ['30'] });
      });
      const ends = Promise.allSettled(held);
      await until(async () => (await b.json<{ jobs: { queued: number } }>(['status'])).jobs.queued === 1, 5000);
      expect(await codeOf({ command: 'true' })).toEqual([429, 3003]);
      const { jobs } = await b.json<{ jobs: { jobId: string }[] }>(['jobs', 'list']);
      for (const { jobId } of jobs) await b.run(['jobs', 'kill', jobId]);
      await ends;
    },
  );

  it(
    verifies(
      ['error.9002', 'config.rateLimits', 'rest.named-key-tls'],
      'tells a program with a key over TLS when to come again',
    ),
    async () => {
      const { key } = await b.json<{ key: string }>(['key', 'add', 'ci', '--grant', 'full']);
      const { port, nodeId } = await b.registration();
      const ca = await readFile(b.path('tls', 'cert.pem'));
      const ask = (): Promise<[number, number, string]> =>
        new Promise((done, failed) => {
          const sent = request(
            {
              host: '127.0.0.1',
              port,
              servername: `${nodeId}.loopsy.internal`,
              ca,
              method: 'POST',
              path: '/api/v1/execute',
              headers: {
                host: `${nodeId}.loopsy.internal:${port}`,
                authorization: `Bearer ${key}`,
                'content-type': 'application/json',
              },
            },
            (answer) => {
              let text = '';
              answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
              answer.once('end', () => done([answer.statusCode ?? 0, Number(answer.headers['retry-after']), text]));
            },
          );
          sent.once('error', failed);
          sent.end(JSON.stringify({ command: 'true' }));
        });
      for (let n = 0; n < 3; n += 1) expect((await ask())[0]).toBe(200);
      const [status, retryAfter, text] = await ask();
      expect([status, JSON.parse(text)]).toMatchObject([429, { error: { code: 9002, name: 'rate_limited' } }]);
      expect(retryAfter).toBeGreaterThan(0);
      expect(retryAfter).toBeLessThanOrEqual(20);
    },
  );
});

describe('a config', () => {
  const cases = [
    ['that is broken', 'server:\n  port: [1\n', /config\.yaml:\d+/],
    ['with an unknown key', 'version: 2\nexecution:\n  maxConcurent: 3\n', /maxConcurrent.*config\.yaml:3/s],
    ['with a wrong value', 'version: 2\nserver:\n  port: many\n', /server\.port.*config\.yaml:3/s],
    ['of the predecessor', 'server:\n  port: 19532\n', /config\.yaml.*`loopsy init --import`/s],
  ] as const;

  it.each(cases)(
    verifies(['fault.config', 'config.strict', 'config.v1'], '%s fails the start with file and line, exit 1'),
    async (_, text, says) => {
      const machine = await Machine.create('wrong', { start: false });
      try {
        await writeFile(machine.path('config.yaml'), text);
        const refused = await machine.run(['start']);
        expect([refused.code, refused.stdout]).toEqual([1, '']);
        expect(refused.stderr).toMatch(says);
        expect(existsSync(machine.path('node.json'))).toBe(false);
        const init = await machine.run(['init', '--no-mcp']);
        expect([init.code, init.stdout]).toEqual([1, '']);
        expect(init.stderr).toMatch(says);
      } finally {
        await machine.remove();
      }
    },
  );
});

it(verifies('fault.root', 'root is told so at init and by doctor, and not refused'), async ({ skip }) => {
  skip(process.getuid?.() !== 0, 'needs root');
  const machine = await Machine.create('rooted', { start: false });
  try {
    const init = await machine.run(['init', '--no-mcp']);
    expect([init.code, init.stdout + init.stderr]).toEqual([0, expect.stringContaining('this is root')]);
    await machine.start();
    expect((await machine.run(['doctor'])).stdout).toContain('the node runs as root');
  } finally {
    await machine.remove();
  }
});
