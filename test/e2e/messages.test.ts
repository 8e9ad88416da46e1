import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { eventsOf, jsonOf } from '../helpers/e2e-shapes.ts';
import { connectMachines, finished, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

let kai: Machine;
let maria: Machine;

beforeAll(async () => {
  kai = await Machine.create('kai');
  maria = await Machine.create('maria');
  await connectMachines(kai, maria);
}, 60_000);

afterAll(async () => {
  for (const machine of [kai, maria]) await machine?.remove();
});

const stateOf = async (machine: Machine, id: string): Promise<string> =>
  (await jsonOf(machine, 'message.show', ['message', 'show', id])).state;

describe('two machines', () => {
  it(
    verifies('message.two-nodes', 'get what was sent while they were stopped, and the sender sees every state'),
    { timeout: 40_000 },
    async () => {
      await maria.run(['stop']);
      await until(async () => (await kai.run(['peers'])).stdout.includes('offline'), 20_000);
      const queued = await kai.run(['message', 'send', 'maria', 'while you were away\nsecond line \u001b[31m']);
      expect(queued.stdout).toMatch(/^Queued for maria: it goes when maria is there \(\w{26}\)\.$/m);
      const id = /\((\w{26})\)/.exec(queued.stdout)?.[1] ?? '';
      expect((await kai.run(['message', 'outbox', '--waiting'])).stdout).toContain(id);
      await maria.start();
      const waiting = maria.spawn(['message', 'wait', '--timeout', '20s', '--from', 'kai']);
      const { stdout } = await finished(waiting);
      expect(stdout).toMatch(/^kai → maria .*\n {2}while you were away\n {2}second line \\u\{1b\}\[31m$/m);
      await until(async () => (await stateOf(kai, id)) === 'read', 10_000);
      expect((await maria.run(['message', 'reply', id, 'I am back'])).stdout).toMatch(/^Delivered to kai/);
      expect((await kai.run(['message', 'inbox'])).stdout).toContain('  I am back');
      expect((await kai.run(['message', 'inbox'])).stdout).toBe('Nothing waits to be read.\n');
      const { history } = await jsonOf(kai, 'message.show', ['message', 'show', id]);
      expect(history.map(({ state }) => state)).toEqual(['queued', 'delivered', 'read', 'replied']);
    },
  );

  it(
    verifies('message.taken-once', 'give each message to one of the scripts that wait for it'),
    { timeout: 40_000 },
    async () => {
      const scripts = [0, 1, 2].map(() => maria.spawn(['message', 'wait', '--timeout', '20s', '--json']));
      const ended = scripts.map((script) => finished(script));
      await until(async () => (await maria.run(['status'])).code === 0, 5000);
      const ids: string[] = [];
      for (const body of ['one', 'two', 'three'])
        ids.push((await jsonOf(kai, 'message.send', ['message', 'send', 'maria', body])).id);
      const got = (await Promise.all(ended)).map(({ stdout }) => eventsOf('message.show', stdout)[0]?.id);
      expect(new Set(got)).toEqual(new Set(ids));
      expect((await maria.run(['message', 'wait', '--timeout', '50ms'])).code).toBe(6);
    },
  );

  it('run a command for what comes, and acknowledge what it did', { timeout: 40_000 }, async () => {
    const file = join(maria.home, 'said.txt');
    const hook = join(maria.home, 'hook.mjs');
    writeFileSync(
      hook,
      `import { appendFileSync, readFileSync } from 'node:fs';
       const { body } = JSON.parse(readFileSync(0, 'utf8'));
       appendFileSync(process.argv[2], body + '\\n');
       process.exit(body === 'bad' ? 3 : 0);`,
    );
    const command = [process.execPath, hook, file].map((part) => `"${part}"`).join(' ');
    const watch = maria.spawn(['message', 'watch', '--as', 'notify', '--exec', command]);
    let errors = '';
    watch.stderr?.setEncoding('utf8').on('data', (chunk: string) => (errors += chunk));
    const { id } = await jsonOf(kai, 'message.send', ['message', 'send', 'maria#notify', 'good "$(rm x)"']);
    const bad = await jsonOf(kai, 'message.send', ['message', 'send', 'maria#notify', 'bad']);
    await until(async () => (await stateOf(kai, id)) === 'acked', 20_000);
    await until(() => Promise.resolve(errors.includes(`ended with 3 for ${bad.id}`)), 20_000);
    await until(async () => (await stateOf(kai, bad.id)) === 'read', 10_000);
    expect(readFileSync(file, 'utf8')).toBe('good "$(rm x)"\nbad\n');
    watch.kill('SIGINT');
  });

  it('refuse what nobody there can get, and say why', { timeout: 40_000 }, async () => {
    const unknown = await kai.run(['message', 'send', 'mario', 'hello']);
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('known peers: maria') });
    await maria.run(['peers', 'grant', 'kai', 'observe']);
    const refused = await kai.run(['message', 'send', 'maria', 'hello']);
    expect(refused.stdout).toMatch(/^Not delivered to maria: maria does not take it: .*no scope "messages"/);
    expect((await kai.run(['message', 'outbox', '--dead'])).stdout).toContain('no scope "messages"');
    await maria.run(['peers', 'grant', 'kai', 'full']);
    await maria.run(['peers', 'remove', 'kai']);
    const gone = await kai.run(['message', 'send', 'maria', 'hello?']);
    expect(gone.stdout).toMatch(/^Not delivered to maria: .*does not trust this machine/);
  });
});
