import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';

import { lv, scheduleOf, transcriptOf, type Password, type Spake2 } from './spake2.ts';

/** Who a party is in a pairing: the joiner enters the code that the host shows. */
export type Role = 'joiner' | 'host';

/** What a party says in the end. `trusts`: it has stored its trust. */
export type Word = 'yes' | 'no' | 'trusts';

/** The other role. */
export const otherRole = (role: Role): Role => (role === 'joiner' ? 'host' : 'joiner');

const WORDS: readonly Word[] = ['yes', 'no', 'trusts'];
const CODE_BYTES = 48;
const KEY_BYTES = 32;
const TAG_BYTES = 16;
/** Each key seals one message, so no nonce is ever used twice. */
const NONCE = Buffer.alloc(12);
const SAS_LIMIT = 1_000_000n;

/** Every label carries the version: no value of one version means anything in another. */
const label = (text: string): Buffer => Buffer.from(`loopsy pair 1 ${text}`);

/** SHA-256 over a label and fields, each behind its length. */
export const pairingHash = (name: string, ...fields: readonly Uint8Array[]): Buffer =>
  createHash('sha256')
    .update(lv(label(name), ...fields))
    .digest();

/** Compares in constant time; bytes of unequal length differ. */
export const equalBytes = (one: Uint8Array, other: Uint8Array): boolean =>
  one.length === other.length && timingSafeEqual(one, other);

/** The password that a code's secret means. Costs two multiplications: once for each code. */
export const passwordOf = (spake2: Spake2, secret: Uint8Array): Password =>
  spake2.password(Buffer.from(hkdfSync('sha512', secret, '', label('w'), CODE_BYTES)));

/** What both sides have seen of a run once M2 is there, and the point K that they computed. */
export interface RunParts {
  readonly attempt: Uint8Array;
  readonly shareJoiner: Uint8Array;
  readonly shareHost: Uint8Array;
  readonly secret: Uint8Array;
  readonly password: Password;
}

/** The keys of one run: in memory only, never in a log or an answer. */
export class RunKeys {
  /** Names this run: 32 bytes that depend on both shares. */
  readonly run: Buffer;
  /** What proves to the host that the joiner knows the code, and the reverse. */
  readonly confirmJoiner: Buffer;
  readonly confirmHost: Buffer;
  readonly #ke: Buffer;
  readonly #sealed = new Set<string>();

  constructor({ attempt, shareJoiner, shareHost, secret, password }: RunParts) {
    this.run = pairingHash('run', attempt, shareJoiner, shareHost);
    const transcript = transcriptOf({
      nameA: label('joiner'),
      nameB: label('host'),
      shareA: shareJoiner,
      shareB: shareHost,
      secret,
      w: password.w,
    });
    const { ke, confirmA, confirmB } = scheduleOf(transcript, this.run);
    this.#ke = ke;
    this.confirmJoiner = confirmA;
    this.confirmHost = confirmB;
  }

  /** The key of the tokens: the one secret of a run that is stored. */
  get decideKey(): Buffer {
    return this.#derive('decide');
  }

  /** Seals the one message of its kind. @throws {TypeError} for a second one: it would share the first one's nonce. */
  seal(kind: string, message: Uint8Array): Buffer {
    if (this.#sealed.has(kind)) throw new TypeError(`"${kind}" was sealed already`);
    this.#sealed.add(kind);
    const cipher = createCipheriv('aes-256-gcm', this.#derive(kind), NONCE, { authTagLength: TAG_BYTES });
    cipher.setAAD(this.run);
    return Buffer.concat([cipher.update(message), cipher.final(), cipher.getAuthTag()]);
  }

  /** The message in a box; `undefined` where it is not exactly what the other side sealed in this run. */
  open(kind: string, box: Uint8Array): Buffer | undefined {
    if (box.length < TAG_BYTES) return undefined;
    const split = box.length - TAG_BYTES;
    // Without authTagLength a tag of 4 bytes would do.
    const decipher = createDecipheriv('aes-256-gcm', this.#derive(kind), NONCE, { authTagLength: TAG_BYTES });
    decipher.setAAD(this.run);
    decipher.setAuthTag(box.subarray(split));
    try {
      return Buffer.concat([decipher.update(box.subarray(0, split)), decipher.final()]);
    } catch {
      // Forged, or of another run.
      return undefined;
    }
  }

  /** The six digits that people compare: over the plaintext of all that the two told each other. */
  sas(helloJoiner: Uint8Array, helloHost: Uint8Array, nonceJoiner: Uint8Array): string {
    const salt = pairingHash('sas', this.run, helloJoiner, helloHost, nonceJoiner);
    const bytes = Buffer.from(hkdfSync('sha256', this.#derive('sas'), salt, label('sas digits'), 8));
    return (bytes.readBigUInt64BE() % SAS_LIMIT).toString().padStart(6, '0');
  }

  #derive(name: string): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#ke, this.run, label(name), KEY_BYTES));
  }
}

/** The token that says a word: only the two of a run can make it, and a repeat says nothing new. */
export const tokenOf = (decideKey: Uint8Array, who: Role, word: Word): Buffer =>
  createHmac('sha256', decideKey)
    .update(label(`${who} ${word}`))
    .digest();

/** The word that a token of `who` says; `undefined` for whatever is none of its tokens. */
export const wordOf = (decideKey: Uint8Array, who: Role, token: Uint8Array): Word | undefined =>
  WORDS.find((word) => equalBytes(tokenOf(decideKey, who, word), token));
