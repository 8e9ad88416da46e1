import * as crypto from 'node:crypto';
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const KEY_ID_LENGTH = 16;
const CHALLENGE = /^([0-9a-f]{16})\.([0-9a-f]{32})$/;

/** SHA-256 of a token, hex: what is stored in its place, and the key of its proofs. */
export const hashToken = (token: string): string =>
  // In one step where Node has that (20.12): it is asked for with each request.
  typeof crypto.hash === 'function'
    ? crypto.hash('sha256', token, 'hex')
    : createHash('sha256').update(token).digest('hex');

const hmac = (tokenHash: string, text: string): string =>
  createHmac('sha256', Buffer.from(tokenHash, 'hex')).update(text).digest('hex');

/** The public identifier of a token, 16 hex digits: says which token is meant and nothing about it. */
export const keyIdOf = (tokenHash: string): string => hmac(tokenHash, 'loopsy key id').slice(0, KEY_ID_LENGTH);

const proofOf = (tokenHash: string, nonce: string, port: number): string =>
  hmac(tokenHash, `loopsy proof ${nonce} ${port}`);

/** Compares two texts in constant time; texts of unequal length differ. */
export const equalInConstantTime = (one: string, other: string): boolean => {
  const a = Buffer.from(one);
  const b = Buffer.from(other);
  return a.length === b.length && timingSafeEqual(a, b);
};

/** A client's question to whoever answers on a port, asked before it sends its token there. */
export interface Challenge {
  /** The header's value: `<key id>.<nonce>`. */
  readonly header: string;
  readonly nonce: string;
}

/** Makes a question that only a holder of the token, or of its hash, can answer. */
export const newChallenge = (token: string): Challenge => {
  const nonce = randomBytes(16).toString('hex');
  return { header: `${keyIdOf(hashToken(token))}.${nonce}`, nonce };
};

/** How a node answers a question. */
export interface ChallengeAnswer {
  /** The port at this node's end of the connection: an answer fetched through another port is worthless. */
  readonly localPort: number;
  /** The hash of the live token that has this key id, if any. */
  readonly findHash: (keyId: string) => string | undefined;
}

/** The node's side. @returns the proof, hex; `undefined` where the question is malformed or no such token lives here. */
export const answerChallenge = (header: string, { localPort, findHash }: ChallengeAnswer): string | undefined => {
  const [, keyId, nonce] = CHALLENGE.exec(header) ?? [];
  if (keyId === undefined || nonce === undefined) return undefined;
  const tokenHash = findHash(keyId);
  return tokenHash === undefined ? undefined : proofOf(tokenHash, nonce, localPort);
};

/** What a client checks before it sends its token. */
export interface ProofCheck {
  readonly token: string;
  /** Of its own question. */
  readonly nonce: string;
  /** The port that the client dialled. */
  readonly port: number;
}

/** The client's side: true where the answer proves that the other end of this connection holds the token. */
export const verifyProof = (proof: string | undefined, { token, nonce, port }: ProofCheck): boolean =>
  proof !== undefined && equalInConstantTime(proof, proofOf(hashToken(token), nonce, port));
