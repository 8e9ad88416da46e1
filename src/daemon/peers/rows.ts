import type { PresenceState } from '../../discovery/presence.ts';
import type { Peer } from '../../protocol/peers.ts';
import type { Machine } from '../../trust/trust-records.ts';
import type { UnmetPin } from '../../trust/trust-state.ts';
import { type Address, formatAddress } from './dial.ts';
import type { PeerFacts } from './facts.ts';
import type { ManualEntry } from './manual.ts';

/**
 * One row, the addresses that name it, and what it stands for: a trusted machine; one that a pin of its name suspends;
 * a pin whose machine was not met; addresses that a person named.
 */
export type Known = { readonly row: Peer; readonly addresses: readonly Address[] } & (
  | { readonly kind: 'machine' | 'suspended'; readonly machine: Machine }
  | { readonly kind: 'pin'; readonly pin: UnmetPin }
  | { readonly kind: 'manual'; readonly entries: readonly ManualEntry[] }
);

/** What a machine said of itself, as it stands in its row. */
const said = ({ hostname, platform, version, capabilities, lastSeen, addresses, manual }: PeerFacts) => ({
  ...(hostname === undefined ? {} : { hostname }),
  ...(addresses[0] === undefined ? {} : { address: addresses[0].host, port: addresses[0].port }),
  ...(platform === undefined ? {} : { platform }),
  ...(version === undefined ? {} : { version }),
  capabilities,
  ...(lastSeen === undefined ? {} : { lastSeen }),
  manuallyAdded: manual,
});

/** The row of a trusted machine. */
export const trustedPeer = (machine: Machine, facts: PeerFacts, state: PresenceState): Known => ({
  kind: 'machine',
  machine,
  addresses: facts.addresses,
  row: {
    nodeId: machine.machineId,
    name: machine.name,
    ...said(facts),
    status: state.presence,
    trusted: true,
    fingerprint: machine.fingerprint,
    grant: machine.grant,
    ...(state.latencyMs === undefined ? {} : { latencyMs: Math.round(state.latencyMs * 100) / 100 }),
    ...(state.reason === undefined ? {} : { reason: state.reason }),
  },
});

/** The same before the other side has shown that it trusts, too: see docs/protocol/pairing.md. */
export const unsettledPeer = (known: Known): Known => {
  const { reason } = known.row;
  const waiting = `waiting for its answer to the pairing${reason === undefined ? '' : `: ${reason}`}`;
  return { ...known, row: { ...known.row, reason: waiting } };
};

/** The row of a paired machine that a pin contradicts. Its name is the pin's now; commands take its id. */
export const suspendedPeer = (machine: Machine, facts: PeerFacts): Known => ({
  kind: 'suspended',
  machine,
  addresses: facts.addresses,
  row: {
    nodeId: machine.machineId,
    name: machine.machineId.slice(0, 8),
    ...said(facts),
    status: 'unknown',
    trusted: false,
    manuallyAdded: false,
    fingerprint: machine.fingerprint,
    reason: `not trusted: it was paired as ${machine.name}, and tls.pinnedCerts.${machine.name} in config.yaml is another machine; one of them has to go`,
  },
});

/** The row of a certificate that config.yaml pins and nobody has shown yet. */
export const pinnedPeer = (pin: UnmetPin): Known => ({
  kind: 'pin',
  pin,
  addresses: [],
  row: {
    name: pin.name,
    capabilities: [],
    status: 'unknown',
    trusted: true,
    manuallyAdded: false,
    fingerprint: pin.fingerprint,
    grant: pin.grant,
    reason: 'no machine with this fingerprint was met yet: `loopsy peers add <its address>`',
  },
});

const manualPeer = (entries: readonly [ManualEntry, ...ManualEntry[]]): Known => {
  const [first] = entries;
  const at = formatAddress(first.address);
  const name = entries.find((entry) => entry.name !== undefined)?.name;
  return {
    kind: 'manual',
    entries,
    addresses: entries.map(({ address }) => address),
    row: {
      ...(first.nodeId === undefined ? {} : { nodeId: first.nodeId }),
      name: name ?? at,
      address: first.address.host,
      port: first.address.port,
      capabilities: [],
      status: 'unknown',
      trusted: false,
      manuallyAdded: true,
      reason: `not trusted: \`loopsy pair\` there, then \`loopsy pair ${at}\` here`,
    },
  };
};

/**
 * The rows of addresses that a person named: one a node, one an address where nobody is known. An address of a node
 * that has a row adds none. `nodeAt` says which of those was met there.
 */
export const manualPeers = (
  entries: readonly ManualEntry[],
  shown: readonly Known[],
  nodeAt: (address: string) => string | undefined,
): Known[] => {
  const rowed = new Set(shown.map(({ row }) => row.nodeId));
  const groups = new Map<string, [ManualEntry, ...ManualEntry[]]>();
  for (const entry of entries) {
    const at = formatAddress(entry.address);
    const known = nodeAt(at) ?? entry.nodeId;
    if (known !== undefined && rowed.has(known)) continue;
    const group = groups.get(known ?? at);
    if (group === undefined) groups.set(known ?? at, [entry]);
    else group.push(entry);
  }
  return [...groups.values()].map(manualPeer);
};
