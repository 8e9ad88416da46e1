import type { PresenceState } from '../../discovery/presence.ts';
import type { Peer } from '../../protocol/peers.ts';
import type { Machine } from '../../trust/trust-records.ts';
import { formatAddress } from './dial.ts';
import type { ManualAddress, PeerFacts } from './facts.ts';

/** The row of a trusted node. */
export const trustedRow = (machine: Machine, facts: PeerFacts, state: PresenceState): Peer => {
  const [address] = facts.addresses;
  return {
    nodeId: machine.machineId,
    name: machine.name,
    ...(facts.hostname === undefined ? {} : { hostname: facts.hostname }),
    ...(address === undefined ? {} : { address: address.host, port: address.port }),
    ...(facts.platform === undefined ? {} : { platform: facts.platform }),
    ...(facts.version === undefined ? {} : { version: facts.version }),
    capabilities: facts.capabilities,
    status: state.presence,
    ...(facts.lastSeen === undefined ? {} : { lastSeen: facts.lastSeen }),
    trusted: true,
    manuallyAdded: facts.manual,
    fingerprint: machine.fingerprint,
    grant: machine.grant,
    ...(state.latencyMs === undefined ? {} : { latencyMs: Math.round(state.latencyMs * 100) / 100 }),
    ...(state.reason === undefined ? {} : { reason: state.reason }),
  };
};

/** The row of an address that a person added and that nobody trusts yet. */
export const manualRow = (manual: ManualAddress): Peer => ({
  ...(manual.nodeId === undefined ? {} : { nodeId: manual.nodeId }),
  name: manual.name ?? formatAddress(manual.address),
  address: manual.address.host,
  port: manual.address.port,
  capabilities: [],
  status: 'unknown',
  trusted: false,
  manuallyAdded: true,
  reason: `not trusted: \`loopsy connect ${formatAddress(manual.address)}\``,
});

/** One row a node and one an address: an address of a trusted node adds none. `nodeAt` says who was met there. */
export const withManualRows = (
  trusted: readonly Peer[],
  manual: readonly ManualAddress[],
  nodeAt: (address: string) => string | undefined,
): Peer[] => {
  const nodes = new Set(trusted.map((row) => row.nodeId));
  const rows = new Map<string, Peer>();
  for (const entry of manual) {
    const at = formatAddress(entry.address);
    const nodeId = entry.nodeId ?? nodeAt(at);
    if (rows.has(at) || (nodeId !== undefined && nodes.has(nodeId))) continue;
    rows.set(at, manualRow(entry));
    if (nodeId !== undefined) nodes.add(nodeId);
  }
  return [...trusted, ...rows.values()];
};
