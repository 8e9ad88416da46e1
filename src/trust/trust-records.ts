import { createPublicKey, type KeyObject } from 'node:crypto';

import { grantSchema, type Grant } from '../protocol/grants.ts';
import { peerNameSchema } from '../protocol/ids.ts';
import { fingerprintOf, machineSpkiOf, nodeIdOf, spkiHashOf } from './certificates.ts';

/** The version that this release writes; a record of a newer one is left alone, and grants nothing. */
const VERSION = 1;

/** Where each kind of record lies in `trust.db`. */
export const KEYS = {
  machine: 'machine/',
  goneMachine: 'gone-machine/',
  metPin: 'met-pin/',
  pinGrant: 'grant-pin/',
  key: 'key/',
  goneKey: 'gone-key/',
  keyGrant: 'grant-key/',
  agentGrant: 'grant-agent',
  /** Pairings under way: what the person here said yes to. */
  pairing: 'pairing/',
  /** Changed by each commit, so that two processes never decide on the same state. */
  book: 'book',
} as const;

/** A machine whose key is pinned. */
export interface Machine {
  /** Its nodeId. */
  readonly machineId: string;
  /** Local and unique here. */
  readonly name: string;
  readonly fingerprint: string;
  readonly spkiHash: string;
  /** DER. */
  readonly certificate: Buffer;
  readonly publicKey: () => KeyObject;
  readonly grant: Grant;
  /** `config`: from `tls.pinnedCerts`; `own`: this machine, whose sessions are peers of each other. */
  readonly source: 'paired' | 'config' | 'own';
  /** ms since 1970; unknown for a pin of the config. */
  readonly addedAt?: number;
}

/** What a stored machine holds beside its certificate. */
export interface MachineFacts {
  readonly name: string;
  readonly grant: Grant;
  readonly source: Machine['source'];
  readonly addedAt?: number;
}

/** Builds a machine from its certificate; `undefined` where that is none of a machine. */
export const machineOf = (certificate: Buffer, facts: MachineFacts): Machine | undefined => {
  const spki = machineSpkiOf(certificate);
  if (spki === undefined) return undefined;
  let publicKey: KeyObject | undefined;
  return {
    ...facts,
    certificate,
    machineId: nodeIdOf(spki),
    fingerprint: fingerprintOf(certificate),
    spkiHash: spkiHashOf(spki),
    publicKey: () => (publicKey ??= createPublicKey({ key: spki, format: 'der', type: 'spki' })),
  };
};

/** A machine that was removed: it is told so, and a pin of the config does not bring it back. */
export interface GoneMachine {
  readonly fingerprint: string;
  /** There where its certificate was known. */
  readonly machine: Machine | undefined;
  /** True where the config pinned it when it was removed. */
  readonly blocksPin: boolean;
  readonly removedAt: number;
}

/** A program's key. Only its hash is known here. */
export interface NamedKey {
  readonly name: string;
  readonly keyHash: string;
  readonly kind: 'named' | 'config';
  readonly grant: Grant;
  readonly createdAt?: number;
}

/** A key that was revoked. */
export interface GoneKey {
  readonly keyHash: string;
  readonly blocksConfig: boolean;
  readonly revokedAt: number;
}

/** A record that can't be used, and why. */
class BadRecord extends Error {
  override readonly name = 'BadRecord';
}

type Fields = Readonly<Record<string, unknown>>;

const fieldsOf = (value: string): Fields => {
  const parsed: unknown = JSON.parse(value);
  if (typeof parsed !== 'object' || parsed === null || !('v' in parsed)) throw new BadRecord('not a record');
  if (parsed.v !== VERSION) throw new BadRecord(`version ${String(parsed.v)}, of another release`);
  return { ...parsed };
};

const text = (fields: Fields, name: string): string => {
  const value = fields[name];
  if (typeof value !== 'string' || value === '') throw new BadRecord(`no ${name}`);
  return value;
};

const time = (fields: Fields, name: string): number => {
  const value = fields[name];
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new BadRecord(`no ${name}`);
  return value;
};

const grant = (fields: Fields): Grant => {
  const parsed = grantSchema.safeParse(fields['grant']);
  if (!parsed.success) throw new BadRecord('no grant');
  return parsed.data;
};

const machine = (fields: Fields, facts: MachineFacts): Machine => {
  const read = machineOf(Buffer.from(text(fields, 'certificate'), 'base64'), facts);
  if (read === undefined) throw new BadRecord('no certificate of a machine');
  return read;
};

const write = (fields: Fields): string => JSON.stringify({ v: VERSION, ...fields });

const NOBODY: MachineFacts = { name: '', grant: { level: 'observe', scopes: [], reach: [] }, source: 'paired' };

/** How each kind is read: `id` is what follows the prefix. @throws where the record is not whole. */
export const READ = {
  machine: (value: string, id: string): Machine => {
    const fields = fieldsOf(value);
    const name = peerNameSchema.safeParse(fields['name']);
    if (!name.success) throw new BadRecord('no name');
    const read = machine(fields, {
      name: name.data,
      grant: grant(fields),
      source: 'paired',
      addedAt: time(fields, 'addedAt'),
    });
    if (read.machineId !== id) throw new BadRecord('the certificate is of another machine');
    return read;
  },
  goneMachine: (value: string, fingerprint: string): GoneMachine => {
    const fields = fieldsOf(value);
    return {
      fingerprint,
      machine: fields['certificate'] === undefined ? undefined : machine(fields, NOBODY),
      blocksPin: fields['blocksPin'] !== false,
      removedAt: time(fields, 'removedAt'),
    };
  },
  metPin: (value: string, fingerprint: string): Machine => {
    const read = machine(fieldsOf(value), { ...NOBODY, source: 'config' });
    if (read.fingerprint !== fingerprint) throw new BadRecord('the certificate is of another machine');
    return read;
  },
  grant: (value: string): Grant => grant(fieldsOf(value)),
  key: (value: string, name: string): NamedKey => {
    const fields = fieldsOf(value);
    const keyHash = text(fields, 'keyHash');
    if (!/^[0-9a-f]{64}$/.test(keyHash)) throw new BadRecord('no hash');
    return { name, keyHash, kind: 'named', grant: grant(fields), createdAt: time(fields, 'createdAt') };
  },
  goneKey: (value: string, keyHash: string): GoneKey => {
    const fields = fieldsOf(value);
    return { keyHash, blocksConfig: fields['blocksConfig'] !== false, revokedAt: time(fields, 'revokedAt') };
  },
} as const;

/** How each kind is written. */
export const WRITE = {
  machine: ({ name, certificate, grant, addedAt }: Machine): string =>
    write({ name, certificate: certificate.toString('base64'), grant, addedAt }),
  goneMachine: (gone: GoneMachine): string =>
    write({
      certificate: gone.machine?.certificate.toString('base64'),
      blocksPin: gone.blocksPin,
      removedAt: gone.removedAt,
    }),
  metPin: (certificate: Buffer): string => write({ certificate: certificate.toString('base64') }),
  grant: (value: Grant): string => write({ grant: value }),
  key: ({ keyHash, grant, createdAt }: NamedKey): string => write({ keyHash, grant, createdAt }),
  goneKey: ({ blocksConfig, revokedAt }: GoneKey): string => write({ blocksConfig, revokedAt }),
} as const;
