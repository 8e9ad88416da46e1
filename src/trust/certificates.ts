import { createHash, createPublicKey, randomBytes, sign, X509Certificate, type KeyObject } from 'node:crypto';

const DAY_MS = 86_400_000;
const DOMAIN = 'loopsy.internal';
/** The head of every uncompressed P-256 SPKI: another form of a key would give it a second name. */
const SPKI_HEAD = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex');
const SPKI_LENGTH = 91;
/** No certificate of ours comes near this. */
const CERTIFICATE_MAX_BYTES = 2048;
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  utf8: 0x0c,
  utc: 0x17,
  time: 0x18,
  sequence: 0x30,
  set: 0x31,
  dns: 0x82,
};

/** One DER value of at most 64 KiB. */
const der = (tag: number, ...parts: (Uint8Array | string)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const size = body.length;
  const head = size < 128 ? [tag, size] : size < 256 ? [tag, 0x81, size] : [tag, 0x82, size >> 8, size & 255];
  return Buffer.concat([Buffer.from(head), body]);
};

const oid = (hex: string): Buffer => Buffer.from(hex, 'hex');
const ECDSA_SHA256 = der(TAG.sequence, oid('06082a8648ce3d040302'));
const TRUE = der(TAG.boolean, Buffer.from([0xff]));

const extension = (id: string, critical: boolean, value: Buffer): Buffer =>
  der(TAG.sequence, oid(id), ...(critical ? [TRUE] : []), der(TAG.octets, value));
const commonName = (name: string): Buffer =>
  der(TAG.sequence, der(TAG.set, der(TAG.sequence, oid('0603550403'), der(TAG.utf8, name))));
const time = (ms: number): Buffer => {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return Number(digits.slice(0, 4)) < 2050 ? der(TAG.utc, digits.slice(2)) : der(TAG.time, digits);
};
const keyUsage = (unusedBits: number, bits: number): Buffer =>
  extension('0603551d0f', true, der(TAG.bits, Buffer.from([unusedBits, bits])));
const basicConstraints = (...value: Buffer[]): Buffer => extension('0603551d13', true, der(TAG.sequence, ...value));
const subjectName = (nodeId: string): Buffer =>
  extension('0603551d11', false, der(TAG.sequence, der(TAG.dns, `${nodeId}.${DOMAIN}`)));

interface Contents {
  readonly serial: Uint8Array;
  readonly issuer: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly spki: Buffer;
  readonly extensions: readonly Buffer[];
}

const toBeSigned = (contents: Contents): Buffer =>
  der(
    TAG.sequence,
    der(0xa0, der(TAG.integer, Buffer.from([2]))),
    der(TAG.integer, contents.serial),
    ECDSA_SHA256,
    commonName(contents.issuer),
    der(TAG.sequence, time(contents.fromMs), time(contents.toMs)),
    commonName(nodeIdOf(contents.spki)),
    contents.spki,
    der(0xa3, der(TAG.sequence, ...contents.extensions)),
  );

const signed = (tbs: Buffer, signature: Uint8Array): Buffer =>
  der(TAG.sequence, tbs, ECDSA_SHA256, der(TAG.bits, Buffer.from([0]), signature));

/** Everything in a machine's certificate but the signature: a pure function of its public key. */
const machineContents = (spki: Buffer): Buffer =>
  toBeSigned({
    serial: Buffer.from([1]),
    issuer: nodeIdOf(spki),
    fromMs: 0,
    toMs: Date.UTC(9999, 11, 31, 23, 59, 59),
    spki,
    extensions: [
      basicConstraints(TRUE, der(TAG.integer, Buffer.from([0]))),
      keyUsage(2, 0x84),
      extension('0603551d1e', true, der(TAG.sequence, der(0xa0, der(TAG.sequence, der(TAG.dns, DOMAIN))))),
      subjectName(nodeIdOf(spki)),
    ],
  });

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

/** A node's id: SHA-256 of its SPKI, first 20 bytes, lower-case base32. */
export const nodeIdOf = (spki: Uint8Array): string => {
  let bits = '';
  for (const byte of sha256(spki).subarray(0, 20)) bits += byte.toString(2).padStart(8, '0');
  return (bits.match(/.{5}/g) ?? []).map((five) => BASE32[Number.parseInt(five, 2)]).join('');
};

/** The pin: SHA-256 of a public key's SPKI, hex. */
export const spkiHashOf = (spki: Uint8Array): string => sha256(spki).toString('hex');

/** What people compare: SHA-256 of a certificate's DER, hex. */
export const fingerprintOf = (certificate: Uint8Array): string => sha256(certificate).toString('hex');

