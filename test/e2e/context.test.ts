import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { eventsOf, jsonOf } from '../helpers/e2e-shapes.ts';
import { connectMachines, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

const EXTRA = 'rateLimits:\n  context: 10000\n';

let kai: Machine;
let maria: Machine;

beforeAll(async () => {
  kai = await Machine.create('kai', { extra: EXTRA });
  maria = await Machine.create('maria', { extra: EXTRA });
  await connectMachines(kai, maria);
}, 60_000);

afterAll(async () => {
  for (const machine of [kai, maria]) await machine?.remove();
});

describe('two machines', () => {
  it(
    verifies('context.two-nodes', 'read what the other sets, with who wrote it; a lease taken here is refused there'),
    async () => {
      const { nodeId } = await jsonOf(kai, 'system.status', ['status']);
      const set = await jsonOf(kai, 'context.set', ['context', 'set', 'plan', 'ship it', '--peer', 'maria']);
      expect(set).toMatchObject({ key: 'plan', fromNodeId: nodeId });
      expect((await maria.run(['context', 'get', 'plan'])).stdout).toBe('ship it');
      expect((await kai.run(['context', 'get', 'plan'])).code).toBe(1);
      expect((await maria.run(['context', 'list'])).stdout).toMatch(/plan +ship it +7 B .* kai$/m);

      const lease = await jsonOf(maria, 'lease.acquire', ['context', 'lease', 'acquire', 'db', '--ttl', '1m']);
      const refused = await kai.run(['context', 'lease', 'acquire', 'db', '--peer', 'maria']);
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('the lease "db" is held by the owner of maria, until'),
      });
      await maria.run(['context', 'lease', 'release', 'db', '--fence', String(lease.fence)]);
      const taken = await jsonOf(kai, 'lease.acquire', ['context', 'lease', 'acquire', 'db', '--peer', 'maria']);
      expect(taken.fence).toBeGreaterThan(lease.fence);
      const held = await maria.run(['context', 'lease', 'acquire', 'db']);
      expect(held.stderr).toContain('held by kai, until');
    },
  );

  it(
    verifies('context.lease-twins', 'have two scripts with one lease: the one that lost it does not touch the other’s'),
    async () => {
      const lease = (...words: string[]) => maria.run(['context', 'lease', ...words]);
      const first = await jsonOf(maria, 'lease.acquire', ['context', 'lease', 'acquire', 'twin', '--ttl', '1']);
      const second = await jsonOf(maria, 'lease.acquire', ['context', 'lease', 'acquire', 'twin', '--wait', '20s']);
      for (const verb of ['renew', 'release']) {
        const late = await lease(verb, 'twin', '--fence', String(first.fence));
        expect(late).toMatchObject({ code: 1, stderr: expect.stringContaining(`fence ${first.fence} has ended`) });
      }
      const { leases } = await jsonOf(maria, 'lease.list', ['context', 'lease', 'list']);
      expect(leases.filter(({ name }) => name === 'twin')).toMatchObject([
        { fence: second.fence, expiresAt: second.expiresAt },
      ]);
      expect((await lease('renew', 'twin', '--fence', String(second.fence))).stdout).toContain('You still hold twin');
      expect((await lease('release', 'twin')).stdout).toBe('Released twin.\n');
    },
  );

  it(
    verifies('cli.context.watch-restart', 'watch themselves, over a sudden end of their node and over a restart'),
    { timeout: 60_000 },
    async () => {
      const watcher = kai.spawn(['context', 'watch', 'own/', '--json']);
      let text = '';
      watcher.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      const told = () => eventsOf('context.watch', text.slice(0, text.lastIndexOf('\n') + 1));
      const sets = () => told().flatMap((event) => (event.type === 'set' ? [event.entry.value] : []));
      await until(() => Promise.resolve(told().some(({ type }) => type === 'ready')), 10_000);
      await kai.run(['context', 'set', 'own/1', 'one']);
      await until(() => Promise.resolve(sets().length === 1), 10_000);
      process.kill((await kai.registration()).pid, 'SIGKILL');
      await kai.start();
      await kai.run(['context', 'set', 'own/1', 'two']);
      await until(() => Promise.resolve(sets().includes('two')), 10_000);
      await kai.run(['restart']);
      await kai.run(['context', 'set', 'own/1', 'three']);
      await until(() => Promise.resolve(sets().includes('three')), 10_000);
      watcher.kill();
      // A start keeps no changes from before it: how things are is shown then, and that it is so is said.
      expect([...new Set(sets())]).toEqual(['one', 'two', 'three']);
    },
  );

  it(
    verifies('context.watch-resume', 'watch each other, over a restart of the node that is watched'),
    { timeout: 40_000 },
    async () => {
      const watcher = kai.spawn(['context', 'watch', 'w/', '--peer', 'maria', '--json']);
      let text = '';
      watcher.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      const told = () => eventsOf('context.watch', text.slice(0, text.lastIndexOf('\n') + 1));
      await until(() => Promise.resolve(told().some(({ type }) => type === 'ready')), 10_000);
      await maria.run(['context', 'set', 'w/1', 'one']);
      await until(() => Promise.resolve(text.includes('"one"')), 10_000);
      await maria.run(['stop']);
      await maria.start();
      await maria.run(['context', 'set', 'w/2', 'two']);
      await until(() => Promise.resolve(text.includes('"two"')), 20_000);
      watcher.kill('SIGINT');
      const state = new Map<string, string>();
      for (const event of told()) {
        if (event.type === 'snapshot') state.clear();
        if (event.type === 'set') state.set(event.entry.key, event.entry.value);
      }
      expect([...state]).toEqual([
        ['w/1', 'one'],
        ['w/2', 'two'],
      ]);
    },
  );

  it(
    verifies('context.watch-large', 'watch values of every size, as they are and as they come'),
    { timeout: 60_000 },
    async () => {
      // The longest event: each of these bytes is six in JSON.
      const large = '\u0001'.repeat(1_048_576);
      await maria.run(['context', 'set', 'l/there', '-'], large);
      const watcher = kai.spawn(['context', 'watch', 'l/', '--peer', 'maria', '--json']);
      const chunks: string[] = [];
      watcher.stdout?.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk));
      const lines = () => chunks.join('').split('\n').slice(0, -1);
      await until(() => Promise.resolve(lines().some((line) => line.includes('"ready"'))), 20_000);
      await maria.run(['context', 'set', 'l/live', '-'], large);
      await maria.run(['context', 'set', 'l/z', 'small']);
      await until(() => Promise.resolve(lines().some((line) => line.includes('"small"'))), 20_000);
      watcher.kill();
      const told = eventsOf('context.watch', `${lines().join('\n')}\n`);
      const sets = told.flatMap((event) => (event.type === 'set' ? [event.entry] : []));
      expect(sets.map(({ key, value }) => [key, value === large])).toEqual([
        ['l/there', true],
        ['l/live', true],
        ['l/z', false],
      ]);
    },
  );

  it(
    verifies('context.broadcast', 'are told of by a broadcast, and the one that is away is named'),
    { timeout: 40_000 },
    async () => {
      const told = await jsonOf(kai, 'context.broadcast', ['context', 'broadcast', 'freeze', 'now', '--ttl', '60']);
      expect(told.results).toEqual([{ peer: 'maria', success: true, revision: expect.any(Number) }]);
      expect((await maria.run(['context', 'get', 'freeze'])).stdout).toBe('now');
      await maria.run(['stop']);
      try {
        const missed = await kai.run(['context', 'broadcast', 'freeze', 'later', '--json']);
        expect(missed.code).toBe(1);
        expect(JSON.parse(missed.stdout)).toMatchObject({ results: [{ peer: 'maria', success: false }] });
      } finally {
        await maria.start();
      }
    },
  );
});
