import { sign, verify, type KeyObject } from 'node:crypto';

import { parseJson } from '../kernel/parse-json.ts';
import { nodeIdSchema } from '../protocol/ids.ts';
import { nodeIdOf, readMachineCertificate } from './certificates.ts';
import { pairingHash, type Role } from './pairing-crypto.ts';
import { bytes, list, readFields, suspect, text, whole, write, type Fields } from './pairing-messages.ts';

/** Who this machine is, and what it says of itself. */
export interface OwnMachine {
  /** DER of the machine's certificate. */
  readonly certificate: Buffer;
  /** Of the machine: only its node pairs. */
  readonly privateKey: KeyObject;
  readonly machineId: string;
  /** A proposal: the other side chooses. */
  readonly name: string;
  readonly port: number;
  readonly version: string;
  readonly features: readonly string[];
}

/** What the other machine proved, and what it says of itself. */
export interface PeerMachine {
  /** DER; proved: it signed this run with the key in it. */
  readonly certificate: Buffer;
  readonly machineId: string;
  /** A name that could be its name here. It proposes; the person decides. */
  readonly name: string;
  readonly port: number;
  readonly version: string;
  readonly features: readonly string[];
}

const CERTIFICATE_MAX_BYTES = 2048;
const HASH = bytes({ size: 32 });
/** The machine's own facts. Fields that a later version adds are signed and hashed with the rest, and not read. */
const CORE = {
  cert: bytes({ max: CERTIFICATE_MAX_BYTES }),
  name: text(/^[a-z0-9-]{1,63}$/),
  port: whole(1, 65_535),
  version: text(/^[0-9A-Za-z.+-]{1,64}$/),
  features: list(text(/^[a-z0-9:._-]{1,64}$/)),
};
/** A text that is the same once it went through UTF-8: no halves of surrogate pairs. */
const HELLO = { core: text(/^\P{Surrogate}*$/su), sig: bytes({ max: 80 }) };
/** What a core holds beside them: a joiner fixes its nonce; a host shows its own, and which hello it saw. */
const EXTRAS = { joiner: { commit: HASH }, host: { nonce: HASH, seen: HASH } } as const;

/** What a signature is over: this run, and the text as it is sent. */
const signedPart = (role: Role, run: Uint8Array, core: string): Buffer =>
  pairingHash(`hello ${role}`, run, Buffer.from(core));

/** A hello: what this machine says of itself, signed for this run alone. `extras` is what its role adds. */
export const makeHello = (
  role: Role,
  run: Uint8Array,
  { own, extras }: { own: OwnMachine; extras: Readonly<Record<string, Uint8Array>> },
): Buffer => {
  const { certificate, name, port, version, features } = own;
  const written = Object.fromEntries(Object.entries(extras).map(([key, value]) => [key, write(value)]));
  const core = JSON.stringify({ cert: write(certificate), name, port, version, features, ...written });
  return Buffer.from(JSON.stringify({ core, sig: write(sign('sha256', signedPart(role, run, core), own.privateKey)) }));
};

/** The machine whose certificate this is: all of these bytes, and each as its key demands. */
const readMachine = (certificate: Buffer): { machineId: string; publicKey: KeyObject } => {
  const read = readMachineCertificate(certificate);
  // Node reads PEM as well, and ignores what follows.
  if (read === undefined || !read.x509.raw.equals(certificate))
    throw suspect('certificate', 'what the other side sent is not the certificate of a loopsy machine');
  return { machineId: nodeIdOf(read.spki), publicKey: read.x509.publicKey };
};

/** What a hello says, and the parts of its core that its role adds. */
export interface Hello<R extends Role> {
  readonly peer: PeerMachine;
  readonly extras: Fields<(typeof EXTRAS)[R]>;
}

/**
 * Reads and proves a hello of this run.
 * @throws {LoopsyError} `invalid_request` where it is malformed, its certificate none, or its signature of another
 *   key, run or role.
 */
export const readHello = <R extends Role>(role: R, run: Uint8Array, hello: Uint8Array): Hello<R> => {
  const { core, sig } = readFields(parseJson(decode(hello)), HELLO);
  const parsed = parseJson(core);
  const { cert, name, ...facts } = readFields(parsed, CORE, { extra: true });
  const extras = readFields(parsed, EXTRAS[role], { extra: true });
  const { machineId, publicKey } = readMachine(cert);
  if (!verify('sha256', signedPart(role, run, core), publicKey, sig))
    throw suspect('signature', 'the other side does not hold the key of the certificate that it sent');
  return { peer: { ...facts, certificate: cert, machineId, name: localNameOf(name) }, extras };
};

const decode = (hello: Uint8Array): string => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(hello);
  } catch {
    throw suspect('hello', 'what the other side sent is not text');
  }
};

/** A proposed name as a peer can have it here: no dash at its ends, not like an id; `peer` where nothing is left. */
export const localNameOf = (proposal: string): string => {
  const name = proposal.replaceAll(/^-+|-+$/g, '');
  return name === '' || nodeIdSchema.safeParse(name).success ? 'peer' : name;
};
