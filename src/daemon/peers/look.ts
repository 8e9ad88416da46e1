import { networkInterfaces } from 'node:os';

import { LoopsyError } from '../../protocol/errors.ts';
import { fingerprintOf, readMachineCertificate } from '../../trust/certificates.ts';
import type { Identity } from '../../trust/identity.ts';
import { inspectLeaf } from '../../trust/leaf.ts';
import { type Address, formatAddress, probe } from './dial.ts';

/** A machine that answered at an address. Nothing of it is trusted by that. */
export interface SeenMachine {
  readonly nodeId: string;
  /** What two people compare. */
  readonly fingerprint: string;
  /** DER. */
  readonly certificate: Buffer;
}

/** How long someone may take to answer. */
export const LOOK_LIMIT_MS = 4000;

/**
 * Shakes hands with whoever answers at an address, sends nothing, and reads who it is.
 * @throws {LoopsyError} `peer_unreachable`; `peer_handshake` where it is no machine; `conflict` where it is this one.
 */
export const lookAt = async (at: Address, own: Identity): Promise<SeenMachine> => {
  const { certificate: der } = await probe(at, AbortSignal.timeout(LOOK_LIMIT_MS));
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
  return { nodeId: leaf.nodeId, fingerprint: fingerprintOf(machine.x509.raw), certificate: machine.x509.raw };
};

/** Where other machines of the network may find this one. */
export const ownAddresses = (port: number): string[] =>
  Object.values(networkInterfaces())
    .flat()
    .filter((face) => face !== undefined && !face.internal && face.family === 'IPv4')
    .map((face) => `${face?.address}:${port}`);
