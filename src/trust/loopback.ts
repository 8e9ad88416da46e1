import { BlockList, isIP } from 'node:net';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');
LOOPBACK.addSubnet('::ffff:127.0.0.0', 104, 'ipv6');

const isLoopbackAddress = (address: string | undefined): boolean => {
  const family = isIP(address ?? '');
  // No system names a zone on a loopback address: one that has it is not what it says.
  if (address === undefined || family === 0 || address.includes('%')) return false;
  return LOOPBACK.check(address, family === 4 ? 'ipv4' : 'ipv6');
};

/** The two ends of a socket, as Node names them. */
export interface SocketEnds {
  readonly remoteAddress?: string | undefined;
  readonly localAddress?: string | undefined;
}

/**
 * True where both ends of a socket are on this machine, mapped forms included. An address that is not known (a link
 * over a Duplex, a closed socket) is not loopback.
 */
export const isLoopback = ({ remoteAddress, localAddress }: SocketEnds): boolean =>
  isLoopbackAddress(remoteAddress) && isLoopbackAddress(localAddress);