/** The SPKI of a P-256 key, private or public. `undefined` where the key is of another kind. */
export const spkiOf = (key: KeyObject): Buffer | undefined => {
  if (key.asymmetricKeyType !== 'ec') return undefined;
  const spki = (key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'der' });
  return spki.length === SPKI_LENGTH && spki.subarray(0, SPKI_HEAD.length).equals(SPKI_HEAD) ? spki : undefined;
};

/** DER as PEM. */
export const toPem = (certificate: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${(
    Buffer.from(certificate)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  ).join('\n')}\n-----END CERTIFICATE-----\n`;

/** A certificate whose key we can work with, read from bytes that anyone may have made. */
export interface ReadCertificate {
  readonly x509: X509Certificate;
  readonly spki: Buffer;
}

/** The certificate and its SPKI. `undefined` where the bytes are no certificate of a P-256 key, or above 2 KiB. */
export const readCertificate = (presented: X509Certificate | Uint8Array): ReadCertificate | undefined => {
  if (presented instanceof Uint8Array && presented.length > 2 * CERTIFICATE_MAX_BYTES) return undefined;
  try {
    const x509 = presented instanceof Uint8Array ? new X509Certificate(presented) : presented;
    const spki = x509.raw.length <= CERTIFICATE_MAX_BYTES ? spkiOf(x509.publicKey) : undefined;
    return spki === undefined ? undefined : { x509, spki };
  } catch {
    // Reading its key throws too where a stranger made it so.
    return undefined;
  }
};

/** True where `key` signed the certificate; a signature that can't be read is none. */
export const isSignedBy = (certificate: X509Certificate, key: KeyObject): boolean => {
  try {
    return certificate.verify(key);
  } catch {
    return false;
  }
};

/**
 * Builds a machine's certificate: the same bytes for the same key, for ever (RFC 6979), because peers pin them.
 * Slow (30 ms, loads the curve library): only where the stored one is lost.
 */
export const buildMachineCertificate = async (key: KeyObject): Promise<Buffer> => {
  const spki = spkiOf(key);
  const { d } = key.export({ format: 'jwk' });
  if (spki === undefined || d === undefined) throw new TypeError('a machine certificate needs a P-256 private key');
  const { p256 } = await import('@noble/curves/nist.js');
  const tbs = machineContents(spki);
  return signed(tbs, p256.sign(tbs, Buffer.from(d, 'base64url'), { prehash: true, lowS: false, format: 'der' }));
};

/**
 * The SPKI in a machine's certificate where every byte but the signature is as that key demands; else `undefined`.
 * Parses nothing: for certificates that were verified before they were stored.
 */
export const machineSpkiOf = (certificate: Buffer): Buffer | undefined => {
  const at = certificate.indexOf(SPKI_HEAD);
  const spki = at < 0 ? Buffer.alloc(0) : certificate.subarray(at, at + SPKI_LENGTH);
  if (spki.length !== SPKI_LENGTH || certificate.length > CERTIFICATE_MAX_BYTES) return undefined;
  const contents = machineContents(spki);
  const outerHead = 4;
  return certificate.subarray(outerHead, outerHead + contents.length).equals(contents) ? spki : undefined;
};

/** The certificate where it is a machine's: every byte as its key demands, signed by that key. Else `undefined`. */
export const readMachineCertificate = (bytes: Uint8Array): ReadCertificate | undefined => {
  const read = readCertificate(bytes);
  const isMachine = read !== undefined && machineSpkiOf(read.x509.raw)?.equals(read.spki) === true;
  return isMachine && isSignedBy(read.x509, read.x509.publicKey) ? read : undefined;
};

/** For how long before its making a session's certificate holds: clocks differ. */
const BACKDATED_MS = 2 * DAY_MS;
const SESSION_LIFE_MS = 30 * DAY_MS;
const SESSION_RENEWAL_MS = 15 * DAY_MS;

/** Issues a session's certificate: 30 days from `now` (ms since 1970), backdated by two, of no use to issue more. */
export const issueSessionCertificate = (machineKey: KeyObject, sessionKey: KeyObject, now: number): Buffer => {
  const [issuer, spki] = [spkiOf(machineKey), spkiOf(sessionKey)];
  if (issuer === undefined || spki === undefined) throw new TypeError('a session certificate needs P-256 keys');
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const tbs = toBeSigned({
    serial,
    issuer: nodeIdOf(issuer),
    fromMs: now - BACKDATED_MS,
    toMs: now + SESSION_LIFE_MS,
    spki,
    extensions: [basicConstraints(), keyUsage(7, 0x80), subjectName(nodeIdOf(spki))],
  });
  return signed(tbs, sign('sha256', tbs, machineKey));
};

/** True where a session's certificate is to be issued anew: half its life is over, or the clock was set far back. */
export const needsRenewal = (certificate: X509Certificate, now: number): boolean =>
  now < Date.parse(certificate.validFrom) || now > Date.parse(certificate.validTo) - SESSION_RENEWAL_MS;
