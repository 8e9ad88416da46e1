import { parseJson } from '../kernel/parse-json.ts';
import { grantInputSchema, type GrantInput } from '../protocol/grants.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { peerNameSchema } from '../protocol/ids.ts';
import type { Role } from './pairing-crypto.ts';
import type { PeerMachine } from './pairing-hello.ts';
import { bytes, exactly, list, oneOf, orNull, text, whole, within, write, type Fields } from './pairing-messages.ts';

/** What the person here chose with the yes. What is left out stays as it is, or as the trust book has it by default. */
export interface Wish {
  /** The other machine's name here. */
  readonly name?: string;
  readonly grant?: GrantInput;
  /** The machineId of the one whose place it takes: only by a person's explicit choice. */
  readonly replaces?: string;
}

/** Where the other machine was met: a host name or address, and the port of its node. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

/** What both sides know once the numbers are shown, and all that is needed to go on after a restart. */
export interface PairingFacts {
  readonly role: Role;
  /** This run: 64 hex digits; the record's key. */
  readonly id: string;
  /** What the requests call it: 16 bytes, base64url. */
  readonly attempt: string;
  /** The key of the tokens: secret, and worth nothing after the pairing. */
  readonly decideKey: Buffer;
  /** The machineId that the other side saw here. */
  readonly ownId: string;
  readonly peer: PeerMachine;
  readonly place?: Place;
  /** Wall time of M6, ms since 1970. */
  readonly startedAt: number;
}

/** What is on disk from the own yes until the pairing is settled. */
export interface PairingRecord extends PairingFacts {
  readonly stage: 'pending' | 'trusted';
  readonly wish: Wish;
  /** True where the key was trusted before: taking this pairing back leaves it. */
  readonly hadTrust: boolean;
}

const VERSION = 1;
const TEXT = text(/^.{1,255}$/s);

const MACHINE = {
  certificate: bytes({ max: 2048 }),
  machineId: text(/^[a-z2-7]{32}$/),
  name: TEXT,
  port: whole(1, 65_535),
  version: TEXT,
  features: list(TEXT),
};
const WISH = {
  name: orNull((value) => peerNameSchema.safeParse(value).data),
  grant: orNull((value) => grantInputSchema.safeParse(value).data),
  replaces: orNull(text(/^[a-z2-7]{32}$/)),
};
const RECORD = {
  v: exactly(VERSION),
  stage: oneOf('pending', 'trusted'),
  role: oneOf('joiner', 'host'),
  id: text(/^[0-9a-f]{64}$/),
  attempt: text(/^[\w-]{22}$/),
  decideKey: bytes({ size: 32 }),
  ownId: text(/^[a-z2-7]{32}$/),
  peer: within(MACHINE),
  place: orNull(within({ host: TEXT, port: whole(1, 65_535) })),
  startedAt: whole(0, Number.MAX_SAFE_INTEGER),
  wish: within(WISH),
  hadTrust: (value: unknown) => (typeof value === 'boolean' ? value : undefined),
};

/** A record as it is stored. It holds a secret: 0600, and deleted with the pairing. */
export const writePairingRecord = (record: PairingRecord): string => {
  const { stage, role, id, attempt, decideKey, ownId, peer, place, startedAt, wish, hadTrust } = record;
  const { certificate, machineId, name, port, version, features } = peer;
  return JSON.stringify({
    v: VERSION,
    stage,
    role,
    id,
    attempt,
    decideKey: write(decideKey),
    ownId,
    peer: { certificate: write(certificate), machineId, name, port, version, features },
    place: place ?? null,
    startedAt,
    wish: withNulls(wish),
    hadTrust,
  });
};

const withNulls = (wish: Wish) => ({
  name: wish.name ?? null,
  grant: wish.grant ?? null,
  replaces: wish.replaces ?? null,
});

/** A record that can't be read would undo a yes. @throws {LoopsyError} `invalid_request` for a wish that would make one. */
export const checkWish = (wish: Wish): void => {
  if (within(WISH)(withNulls(wish)) === undefined)
    throw new LoopsyError('invalid_request', { message: 'this name or grant can not be kept with a peer' });
};

/**
 * Reads a stored record.
 * @returns undefined where it is not whole, of another release, or of another identity of this machine: it is worth
 *   nothing then.
 */
export const readPairingRecord = (stored: string, ownId: string): PairingRecord | undefined => {
  const record = within(RECORD)(parseJson(stored));
  if (record?.ownId !== ownId) return undefined;
  const { v: _version, place, wish, ...facts } = record;
  return { ...facts, ...(place === null ? {} : { place }), wish: withoutNulls(wish) };
};

const withoutNulls = ({ name, grant, replaces }: Fields<typeof WISH>): Wish => ({
  ...(name === null ? {} : { name }),
  ...(grant === null ? {} : { grant }),
  ...(replaces === null ? {} : { replaces }),
});
