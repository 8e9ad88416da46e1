import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { chmod, link, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { ensurePrivateDir, errorCode, readTextFile, syncFolder, writeFileAtomic } from '../kernel/atomic-file.ts';
import { randomHex } from '../kernel/ids.ts';
import { LoopsyError } from '../protocol/errors.ts';
import {
  buildMachineCertificate,
  fingerprintOf,
  isSignedBy,
  issueSessionCertificate,
  needsRenewal,
  nodeIdOf,
  readCertificate,
  readMachineCertificate,
  spkiHashOf,
  spkiOf,
  toPem,
  type ReadCertificate,
} from './certificates.ts';

/** Who a node is, and what it proves it with. */
export interface Identity {
  readonly nodeId: string;
  /** The nodeId of the machine; the same as `nodeId` but in a session. */
  readonly machineId: string;
  /** SHA-256 of the machine certificate's DER, hex: what people compare. */
  readonly fingerprint: string;
  /** SHA-256 of this node's public key, hex. */
  readonly spkiHash: string;
  readonly privateKey: KeyObject;
  readonly keyPem: string;
  /** DER of this node's certificate. */
  readonly certificate: Buffer;
  /** What TLS presents; in a session the machine's certificate follows. */
  readonly certificatePem: string;
  /** DER of the machine's certificate. */
  readonly machineCertificate: Buffer;
}

const KEY_FILE = 'key.pem';
const CERTIFICATE_FILE = 'cert.pem';

/** Gives a complete file its name, once: of two processes that try, one wins and both end with its file. */
const publishOnce = async (draft: string, file: string): Promise<void> => {
  try {
    await link(draft, file);
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return;
    // Some file systems have no hard links.
    await rename(draft, file);
  } finally {
    await rm(draft, { force: true });
  }
  await syncFolder(dirname(file));
};

const ensureKey = async (folder: string): Promise<void> => {
  await ensurePrivateDir(folder);
  const file = join(folder, KEY_FILE);
  if ((await readTextFile(file)) !== undefined) return;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const draft = `${file}.${randomHex(6)}.new`;
  await writeFileAtomic(draft, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  await publishOnce(draft, file);
};

interface StoredKey {
  readonly key: KeyObject;
  readonly pem: string;
  readonly spki: Buffer;
}

const loadKey = async (file: string): Promise<StoredKey | undefined> => {
  const pem = await readTextFile(file);
  if (pem === undefined) return undefined;
  // A key that others could read is closed again; where there are no modes this does nothing.
  if (((await stat(file)).mode & 0o077) !== 0) await chmod(file, 0o600);
  const broken = (cause?: unknown): LoopsyError =>
    new LoopsyError('internal', {
      message: `${file} does not hold a P-256 private key, so this machine can not say who it is`,
      hint: `put a copy of it back; or move it away and run \`loopsy init\`: a new identity, which every peer has to trust anew`,
      cause,
    });
  try {
    const key = createPrivateKey(pem);
    const spki = spkiOf(key);
    if (spki !== undefined) return { key, pem, spki };
  } catch (error) {
    throw broken(error);
  }
  throw broken();
};

/** The bytes of a certificate file, none where it is lost: whatever is in it is judged later. */
const readCertificateFile = async (file: string): Promise<Buffer> => {
  try {
    return await readFile(file);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
};

const loadMachineCertificate = async (folder: string, { key, spki }: StoredKey): Promise<Buffer> => {
  const file = join(folder, CERTIFICATE_FILE);
  const stored = readMachineCertificate(await readCertificateFile(file));
  if (stored?.spki.equals(spki)) return stored.x509.raw;
  const rebuilt = await buildMachineCertificate(key);
  await writeFileAtomic(file, toPem(rebuilt));
  return rebuilt;
};

/**
 * Loads a machine's identity from its `tls` folder. A certificate that is lost, or not of this key, is rebuilt byte
 * for byte.
 * @returns `undefined` where there is no key. @throws {LoopsyError} `internal` where the key is broken: it is never
 * replaced by itself, because every peer pins it.
 */
export const loadIdentity = async (folder: string): Promise<Identity | undefined> => {
  const stored = await loadKey(join(folder, KEY_FILE));
  if (stored === undefined) return undefined;
  const certificate = await loadMachineCertificate(folder, stored);
  const nodeId = nodeIdOf(stored.spki);
  return {
    nodeId,
    machineId: nodeId,
    fingerprint: fingerprintOf(certificate),
    spkiHash: spkiHashOf(stored.spki),
    privateKey: stored.key,
    keyPem: stored.pem,
    certificate,
    certificatePem: toPem(certificate),
    machineCertificate: certificate,
  };
};

/** Makes a machine's identity in `folder` (0700; its files 0600), or loads the one that is there: never a second one. */
export const createIdentity = async (folder: string): Promise<Identity> => {
  await ensureKey(folder);
  const identity = await loadIdentity(folder);
  if (identity === undefined)
    throw new LoopsyError('internal', { message: `the key in ${folder} vanished while it was made` });
  return identity;
};

const isCurrent = ({ x509, spki }: ReadCertificate, own: { spki: Buffer; machine: Identity; now: number }): boolean =>
  spki.equals(own.spki) && isSignedBy(x509, createPublicKey(own.machine.privateKey)) && !needsRenewal(x509, own.now);

/**
 * A session's identity: its own key in `folder`, made if need be, and a certificate that the machine issued, renewed
 * when half its life is over. `now` in ms since 1970.
 */
export const sessionIdentity = async (folder: string, machine: Identity, now: number): Promise<Identity> => {
  await ensureKey(folder);
  const stored = await loadKey(join(folder, KEY_FILE));
  if (stored === undefined)
    throw new LoopsyError('internal', { message: `the key in ${folder} vanished while it was made` });
  const file = join(folder, CERTIFICATE_FILE);
  const there = readCertificate(await readCertificateFile(file));
  const current = there !== undefined && isCurrent(there, { spki: stored.spki, machine, now });
  const certificate = current ? there.x509.raw : issueSessionCertificate(machine.privateKey, stored.key, now);
  if (!current) await writeFileAtomic(file, toPem(certificate));
  return {
    nodeId: nodeIdOf(stored.spki),
    machineId: machine.machineId,
    fingerprint: machine.fingerprint,
    spkiHash: spkiHashOf(stored.spki),
    privateKey: stored.key,
    keyPem: stored.pem,
    certificate,
    certificatePem: toPem(certificate) + toPem(machine.machineCertificate),
    machineCertificate: machine.machineCertificate,
  };
};
