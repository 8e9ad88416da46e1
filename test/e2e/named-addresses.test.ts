import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Peer } from '../../src/protocol/peers.ts';
import { childrenOf, NO_PROC, until } from '../helpers/process-facts.ts';
import { Machine } from '../helpers/nodes.ts';
import { verifies } from '../requirements.ts';

const ONLINE_MS = 3000;
const OTHER = 'a'.repeat(64);

describe('a machine that only config.yaml names', () => {
  let a: Machine;
  let b: Machine;
  let facts: { fingerprint: string; port: number };

  const peers = async (): Promise<Peer[]> => (await a.json<{ peers: Peer[] }>(['peers'])).peers;
  const isOnline = async (): Promise<boolean> => (await peers()).some(({ status }) => status === 'online');
  const warned = async (): Promise<string> => (await a.run(['status'])).stdout;

  beforeAll(async () => {
    b = await Machine.create('box');
    facts = await b.json(['status']);
    await b.run(['stop']);
    const extra = `discovery:\n  manualPeers:\n    - address: 127.0.0.1\n      port: ${facts.port}\ntls:\n  pinnedCerts:\n    box: ${facts.fingerprint}\n`;
    a = await Machine.create('asker', { extra });
    const own = await a.json<{ fingerprint: string }>(['status']);
    await b.edit(/^ {2}hostname: box$/m, `  hostname: box\ntls:\n  pinnedCerts:\n    asker: ${own.fingerprint}`);
  }, 60_000);

  afterAll(async () => {
    await a?.remove();
    await b?.remove();
  });

  it(
    verifies(
      ['link.registry', 'config.tls.pinnedCerts', 'cli.status'],
      'and is off when this one starts is said to be missing, and is online within 3 s of its start, without a process',
    ),
    { timeout: 30_000 },
    async () => {
      expect(await warned()).toContain('! tls.pinnedCerts.box in config.yaml: no machine with this fingerprint');
      expect(await peers()).toMatchObject([
        { name: 'box', trusted: true },
        { trusted: false, port: facts.port },
      ]);
      const { pid } = await a.registration();
      const before = NO_PROC === undefined ? await childrenOf(pid) : [];
      await b.start();
      const took = await until(isOnline, ONLINE_MS);
      expect(NO_PROC === undefined ? await childrenOf(pid) : []).toEqual(before);
      expect(await peers()).toMatchObject([{ name: 'box', trusted: true, manuallyAdded: true, hostname: 'box' }]);
      expect(await warned()).not.toContain('!');
      expect((await a.run(['exec', 'box', '--', 'echo', 'there'])).stdout).toBe('there\n');
      console.log(`a machine that only config.yaml names was online ${Math.round(took)} ms after its start`);
    },
  );

  it(
    verifies(
      ['config.tls.pinnedCerts', 'cli.doctor'],
      'is not trusted while another pin contradicts it, and every command says so',
    ),
    { timeout: 30_000 },
    async () => {
      const at = `127.0.0.1:${facts.port}`;
      await a.json(['peers', 'remove', 'box']);
      await a.json(['connect', at, '--fingerprint', facts.fingerprint, '--name', 'box', '--yes']);
      await a.edit(facts.fingerprint, OTHER);
      const suspended = async (): Promise<Peer | undefined> => (await peers()).find(({ port }) => port === facts.port);
      await until(async () => (await suspended())?.trusted === false, 5000);
      const row = await suspended();
      expect((await a.run(['exec', 'box', '--', 'echo', 'there'])).code).not.toBe(0);
      expect(await warned()).toContain(`! tls.pinnedCerts.box in config.yaml is ${OTHER}`);
      expect((await a.run(['peers'])).stdout).toContain(`! ${row?.name}: not trusted: it was paired as box`);
      expect((await a.run(['peers', 'show', at])).stdout).toContain(
        'tls.pinnedCerts.box in config.yaml is another machine',
      );
      const doctor = await a.run(['doctor']);
      expect(doctor.code).toBe(1);
      expect(doctor.stdout).toContain('✗ trust: tls.pinnedCerts.box');
      expect(doctor.stdout).toContain(`loopsy peers remove ${row?.name}`);
      await a.edit(OTHER, facts.fingerprint);
      await until(isOnline, 5000);
      expect(await warned()).not.toContain('!');
    },
  );

  it(
    verifies('cli.peers', 'is taken out in config.yaml alone: the command says where'),
    { timeout: 30_000 },
    async () => {
      await a.edit(`port: ${facts.port}`, 'port: 4');
      await until(async () => (await peers()).some(({ port }) => port === 4), 5000);
      const refused = await a.run(['peers', 'remove', '127.0.0.1:4']);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain('discovery.manualPeers, the entry {address: "127.0.0.1", port: 4}');
    },
  );
});
