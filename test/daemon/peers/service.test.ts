import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Peer } from '../../../src/protocol/peers.ts';
import { LINK_VERSION, VERSION } from '../../../src/protocol/version.ts';
import { type Answer, shownBy } from '../../helpers/ask.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { until } from '../../helpers/process-facts.ts';
import { makeMachine, type TestMachine } from '../../helpers/trust-desk.ts';
import { verifies } from '../../requirements.ts';

let node: InProcessNode;
let other: InProcessNode;
let desk: TestMachine;
let laptop: TestMachine;
let lapsed: TestMachine;

const handshake = (nodeId: string, more: object = {}): Record<string, unknown> => ({
  nodeId, hostname: 'Kai’s Laptop.local', platform: 'darwin', version: '9.9.9', port: 4711, capabilities: ['execute', 'flying'], link: LINK_VERSION, boot: 'b1', ...more,
}); // prettier-ignore

const greet = (machine: TestMachine, said: object): Promise<Answer> =>
  node.ask({ method: 'POST', path: '/peers/handshake', tls: shownBy(machine), body: said });

const rows = async (): Promise<Peer[]> => (await node.owner<{ peers: Peer[] }>('GET', '/peers')).peers;
const rowOf = async (nodeId: string): Promise<Peer | undefined> => (await rows()).find((row) => row.nodeId === nodeId);

beforeAll(async () => {
  [desk, laptop, lapsed] = [await makeMachine(), await makeMachine(), await makeMachine()];
  other = await startNode({ name: 'other' });
  node = await startNode({
    name: 'here',
    lan: true,
    seed: async (now, past) => {
      const grant = { level: 'full', expires: 1000 } as const;
      await past.trustMachine({ certificate: lapsed.certificate, name: 'lapsed', grant });
      await now.trustMachine({ certificate: desk.certificate, name: 'desk' });
      await now.trustMachine({ certificate: laptop.certificate, name: 'laptop' });
    },
  });
});

afterAll(async () => {
  await node?.remove();
  await other?.remove();
});

describe('a grant that is over', () => {
  it(verifies('grant.expired-shown', 'is shown as over in the rows of peers, and no other is'), async () => {
    expect((await rowOf(lapsed.id))?.grant).toMatchObject({ level: 'full', expired: true });
    expect((await rowOf(desk.id))?.grant).not.toHaveProperty('expired');
    expect(await node.owner('GET', '/peers/lapsed')).toMatchObject({ grant: { expired: true } });
  });
});

describe('the handshake', () => {
  it(
    verifies('rest.handshake', 'answers with the facts of this node, and changes the row of its caller alone'),
    async () => {
      const before = await rowOf(desk.id);
      const answer = await greet(laptop, handshake(laptop.id));
      expect(answer.status).toBe(200);
      expect(JSON.parse(answer.text)).toMatchObject({
        nodeId: node.identity.nodeId,
        hostname: 'here',
        platform: process.platform,
        version: VERSION,
        port: node.port,
        capabilities: ['execute', 'transfer', 'context', 'messages'],
      });
      await until(async () => (await rowOf(laptop.id))?.hostname === 'Kai’s Laptop.local', 3000);
      expect(await rowOf(laptop.id)).toMatchObject({
        platform: 'darwin',
        version: '9.9.9',
        capabilities: ['execute', 'flying'],
      });
      expect(await rowOf(desk.id)).toEqual(before);
    },
  );

  it(
    verifies('rest.handshake', 'that names another node in its body still speaks for its certificate alone'),
    async () => {
      const before = await rowOf(desk.id);
      await greet(laptop, handshake(desk.id, { hostname: 'desk-of-somebody' }));
      expect(await rowOf(desk.id)).toEqual(before);
      expect((await rowOf(laptop.id))?.hostname).toBe('desk-of-somebody');
      expect(await rows()).toHaveLength(3);
    },
  );

  it(verifies('rest.handshake', 'counts over a link only'), async () => {
    const body = handshake(laptop.id);
    const asks = async (asking: object): Promise<string> =>
      (await node.ask({ method: 'POST', path: '/peers/handshake', body, ...asking })).outcome;
    const { key } = await node.owner<{ key: string }>('POST', '/keys', { name: 'program', grant: { level: 'full' } });
    expect(await asks({})).toBe('missing_key');
    expect(await asks({ key })).not.toBe('allowed');
    expect(await asks({ key: node.tokens.start })).not.toBe('allowed');
    expect(await asks({ tls: shownBy(await makeMachine()) })).toBe('invalid_key');
  });

  it(verifies('error.2005', 'of another version of the link is refused, and says which side is older'), async () => {
    const newer = await greet(laptop, handshake(laptop.id, { link: LINK_VERSION + 1 }));
    expect(newer).toMatchObject({ status: 409, outcome: 'peer_version' });
    expect(newer.text).toContain('update loopsy on here');
  });

  it('of a newer node may hold fields that this one does not know', async () => {
    expect((await greet(laptop, handshake(laptop.id, { flying: { height: 3 } }))).status).toBe(200);
  });
});

describe('a key of the owner', () => {
  it(verifies('rest.owner-loopback', 'counts on this machine only, as does the token of this start'), async () => {
    const asks = async (key: string, asking: object): Promise<string> =>
      (await node.ask({ path: '/status', key, ...asking })).outcome;
    const lan = { from: '127.0.0.9' };
    for (const key of [node.tokens.owner, node.tokens.start]) {
      expect(await asks(key, {})).toBe('allowed');
      expect(await asks(key, { tls: 'no certificate' })).toBe('allowed');
      expect(await asks(key, { ...lan, tls: 'no certificate' })).toBe('invalid_key');
      expect(await asks(key, lan)).toBe('plain_http');
    }
  });
});

