import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { expect, it, onTestFinished } from 'vitest';

import { bundleFixture } from '../helpers/bundle-fixture.ts';
import { clientOf } from '../helpers/links.ts';
import { connectMachines, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

const ROOT = resolve(import.meta.dirname, '../..');

it(
  verifies(
    ['store.two-processes', 'trust.revocation'],
    'a grant that another process writes to trust.db is in force within a second, streams included',
  ),
  { timeout: 30_000 },
  async () => {
    // It lies in the tree, so that it finds the engine.
    const folder = await mkdtemp(join(ROOT, '.cache/program-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const program = await bundleFixture(join(ROOT, 'test/fixtures/trust-program.ts'), folder);
    const [a, b] = [await Machine.create('guest'), await Machine.create('host')];
    onTestFinished(async () => {
      await a.remove();
      await b.remove();
    });
    await connectMachines(a, b);
    const client = await clientOf(a);
    await until(async () => (await client.call('peer.list', {})).peers[0]?.status === 'online', 5000);
    const setLevel = async (level: string): Promise<void> => {
      const args = [program, b.path('trust.db'), b.path('tls'), 'guest', level];
      expect((await promisify(execFile)(process.execPath, args)).stdout).toBe('done\n');
    };
    const running = client.stream('job.stream', { command: 'sleep', args: ['60'] }, { peer: 'host' });
    await running.next();
    const ended = running.next().then(
      () => performance.now(),
      () => performance.now(),
    );
    await setLevel('observe');
    const changedAtMs = performance.now();
    const refused = async (): Promise<string> =>
      client.call('job.execute', { command: 'true' }, { peer: 'host' }).then(
        () => 'allowed',
        (error: unknown) => (error instanceof Error && 'error' in error ? String(error.error) : String(error)),
      );
    await until(async () => (await refused()) === 'scope_missing', 1000);
    expect((await ended) - changedAtMs).toBeLessThan(1500);
    await setLevel('full');
    await until(async () => (await refused()) === 'allowed', 1000);
  },
);
