import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { connectMachines, Machine } from '../helpers/nodes.ts';
import { until } from '../helpers/process-facts.ts';
import { verifies } from '../requirements.ts';

interface Ran {
  readonly host: string;
}

describe('a peer whose own name is localhost, or that of this machine', () => {
  let kai: Machine;
  let fresh: Machine;

  const peerNames = async (): Promise<string[]> =>
    (await kai.json<{ peers: { name: string }[] }>(['peers'])).peers.map(({ name }) => name);
  const hostOf = async (peer: string): Promise<string> => {
    const { stdout } = await kai.run(['exec', '--json', peer, 'true']);
    return (JSON.parse(stdout.split('\n')[0] ?? '') as { data: Ran }).data.host;
  };
  const overRest = async (peer: string): Promise<Partial<Ran> & { error?: { name: string } }> => {
    const answer = await kai.fetch('POST', `/execute?peer=${encodeURIComponent(peer)}`, { command: 'true' });
    return (await answer.json()) as Partial<Ran> & { error?: { name: string } };
  };

  beforeAll(async () => {
    kai = await Machine.create('kai');
    fresh = await Machine.create('localhost');
    await connectMachines(kai, fresh);
    await until(async () => (await peerNames())[0] !== undefined, 5000);
  }, 60_000);

  afterAll(async () => {
    await kai?.remove();
    await fresh?.remove();
  });

  it(
    verifies('peers.own-names', 'runs nothing that was meant for this one: by command and by REST alike'),
    async () => {
      expect(await peerNames()).toEqual(['localhost-2']);
      const { nodeId } = await kai.registration();
      for (const here of ['localhost', 'LocalHost', 'kai', 'KAI', nodeId]) {
        expect([here, await hostOf(here), (await overRest(here)).host]).toEqual([here, 'kai', 'kai']);
      }
      expect([await hostOf('localhost-2'), (await overRest('localhost-2')).host]).toEqual(['localhost', 'localhost']);
      const { jobs } = await fresh.json<{ jobs: unknown[] }>(['jobs', 'list', '--all']);
      expect(jobs).toHaveLength(2);
    },
  );

  it(verifies('peers.own-names', 'gets no name that means this machine, and the reason is said'), async () => {
    for (const name of ['localhost', 'kai']) {
      const refused = await kai.run(['peers', 'rename', 'localhost-2', name]);
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(`"${name}" means this machine`)]);
      expect((await kai.fetch('PATCH', '/peers/localhost-2', { name })).status).toBe(409);
    }
    expect(await peerNames()).toEqual(['localhost-2']);
    const { fingerprint, port } = await fresh.json<{ fingerprint: string; port: number }>(['status']);
    const at = `127.0.0.1:${port}`;
    const trusted = await kai.run(['connect', at, '--fingerprint', fingerprint, '--yes', '--name', 'localhost']);
    expect([trusted.code, trusted.stderr]).toEqual([1, expect.stringContaining('"localhost" means this machine')]);
  });

  it(
    verifies('peers.own-names', 'is not mistaken for it when this machine takes the name of a peer: nothing runs'),
    async () => {
      await kai.run(['peers', 'rename', 'localhost-2', 'mary']);
      await kai.edit('hostname: kai', 'hostname: Mary');
      await until(async () => (await kai.json<{ hostname: string }>(['status'])).hostname === 'Mary', 5000);
      const before = (await fresh.json<{ jobs: unknown[] }>(['jobs', 'list', '--all'])).jobs.length;
      const refused = await kai.run(['exec', 'mary', 'true']);
      expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('"mary" can mean this machine')]);
      expect((await overRest('mary')).error).toMatchObject({ name: 'invalid_request' });
      await kai.run(['peers', 'rename', 'mary', 'maria']);
      expect([await hostOf('mary'), await hostOf('maria')]).toEqual(['Mary', 'localhost']);
      expect((await fresh.json<{ jobs: unknown[] }>(['jobs', 'list', '--all'])).jobs).toHaveLength(before + 1);
      await kai.edit('hostname: Mary', 'hostname: kai');
    },
  );
});