describe('an address', () => {
  it(
    verifies(
      'rest.peers-add',
      'that is added is shaken hands with, shown as not trusted, and joins its node when it is',
    ),
    async () => {
      const at = { address: '127.0.0.1', port: other.port };
      const added = await node.owner<Peer>('POST', '/peers', { ...at, name: 'spare' });
      expect(added).toMatchObject({
        name: 'spare',
        nodeId: other.identity.nodeId,
        trusted: false,
        status: 'unknown',
        reason: `not trusted: \`loopsy pair\` there, then \`loopsy pair 127.0.0.1:${other.port}\` here`,
      });
      const untrusted = await node.ask({ path: '/status?peer=spare', key: node.tokens.start });
      expect(untrusted).toMatchObject({ status: 404, outcome: 'peer_not_found' });
      expect(untrusted.text).toContain(`loopsy pair 127.0.0.1:${other.port}`);
      const { fingerprint } = other.identity;
      const trusted = await node.owner<{ peer: Peer }>('POST', '/peers/trust', { ...at, fingerprint });
      expect(trusted.peer).toMatchObject({ nodeId: other.identity.nodeId, name: 'spare', trusted: true });
      expect((await rows()).filter(({ nodeId }) => nodeId === other.identity.nodeId)).toHaveLength(1);
      expect(await node.owner('POST', '/peers', { address: 'localhost', port: other.port })).toMatchObject({
        trusted: true,
        manuallyAdded: true,
        address: 'localhost',
      });
      expect(await rows()).toHaveLength(4);
    },
  );

  it('of this machine itself is refused, and so is one where nobody is', async () => {
    const add = (port: number): Promise<Answer> =>
      node.ask({ method: 'POST', path: '/peers', key: node.tokens.start, body: { address: '127.0.0.1', port } });
    expect(await add(node.port)).toMatchObject({ status: 409, outcome: 'conflict' });
    expect(await add(1)).toMatchObject({ status: 503, outcome: 'peer_unreachable' });
  });

  it(
    verifies('rest.peers-delete', 'or a trusted peer is removed by name, and an unknown one names the known ones'),
    async () => {
      const removed = await node.owner('DELETE', '/peers/desk');
      expect(removed).toEqual({ success: true, nodeId: desk.id, name: 'desk', trusted: true, told: false });
      expect((await greet(desk, handshake(desk.id))).outcome).toBe('revoked');
      const gone = await node.ask({ method: 'DELETE', path: '/peers/desk', key: node.tokens.start });
      expect(gone).toMatchObject({ status: 404, outcome: 'peer_not_found' });
      expect(gone.text).toContain('laptop');
    },
  );
});

describe('a row that nobody trusts', () => {
  const row = async (reference: string): Promise<Peer> => node.owner<Peer>('GET', `/peers/${reference}`);
  const asks = (method: string, reference: string): Promise<Answer> =>
    node.ask({ method, path: `/peers/${encodeURIComponent(reference)}`, key: node.tokens.start });

  it(
    verifies(
      ['cli.peers', 'cli.addresses'],
      'is shown and removed by its name, by the begin of its id, and by its address',
    ),
    async () => {
      const stranger = await startNode({ name: 'stranger' });
      const { nodeId } = stranger.identity;
      const at = `127.0.0.1:${stranger.port}`;
      try {
        for (const reference of ['spare-two', nodeId, nodeId.slice(0, 4), at]) {
          await node.owner('POST', '/peers', { address: '127.0.0.1', port: stranger.port, name: 'spare-two' });
          expect(await row(reference)).toMatchObject({ nodeId, name: 'spare-two', trusted: false });
          const removed = await asks('DELETE', reference);
          expect(JSON.parse(removed.text)).toEqual({
            success: true,
            nodeId,
            name: 'spare-two',
            trusted: false,
            told: false,
          });
          expect((await asks('GET', reference)).outcome).toBe('peer_not_found');
        }
      } finally {
        await stranger.remove();
      }
    },
  );

  it('can not take the name of another', async () => {
    const stranger = await startNode({ name: 'stranger' });
    try {
      const body = { address: '127.0.0.1', port: stranger.port, name: 'spare' };
      const answer = await node.ask({ method: 'POST', path: '/peers', key: node.tokens.start, body });
      expect(answer).toMatchObject({ status: 409, outcome: 'conflict' });
    } finally {
      await stranger.remove();
    }
  });

  it(
    verifies('cli.peers', 'and comes from config.yaml is removed there alone: the error names the entry'),
    async () => {
      const set = (value: unknown): Promise<unknown> =>
        node.owner('PATCH', '/config', { changes: { 'discovery.manualPeers': value } });
      await set([{ address: '127.0.0.1', port: 4 }]);
      const answer = await asks('DELETE', '127.0.0.1:4');
      expect(answer).toMatchObject({ status: 409, outcome: 'conflict' });
      expect(JSON.parse(answer.text)).toMatchObject({
        error: {
          hint: 'remove it in config.yaml: discovery.manualPeers, the entry {address: "127.0.0.1", port: 4}',
          details: { field: 'discovery.manualPeers', address: '127.0.0.1', port: 4 },
        },
      });
      expect(await row('127.0.0.1:4')).toMatchObject({ trusted: false, manuallyAdded: true });
      await set(null);
      expect((await asks('GET', '127.0.0.1:4')).outcome).toBe('peer_not_found');
    },
  );
});
