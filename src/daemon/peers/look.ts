import { networkInterfaces } from 'node:os';

import { unmapped } from '../../kernel/unmapped.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { fingerprintOf, readMachineCertificate } from '../../trust/certificates.ts';
import type { Identity } from '../../trust/identity.ts';
import { inspectLeaf, type Leaf } from '../../trust/leaf.ts';
import { type Address, formatAddress, probe } from './dial.ts';

/** A machine that answered at an address. Nothing of it is trusted by that. */
export interface SeenMachine {
  readonly nodeId: string;
  /** What two people compare. */
  readonly fingerprint: string;
  /** DER. */
  readonly certificate: Buffer;
  readonly leaf: Leaf;
  /** This side's address on the way there. */
  readonly localAddress: string | undefined;
}

/** How long someone may take to answer. */
export const LOOK_LIMIT_MS = 4000;

/**
 * Shakes hands with whoever answers at an address, sends nothing, and reads who it is.
 * @throws {LoopsyError} `peer_unreachable`; `peer_handshake` where it is no machine; `conflict` where it is this one.
 */
export const lookAt = async (at: Address, own: Identity): Promise<SeenMachine> => {
  const { certificate: der, localAddress } = await probe(at, AbortSignal.timeout(LOOK_LIMIT_MS));
  const machine = readMachineCertificate(der);
  const leaf = inspectLeaf(der);
  if (leaf === undefined || machine === undefined) {
    throw new LoopsyError('peer_handshake', {
      message: `what answers at ${formatAddress(at)} is not a loopsy machine`,
      details: { address: at.host, port: at.port },
    });
  }
  if (leaf.nodeId === own.machineId) {
    throw new LoopsyError('conflict', { message: `${formatAddress(at)} is this machine itself` });
  }
  const { raw } = machine.x509;
  return { nodeId: leaf.nodeId, fingerprint: fingerprintOf(raw), certificate: raw, leaf, localAddress };
};

/** Cards that lead to no other machine of the network: containers, virtual machines, tunnels. */
const VIRTUAL =
  /^(?:docker|br-|veth|virbr|vmnet|vboxnet|vethernet|vmware|virtualbox|hyper-v|wsl|lxc|lxd|podman|cni|flannel|cali|tun|tap|utun|wg|tailscale|zt|bridge\d|awdl|llw|anpi)/i;

/** Links of a single cable: nobody else can use the address as it is written here. */
const isLinkLocal = (address: string): boolean => /^(?:169\.254\.|fe[89ab])/i.test(address);

/** How a socket of this machine says where it is: IPv4 in its plain form, without a zone. */
const plainAddress = (address: string): string => unmapped(address).replace(/%.*$/, '');

/** The addresses of this machine's cards, the likely ones alone where there are any. */
const cardAddresses = (interfaces: ReturnType<typeof networkInterfaces>): string[] => {
  const found = Object.entries(interfaces).flatMap(([card, faces = []]) =>
    faces
      .filter(({ internal, family }) => !internal && family === 'IPv4')
      .map(({ address }) => ({ address, likely: !VIRTUAL.test(card) && !isLinkLocal(address) })),
  );
  const likely = found.filter((one) => one.likely);
  return (likely.length > 0 ? likely : found).map(({ address }) => address);
};

const WILDCARD = /^(?:0\.0\.0\.0|\[::\]):/;
const LOOPBACK = /^(?:127\.|\[::1\]:)/;

/** Of what this node listens at, what other machines may dial, the likeliest first; none where it is loopback alone. */
export const reachableAddresses = (listening: readonly string[], port: number): string[] =>
  listening.some((one) => WILDCARD.test(one)) ? ownAddresses(port) : listening.filter((one) => !LOOPBACK.test(one));

/** Where other machines may find this one; first the address from which the other side was reached. */
export const ownAddresses = (
  port: number,
  {
    reachedFrom,
    interfaces = networkInterfaces(),
  }: { reachedFrom?: string | undefined; interfaces?: ReturnType<typeof networkInterfaces> } = {},
): string[] => {
  const used = reachedFrom === undefined || isLinkLocal(reachedFrom) ? [] : [plainAddress(reachedFrom)];
  return [...new Set([...used, ...cardAddresses(interfaces)])].map((host) => formatAddress({ host, port }));
};
