import { afterEach, describe, expect, it } from 'vitest';

import type { Peer } from '../../../src/protocol/peers.ts';
import type { Check, Status } from '../../../src/protocol/system.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { until } from '../../helpers/process-facts.ts';
import { makeMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';
import { openStream, TICKS } from '../security/streams.ts';

const nodes: InProcessNode[] = [];

const start = async (name: string): Promise<InProcessNode> => {
  const node = await startNode({ name });
  nodes.push(node);
  return node;
};

afterEach(async () => {
  for (const node of nodes.splice(0)) await node.remove();
});

const pin = (node: InProcessNode, name: string, fingerprint: string | null): Promise<unknown> =>
  node.owner('PATCH', '/config', { changes: { [`tls.pinnedCerts.${name}`]: fingerprint } });
const list = (node: InProcessNode, at: { port: number } | null): Promise<unknown> =>
  node.owner('PATCH', '/config', {
    changes: { 'discovery.manualPeers': at === null ? null : [{ address: '127.0.0.1', port: at.port }] },
  });
const rows = async (node: InProcessNode): Promise<Peer[]> =>
  (await node.owner<{ peers: Peer[] }>('GET', '/peers')).peers;
const warnings = async (node: InProcessNode): Promise<string[]> =>
  (await node.owner<Status>('GET', '/status')).warnings;
const checks = async (node: InProcessNode): Promise<Check[]> =>
  (await node.owner<{ checks: Check[] }>('GET', '/doctor')).checks.filter(({ name }) => /^(trust|peers?\b)/.test(name));
const trust = (node: InProcessNode, other: InProcessNode, name: string): Promise<unknown> =>
  node.owner('POST', '/peers/trust', {
    address: '127.0.0.1',
    port: other.port,
    fingerprint: other.identity.fingerprint,
    name,
  });
const isOnline = (node: InProcessNode, name: string) => async (): Promise<boolean> =>
  (await rows(node)).some((row) => row.name === name && row.status === 'online');

describe('a pin of the config', () => {
  it(
    verifies(
      ['config.tls.pinnedCerts', 'cli.status', 'cli.doctor'],
      'whose machine was never met is shown, with what to do',
    ),
    async () => {
      const node = await start('here');
      const { fingerprint } = await makeMachine();
      await pin(node, 'kai', fingerprint);
      expect(await rows(node)).toEqual([
        expect.objectContaining({ name: 'kai', trusted: true, status: 'unknown', fingerprint }),
      ]);
      expect(await node.owner('GET', '/peers/kai')).toMatchObject({
        reason: expect.stringContaining('loopsy peers add'),
      });
      expect(await warnings(node)).toEqual([expect.stringContaining('tls.pinnedCerts.kai in config.yaml: no machine')]);
      expect(await checks(node)).toEqual([
        expect.objectContaining({ name: 'trust', level: 'warning', fix: expect.stringContaining('loopsy peers add') }),
      ]);
      expect(await node.owner('PUT', '/peers/kai/grant', { level: 'observe' })).toMatchObject({
        grant: { level: 'observe' },
      });
      expect((await node.ask({ path: '/status?peer=kai', key: node.tokens.start })).text).toContain('loopsy peers add');
      expect(await node.owner('DELETE', '/peers/kai')).toMatchObject({ name: 'kai', trusted: true });
      // The entry is still there, and says nothing any more: that is said, too.
      expect(await rows(node)).toEqual([]);
      expect(await warnings(node)).toEqual([expect.stringContaining('tls.pinnedCerts.kai in config.yaml is not used')]);
      await pin(node, 'kai', null);
      expect([await warnings(node), await checks(node)]).toEqual([[], [expect.objectContaining({ name: 'peers' })]]);
    },
  );

  it(
    verifies(
      'config.tls.pinnedCerts',
      'meets its machine at an address that a person named, and each trusts the other',
    ),
    async () => {
      const [one, two, three] = [await start('one'), await start('two'), await start('three')];
      await list(one, two);
      await pin(one, 'two', two.identity.fingerprint);
      await pin(two, 'one', one.identity.fingerprint);
      await until(isOnline(one, 'two'), 5000);
      await until(isOnline(two, 'one'), 5000);
      expect(await rows(one)).toEqual([
        expect.objectContaining({
          nodeId: two.identity.nodeId,
          manuallyAdded: true,
          grant: expect.objectContaining({ level: 'full' }),
        }),
      ]);
      expect(await warnings(one)).toEqual([]);
      await pin(one, 'three', three.identity.fingerprint);
      const added = await one.owner<Peer>('POST', '/peers', { address: '127.0.0.1', port: three.port });
      expect(added).toMatchObject({ name: 'three', trusted: true, manuallyAdded: true });
    },
  );

  it(
    verifies(
      ['config.tls.pinnedCerts', 'cli.doctor'],
      'that contradicts a paired peer ends its streams and says so in its row, the status and the doctor; either may go',
    ),
    async () => {
      const [one, two] = [await start('one'), await start('two')];
      await trust(one, two, 'two');
      await trust(two, one, 'one');
      await until(isOnline(one, 'two'), 5000);
      const stream = await openStream(two, { key: two.tokens.start }, { input: TICKS, query: '?peer=one' });
      await stream.more('tick');
      const stranger = await makeMachine();
      await pin(one, 'two', stranger.fingerprint);
      await stream.over;
      expect(stream.text()).toContain('"error"');
      const { nodeId } = two.identity;
      const suspended = nodeId.slice(0, 8);
      expect(await rows(one)).toEqual([
        expect.objectContaining({ name: 'two', fingerprint: stranger.fingerprint }),
        expect.objectContaining({ name: suspended, nodeId, trusted: false, hostname: 'two' }),
      ]);
      for (const reference of [suspended, nodeId, `127.0.0.1:${two.port}`]) {
        expect(await one.owner('GET', `/peers/${encodeURIComponent(reference)}`)).toMatchObject({
          nodeId,
          reason: expect.stringContaining('tls.pinnedCerts.two in config.yaml is another machine'),
        });
      }
      const [warning] = await warnings(one);
      expect(warning).toContain(`loopsy peers remove ${suspended}`);
      expect(await checks(one)).toEqual([
        expect.objectContaining({ name: 'trust', level: 'error', fix: expect.stringContaining(suspended) }),
        expect.objectContaining({ name: 'trust', level: 'warning' }),
      ]);
      const refused = await one.ask({ path: `/status?peer=${suspended}`, key: one.tokens.start });
      expect(refused).toMatchObject({ status: 404, outcome: 'peer_not_found' });
      // The pin goes: the peer is what it was, where it was.
      await pin(one, 'two', null);
      await until(isOnline(one, 'two'), 3000);
      expect(await warnings(one)).toEqual([]);
      // The peer goes: the pin stays.
      await pin(one, 'two', stranger.fingerprint);
      expect(await one.owner('DELETE', `/peers/${suspended}`)).toMatchObject({ nodeId, trusted: false });
      expect(await rows(one)).toEqual([expect.objectContaining({ name: 'two', fingerprint: stranger.fingerprint })]);
      expect((await checks(one)).map(({ level }) => level)).toEqual(['warning']);
    },
  );
});
