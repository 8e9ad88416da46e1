import { lstat, readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { connectMachines, type Finished, Machine } from '../helpers/nodes.ts';
import { verifies } from '../requirements.ts';

/** All that lies below a folder, the folder itself too. */
const everything = async (folder: string): Promise<string[]> => {
  const names = await readdir(folder, { withFileTypes: true });
  const paths = names.map((entry) => join(folder, entry.name));
  const below = await Promise.all(
    paths.map(async (path, at) => (names[at]?.isDirectory() === true ? everything(path) : [path])),
  );
  return [folder, ...below.flat()];
};

/** The ways in which a secret of 64 hex digits, or any text, may lie somewhere. */
const formsOf = (secret: string): Buffer[] => {
  const bytes = /^[0-9a-f]{64}$/.test(secret) ? [Buffer.from(secret, 'hex')] : [];
  const texts = [
    secret,
    secret.toUpperCase(),
    Buffer.from(secret).toString('base64'),
    Buffer.from(secret).toString('hex'),
    encodeURIComponent(secret),
  ];
  const ofBytes = bytes.flatMap((raw) => [
    raw,
    Buffer.from(raw.toString('base64')),
    Buffer.from(raw.toString('base64url')),
  ]);
  return [...texts.map((text) => Buffer.from(text)), ...ofBytes];
};

describe('after a day’s work of two real nodes', () => {
  let a: Machine;
  let b: Machine;
  const said: Finished[] = [];
  const secrets: Record<string, { text: string; mayLieIn: readonly string[] }> = {};
  let ps = '';

  const run = async (machine: Machine, ...args: string[]): Promise<Finished> => {
    const done = await machine.run(args);
    said.push(done);
    return done;
  };

  beforeAll(async () => {
    [a, b] = [await Machine.create('kai'), await Machine.create('maria')];
    await connectMachines(a, b);
    const added = await a.json<{ key: string }>(['key', 'add', 'ci']);
    const first = await a.json<{ key: string }>(['key', 'show', '--reveal']);
    await a.json(['key', 'generate', '--reveal']);
    const second = await a.json<{ key: string }>(['key', 'show', '--reveal']);
    const agent = JSON.parse(await readFile(a.path('agent.json'), 'utf8')) as { secret: string };
    const { token } = await a.registration();
    const pem = await readFile(a.path('tls', 'key.pem'), 'utf8');
    const connected = await fetch(`${(await a.registration()).url}/api/v1/agents/connect`, {
      method: 'POST',
      headers: { authorization: `Bearer ${agent.secret}`, 'content-type': 'application/json' },
      body: '{"label":"claude"}',
    });
    const agentToken = ((await connected.json()) as { token: string }).token;
    Object.assign(secrets, {
      'the key of a program': { text: added.key, mayLieIn: [] },
      'the owner’s key of before': { text: first.key, mayLieIn: [] },
      'the owner’s key': { text: second.key, mayLieIn: ['config.yaml'] },
      'the token of this start': { text: token, mayLieIn: ['node.json'] },
      'the secret of the agents': { text: agent.secret, mayLieIn: ['agent.json'] },
      'the token of an agent': { text: agentToken, mayLieIn: [] },
      'the private key': { text: pem.split('\n')[1] ?? '', mayLieIn: ['tls/key.pem'] },
    });
    const use = async (key: string, path: string, init: RequestInit = {}): Promise<number> =>
      (
        await fetch(`${(await a.registration()).url}/api/v1${path}`, {
          ...init,
          headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        })
      ).status;
    for (const { text } of Object.values(secrets)) {
      await use(text.replaceAll(/[^\x21-\x7e]/g, ''), '/status');
      await use(text.replaceAll(/[^\x21-\x7e]/g, ''), '/execute?peer=maria', {
        method: 'POST',
        body: '{"command":"true"}',
      });
      await use('ab'.repeat(32), '/execute', { method: 'POST', body: '{"command":' });
    }
    const running = a.run([
      'exec',
      'maria',
      '--env',
      'MINE=1',
      '--',
      'sh',
      '-c',
      'env; ps -eo args 2>/dev/null; sleep 0.2',
    ]);
    ps = await readFile(`/proc/${(await a.registration()).pid}/cmdline`, 'utf8').catch(() => '');
    said.push(await running);
    const local = await use(token, '/execute', { method: 'POST', body: JSON.stringify({ command: 'env' }) });
    expect(local).toBe(200);
    for (const args of [
      ['status'],
      ['peers'],
      ['doctor'],
      ['key', 'list'],
      ['logs'],
      ['logs', '--node'],
      ['jobs', 'list', '--all'],
    ])
      await run(a, ...args);
    await run(a, 'key', 'revoke', 'ci');
    await run(a, 'key', 'show');
    await run(b, 'stop');
    await run(a, 'status');
  }, 60_000);

  afterAll(async () => {
    await a?.remove();
    await b?.remove();
  });

  it(verifies('data.modes', 'every folder is 0700 and every file 0600, on both'), async ({ skip }) => {
    skip(process.platform === 'win32', 'Windows has no modes');
    for (const machine of [a, b]) {
      const wrong: string[] = [];
      for (const path of await everything(machine.path())) {
        const found = await lstat(path);
        const mode = (found.mode & 0o777).toString(8);
        if (mode !== (found.isDirectory() ? '700' : '600')) wrong.push(`${relative(machine.path(), path)} ${mode}`);
      }
      expect(wrong).toEqual([]);
    }
  });

  it(
    verifies(
      'kernel.redaction',
      'each secret lies in its own file and nowhere else: no log, no audit, no database, no output',
    ),
    async () => {
      for (const machine of [a, b]) {
        const files = (await everything(machine.home)).filter((path) => path !== machine.home);
        for (const path of files) {
          if ((await lstat(path)).isDirectory()) continue;
          const bytes = await readFile(path);
          const name = relative(machine.path(), path).replaceAll('\\', '/');
          for (const [what, { text, mayLieIn }] of Object.entries(secrets)) {
            const lies = formsOf(text).some((form) => bytes.includes(form));
            expect([machine === a, name, what, lies]).toEqual([
              machine === a,
              name,
              what,
              machine === a && mayLieIn.includes(name),
            ]);
          }
        }
      }
    },
  );

  it('no secret stands in what a command printed, in what a run saw, or in the arguments of a process', () => {
    expect(said.length).toBeGreaterThan(10);
    const all = Buffer.from(said.map(({ stdout, stderr }) => stdout + stderr).join('\n') + ps);
    expect(all.toString()).toContain('MINE=1');
    for (const [what, { text }] of Object.entries(secrets)) {
      for (const form of formsOf(text)) expect([what, all.includes(form)]).toEqual([what, false]);
    }
    expect(all.toString()).not.toMatch(/^LOOPSY_/m);
  });
});
