import { generateKeyPairSync } from 'node:crypto';

import type { Identity } from '../../../src/trust/identity.ts';
import { issueSessionCertificate } from '../../../src/trust/certificates.ts';
import type { TrustBook } from '../../../src/trust/pins.ts';
import { type Asking, type Shown, shownBy } from '../../helpers/ask.ts';
import { type InProcessNode, type InProcessOptions, startNode } from '../../helpers/in-process-node.ts';
import { makeMachine, type TestMachine } from '../../helpers/trust-desk.ts';
import { duplexes } from '../edge/listening.ts';

/** Everybody who may turn up at a node. */
export interface Cast {
  readonly node: InProcessNode;
  /** A node that trusts the first, level full, and is trusted by it as `other`. */
  readonly other: InProcessNode;
  readonly keys: Readonly<Record<(typeof KEYS)[number], string>>;
  readonly peers: Readonly<Record<(typeof PEERS)[number], TestMachine>>;
  /** An agent's token. */
  readonly agentToken: string;
}

const KEYS = ['observe', 'collaborate', 'full', 'far', 'status-only', 'exec-only', 'expired', 'revoked'] as const;
const PEERS = ['observe', 'collaborate', 'full', 'nothing', 'exec-only', 'expired', 'removed', 'unknown'] as const;
const SPARE = 3;

const sowKeys = async (now: TrustBook, past: TrustBook, folders: string[]): Promise<Record<string, string>> => {
  const add = async (name: string, ...grant: Parameters<TrustBook['addKey']>[1][]): Promise<[string, string]> => [
    name,
    (await (name === 'expired' ? past : now).addKey(name, ...grant)).key,
  ];
  const made = [
    await add('observe', { level: 'observe', folders }),
    await add('collaborate', { level: 'collaborate', folders }),
    await add('full', { level: 'full' }),
    await add('far', { level: 'full', reach: 'all' }),
    await add('status-only', { level: 'full', scopes: ['status'] }),
    await add('exec-only', { level: 'full', scopes: ['exec'] }),
    await add('expired', { level: 'full', reach: 'all', expires: 1000 }),
    await add('revoked', { level: 'full' }),
  ];
  for (let at = 0; at < SPARE; at += 1) await add(`spare-${at}`);
  await now.revokeKey('revoked');
  return Object.fromEntries(made);
};

const sowPeers = async (
  peers: Readonly<Record<string, TestMachine>>,
  { now, past, folders }: { now: TrustBook; past: TrustBook; folders: string[] },
): Promise<void> => {
  const trust = async (name: string, grant?: Parameters<TrustBook['setGrant']>[1]): Promise<void> => {
    const certificate = peers[name]?.certificate;
    if (certificate === undefined) throw new Error(`no machine ${name}`);
    await (name === 'expired' ? past : now).trustMachine({
      certificate,
      name,
      ...(grant === undefined ? {} : { grant }),
    });
  };
  await trust('observe', { level: 'observe', folders });
  await trust('collaborate', { level: 'collaborate', folders });
  await trust('full', { level: 'full' });
  await trust('nothing', { level: 'observe', scopes: [] });
  await trust('exec-only', { level: 'full', scopes: ['exec'] });
  await trust('expired', { level: 'full', expires: 1000 });
  await trust('removed');
  await now.removeMachine('removed');
  for (let at = 0; at < SPARE; at += 1) {
    const { certificate } = await makeMachine();
    await now.trustMachine({ certificate, name: `spare-${at}` });
  }
};

const trusting =
  ({ machineCertificate }: Identity): NonNullable<InProcessOptions['seed']> =>
  async (now) => {
    await now.trustMachine({ certificate: machineCertificate, name: 'first' });
  };

/** Starts both nodes and mints everybody; below full they may use these folders. */
export const castOf = async (options: InProcessOptions = {}, folders: string[] = []): Promise<Cast> => {
  const peers = Object.fromEntries(await Promise.all(PEERS.map(async (name) => [name, await makeMachine()] as const)));
  let keys: Record<string, string> = {};
  const node = await startNode({
    name: 'first',
    lan: true,
    ...options,
    seed: async (now, past) => {
      keys = await sowKeys(now, past, folders);
      await sowPeers(peers, { now, past, folders });
    },
  });
  const { config } = options;
  const other = await startNode({
    name: 'other',
    ...(config === undefined ? {} : { config }),
    seed: trusting(node.identity),
  });
  await node.owner('POST', '/peers/trust', {
    address: '127.0.0.1',
    port: other.port,
    fingerprint: other.identity.fingerprint,
    name: 'other',
  });
  const connected = await node.ask({
    method: 'POST',
    path: '/agents/connect',
    key: node.tokens.agent,
    body: { label: 'claude' },
  });
  for (const one of [node, other]) await one.owner('PUT', '/context/kept', { value: 'kept' });
  const { token } = JSON.parse(connected.text) as { token: string };
  // The casts: fromEntries forgets which names it was given.
  return { node, other, keys: keys as Cast['keys'], peers: peers as Cast['peers'], agentToken: token };
};

/** Stops both. */
export const dismiss = async ({ node, other }: Cast): Promise<void> => {
  await node.remove();
  await other.remove();
};

/** A certificate that a machine issued for one of its sessions, `ageMs` ago. */
export const sessionOf = (machine: Pick<TestMachine, 'key'>, ageMs = 0): Shown => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return shownBy({
    key: privateKey,
    certificate: issueSessionCertificate(machine.key, privateKey, Date.now() - ageMs),
  });
};

/** Where requests of the LAN come from. */
export const LAN = { from: '127.0.0.7' } as const;

/** A connection without addresses, as a broker's. */
export const withoutAddress = (node: InProcessNode): Pick<Asking, 'over'> => {
  const [near, far] = duplexes();
  node.composed.listener.accept(far);
  return { over: near };
};
