import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Client } from '../../src/client/client.ts';
import { clientOf, readRun } from '../helpers/links.ts';
import { connectMachines, finished, Machine } from '../helpers/nodes.ts';
import { isAlive, until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

const GONE_MS = 12_000;
/** Says its own pid and that of a grandchild, and runs on. */
const TREE = 'sleep 300 & echo $$ $!; wait';

const isOnline = (client: Client) => async (): Promise<boolean> =>
  (await client.call('peer.list', {})).peers[0]?.status === 'online';

let a: Machine;
let b: Machine;
let struck: Machine;

beforeAll(async () => {
  [a, b, struck] = [await Machine.create('caller'), await Machine.create('runner'), await Machine.create('struck')];
  await connectMachines(a, b);
  await connectMachines(struck, b);
  for (const machine of [a, struck]) await until(isOnline(await clientOf(machine)), 10_000);
}, 60_000);

afterAll(async () => {
  await a?.remove();
  await b?.remove();
  await struck?.remove();
});

const pidsOf = async (child: ChildProcess): Promise<number[]> => {
  if (child.stdout === null) throw new Error('no stdout');
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return line.toString().trim().split(' ').map(Number);
};

const allGone = (pids: readonly number[]) => async (): Promise<boolean> =>
  (await Promise.all(pids.map(isAlive))).every((alive) => !alive);

describe('a remote run', () => {
  it.concurrent(
    verifies('jobs.tree', 'ends, with its whole tree, when its command line is killed with -9'),
    async () => {
      const child = a.spawn(['exec', 'runner', '--shell', TREE]);
      const pids = await pidsOf(child);
      child.kill('SIGKILL');
      await until(allGone(pids), GONE_MS);
    },
  );

  it.concurrent(verifies('jobs.tree', 'ends when the node that asked for it is killed with -9'), async () => {
    const child = struck.spawn(['exec', 'runner', '--shell', TREE]);
    const pids = await pidsOf(child);
    const over = finished(child);
    process.kill((await struck.registration()).pid, 'SIGKILL');
    const took = await until(allGone(pids), GONE_MS);
    expect((await over).code).not.toBe(0);
    console.log(`the asking node was killed: its run ended after ${Math.round(took)} ms`);
  });

  it.concurrent(verifies('cli.exec.ctrl-c', 'hears the first Ctrl-C, and is killed by the second'), async () => {
    const deaf = `trap 'echo heard' INT; echo $$; while :; do sleep 0.1; done`;
    const child = a.spawn(['exec', 'runner', '--shell', deaf]);
    const said: string[] = [];
    child.stdout?.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    const over = finished(child);
    await until(() => said.length > 0, 5000);
    const pid = Number.parseInt(said[0] ?? '', 10);
    child.kill('SIGINT');
    await until(() => said.join('').includes('heard'), 5000);
    expect(await isAlive(pid)).toBe(true);
    child.kill('SIGINT');
    await until(allGone([pid]), 5000);
    expect((await over).code).not.toBe(0);
  });

  it('ends when its own node is stopped by SIGTERM, and its followers hear why', async () => {
    const client = await clientOf(a);
    const followed = readRun(client.stream('job.stream', { command: 'sleep 300', shell: true }, { peer: 'runner' }));
    const child = a.spawn(['exec', 'runner', '--shell', TREE]);
    const pids = await pidsOf(child);
    const local = await clientOf(b);
    const here = readRun(local.stream('job.stream', { command: 'sleep 300', shell: true }));
    await until(async () => (await local.call('system.status', {})).jobs.active === 3, 5000);
    const over = finished(child);
    process.kill((await b.registration()).pid, 'SIGTERM');
    const shutdown = { exitCode: null, endedBy: 'shutdown', killed: true };
    expect([(await followed).exit, (await here).exit]).toMatchObject([shutdown, shutdown]);
    expect(await over).toMatchObject({ code: 5, stderr: expect.stringContaining('because its node stopped') });
    await until(allGone(pids), 5000);
    await until(async () => (await b.run(['status'])).code === 3, 5000);
    await b.start();
  });
});
