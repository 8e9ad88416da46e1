import type { KeyObject, X509Certificate } from 'node:crypto';

import { fingerprintOf, isSignedBy, nodeIdOf, readCertificate, spkiHashOf } from './certificates.ts';

/** What a presented certificate says, read once for each connection. Nothing in it is trusted yet. */
export interface Leaf {
  readonly nodeId: string;
  readonly spkiHash: string;
  readonly fingerprint: string;
  /** The name of its issuer: a claim, until a pinned key verifies the signature. */
  readonly issuerId: string | undefined;
  readonly fromMs: number;
  readonly toMs: number;
  readonly x509: X509Certificate;
}

/** A machine that is, or was, trusted: what identification needs of it. */
export interface PinnedMachine {
  readonly machineId: string;
  /** The pinned key; verifies what the machine issued. */
  readonly publicKey: () => KeyObject;
  readonly revoked: boolean;
}

/** Where pins are looked up. */
export interface PinLookup {
  bySpkiHash(spkiHash: string): PinnedMachine | undefined;
  byMachineId(machineId: string): PinnedMachine | undefined;
}

/** Whose connection it is, or why it is nobody's. */
export type Identified =
  | { readonly machineId: string; readonly nodeId: string }
  | { readonly refused: 'unknown' | 'expired' | 'revoked' };

const issuerIdOf = (certificate: X509Certificate): string | undefined =>
  /^CN=([a-z2-7]{32})$/.exec(certificate.issuer)?.[1];

/**
 * Reads the certificate that the other side presented: 0.1 ms, so keep the leaf with its connection.
 * @returns `undefined` where it is no P-256 certificate of at most 2 KiB: nobody's.
 */
export const inspectLeaf = (presented: X509Certificate | Uint8Array): Leaf | undefined => {
  const read = readCertificate(presented);
  if (read === undefined) return undefined;
  const { x509, spki } = read;
  return {
    nodeId: nodeIdOf(spki),
    spkiHash: spkiHashOf(spki),
    fingerprint: fingerprintOf(x509.raw),
    issuerId: issuerIdOf(x509),
    // validToDate is missing on Node 20.
    fromMs: Date.parse(x509.validFrom),
    toMs: Date.parse(x509.validTo),
    x509,
  };
};

/** Who issued a leaf, once a signature was verified: a request must not cost a signature. */
const verified = new WeakMap<Leaf, string>();

const wasIssuedBy = (leaf: Leaf, machine: PinnedMachine): boolean => {
  if (leaf.x509.ca) return false;
  if (verified.get(leaf) === machine.machineId) return true;
  if (!isSignedBy(leaf.x509, machine.publicKey())) return false;
  verified.set(leaf, machine.machineId);
  return true;
};

const ownerOf = (leaf: Leaf, lookup: PinLookup): PinnedMachine | undefined => {
  const pinned = lookup.bySpkiHash(leaf.spkiHash);
  if (pinned !== undefined) return pinned;
  const issuer = leaf.issuerId === undefined ? undefined : lookup.byMachineId(leaf.issuerId);
  return issuer !== undefined && wasIssuedBy(leaf, issuer) ? issuer : undefined;
};

/**
 * Decides whose a presented leaf is: its key is pinned, or a pinned machine key issued it, and it is within its time.
 * Nothing deeper counts: no chain, no name in it. `now` in ms since 1970. TLS has proved that the other side holds
 * the leaf's key.
 */
export const identifyPeer = (leaf: Leaf, lookup: PinLookup, now: number): Identified => {
  const machine = ownerOf(leaf, lookup);
  if (machine === undefined) return { refused: 'unknown' };
  if (machine.revoked) return { refused: 'revoked' };
  // Written so that a time that can't be read (NaN) is refused.
  if (!(now >= leaf.fromMs && now <= leaf.toMs)) return { refused: 'expired' };
  return { machineId: machine.machineId, nodeId: leaf.nodeId };
};
