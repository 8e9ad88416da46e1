import { describe, expect, it, onTestFinished } from 'vitest';

import { joinNetworks } from '../helpers/networks.ts';
import { connectMachines, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

const OFFLINE_MS = 10_000;
const ONLINE_MS = 3000;

describe('a pulled cable', () => {
  it(
    verifies(
      'link.presence',
      'between two networks: offline within 10 s, online within 3 s of its return, streams go on',
    ),
    { timeout: 60_000 },
    async ({ skip }) => {
      const networks = await joinNetworks();
      if (typeof networks === 'string') return skip(networks);
      const [a, b] = await Promise.all(
        ['left', 'right'].map((name, at) =>
          Machine.create(name, { host: '0.0.0.0', within: networks.within[at] ?? [] }),
        ),
      );
      if (a === undefined || b === undefined) throw new Error('no machines');
      onTestFinished(async () => {
        await networks.cable('up');
        await a.remove();
        await b.remove();
        await networks.remove();
      });
      await connectMachines(a, b, networks.addresses);
      const status = async (): Promise<string | undefined> =>
        (await a.json<{ peers: { status: string }[] }>(['peers'])).peers[0]?.status;
      await until(async () => (await status()) === 'online', 5000);
      const ticking = a.run(['exec', 'right', '--shell', 'for i in 1 2 3 4 5 6; do echo $i; sleep 1; done']);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await networks.cable('down');
      const offline = await until(async () => (await status()) === 'offline', OFFLINE_MS);
      await networks.cable('up');
      const online = await until(async () => (await status()) === 'online', ONLINE_MS);
      expect(await ticking).toMatchObject({ code: 0, stdout: '1\n2\n3\n4\n5\n6\n' });
      console.log(`a pulled cable: offline after ${Math.round(offline)} ms, online after ${Math.round(online)} ms`);
    },
  );
});
