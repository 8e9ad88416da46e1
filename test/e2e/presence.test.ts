import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Client } from '../../src/client/client.ts';
import type { Peer } from '../../src/protocol/peers.ts';
import { clientOf } from '../helpers/links.ts';
import { joinNetworks } from '../helpers/networks.ts';
import { connectMachines, freePort, Machine } from '../helpers/nodes.ts';
import { childrenOf, faultsOfChildren, NO_PROC, until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

const OFFLINE_MS = 10_000;
const ONLINE_MS = 3000;

const rowOf = async (client: Client): Promise<Peer | undefined> => (await client.call('peer.list', {})).peers[0];
const is = (client: Client, status: Peer['status']) => async (): Promise<boolean> =>
  (await rowOf(client))?.status === status;

describe('the presence of a peer', () => {
  let a: Machine;
  let b: Machine;
  let asOwner: Client;

  beforeAll(async () => {
    [a, b] = [await Machine.create('watcher'), await Machine.create('watched')];
    await connectMachines(a, b);
    asOwner = await clientOf(a);
    await until(is(asOwner, 'online'), 5000);
    await until(is(await clientOf(b), 'online'), 5000);
  }, 60_000);

  afterAll(async () => {
    await a?.remove();
    await b?.remove();
  });

  it.concurrent(
    verifies(
      'link.presence',
      'is offline within 10 s of a silent loss, online within 3 s of its return, without a process',
    ),
    { timeout: 30_000 },
    async ({ onTestFinished }) => {
      const { pid } = await a.registration();
      const lost = (await b.registration()).pid;
      // The node asks its login shell once, half a second after its start.
      await new Promise((resolve) => setTimeout(resolve, 500));
      const facts = async (): Promise<unknown> =>
        NO_PROC === undefined ? [await childrenOf(pid), await faultsOfChildren(pid)] : [];
      const before = await facts();
      process.kill(lost, 'SIGSTOP');
      onTestFinished(() => void process.kill(lost, 'SIGCONT'));
      const offline = await until(is(asOwner, 'offline'), OFFLINE_MS);
      await new Promise((resolve) => setTimeout(resolve, 500));
      process.kill(lost, 'SIGCONT');
      const online = await until(is(asOwner, 'online'), ONLINE_MS);
      expect(await facts()).toEqual(before);
      console.log(
        `a peer that stopped: offline after ${Math.round(offline)} ms, online after ${Math.round(online)} ms`,
      );
    },
  );

  it.concurrent(
    verifies(
      'link.presence',
      'follows a cable between two networks: offline within 10 s, online within 3 s of its return, streams go on',
    ),
    { timeout: 60_000 },
    async ({ skip, onTestFinished }) => {
      const networks = await joinNetworks();
      if (typeof networks === 'string') return skip(networks);
      onTestFinished(() => networks.remove());
      const [left, right] = await Promise.all(
        ['left', 'right'].map((name, at) =>
          Machine.create(name, { host: '0.0.0.0', within: networks.within[at] ?? [] }),
        ),
      );
      if (left === undefined || right === undefined) throw new Error('no machines');
      onTestFinished(async () => {
        await networks.cable('up');
        await left.remove();
        await right.remove();
      });
      await connectMachines(left, right, networks.addresses);
      const status = async (): Promise<string | undefined> =>
        (await left.json<{ peers: { status: string }[] }>(['peers'])).peers[0]?.status;
      await until(async () => (await status()) === 'online', 5000);
      const ticking = left.run(['exec', 'right', '--shell', 'for i in 1 2 3 4 5 6; do echo $i; sleep 1; done']);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await networks.cable('down');
      const offline = await until(async () => (await status()) === 'offline', OFFLINE_MS);
      await networks.cable('up');
      const online = await until(async () => (await status()) === 'online', ONLINE_MS);
      expect(await ticking).toMatchObject({ code: 0, stdout: '1\n2\n3\n4\n5\n6\n' });
      console.log(`a pulled cable: offline after ${Math.round(offline)} ms, online after ${Math.round(online)} ms`);
    },
  );

  it(
    verifies(['config.server.hostname', 'config.live'], 'brings a changed hostname within 3 s, and no other name'),
    async () => {
      await b.edit('hostname: watched', 'hostname: "Maria’s box"');
      const seen = async (): Promise<boolean> => (await rowOf(asOwner))?.hostname === 'Maria’s box';
      const took = await until(seen, 3000);
      expect(await rowOf(asOwner)).toMatchObject({ name: 'watched', status: 'online' });
      console.log(`a changed hostname was seen after ${Math.round(took)} ms`);
    },
  );

  it(verifies('link.registry', 'follows a peer that came back on another port, by its own contact'), async () => {
    const port = await freePort();
    await b.run(['stop']);
    await b.edit(/^ {2}port: \d+$/m, `  port: ${port}`);
    await b.start();
    const isThere = async (): Promise<boolean> => {
      const row = await rowOf(asOwner);
      return row?.status === 'online' && row.port === port;
    };
    const took = await until(isThere, ONLINE_MS);
    expect((await asOwner.call('peer.list', {})).peers).toMatchObject([{ name: 'watched', port }]);
    console.log(`a peer on another port was online after ${Math.round(took)} ms`);
    expect((await a.run(['exec', 'watched', '--', 'echo', 'there'])).stdout).toBe('there\n');
  });
});
