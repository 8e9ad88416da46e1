import { createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';

import type { p256 } from '@noble/curves/nist.js';

type Curve = typeof p256;
type Point = InstanceType<Curve['Point']>;

/** `a` masks its share with M, `b` with N (RFC 9382 §3.3). In a pairing `a` is the joiner, `b` the host. */
export type Side = 'a' | 'b';

/** Random bytes from the system, or from a test. */
export type RandomBytes = (size: number) => Uint8Array;

/** A password as both sides use it: its scalar, 32 bytes big-endian, and the two masks made of it once. */
export interface Password {
  readonly w: Buffer;
  readonly wM: Point;
  readonly wN: Point;
}

/** One side's share of one run. `secret` never leaves memory. */
export interface Share {
  readonly secret: bigint;
  /** 65 bytes, as it is sent. */
  readonly bytes: Buffer;
}

/** A P-256 point as it is sent: uncompressed, so that each point has one form. */
const POINT_BYTES = 65;
const UNCOMPRESSED = 4;
/** 128 bits more than the order of the group has: the bias that is left is 2⁻¹²⁸. */
const SCALAR_SOURCE_BYTES = 48;
/** RFC 9382 §6, for P-256. */
const M = '02886e2f97ace46e55ba9dd7242579f2993b64e16ef3dcab95afd497333d8fa12f';
const N = '03d8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49';

const toBigInt = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);

/** SPAKE2 over P-256 (RFC 9382). Load it once a pairing begins: the curve library costs 50 ms. */
export class Spake2 {
  readonly #curve: Curve;
  readonly #m: Point;
  readonly #n: Point;
  readonly #random: RandomBytes;

  private constructor(curve: Curve, random: RandomBytes) {
    this.#curve = curve;
    this.#m = curve.Point.fromHex(M);
    this.#n = curve.Point.fromHex(N);
    this.#random = random;
  }

  /** Loads the curve and makes its tables, so that no stranger's request waits for them. */
  static async load(random: RandomBytes = randomBytes): Promise<Spake2> {
    const { p256 } = await import('@noble/curves/nist.js');
    p256.Point.BASE.multiply(2n);
    return new Spake2(p256, random);
  }

  /** The password that 48 bytes of a key derivation mean. */
  password(source: Uint8Array): Password {
    const scalar = this.#scalar(source);
    if (scalar === undefined) throw new RangeError('a password of zero masks nothing');
    const w = Buffer.from(scalar.toString(16).padStart(64, '0'), 'hex');
    return { w, wM: this.#m.multiply(scalar), wN: this.#n.multiply(scalar) };
  }

  /** A fresh share: x·G + w·M for `a`, y·G + w·N for `b`. */
  share(password: Password, side: Side): Share {
    const mask = side === 'a' ? password.wM : password.wN;
    for (;;) {
      const secret = this.#scalar(this.#random(SCALAR_SOURCE_BYTES));
      // Zero and the identity come up once in 2²⁵⁵ draws, and can't be used.
      if (secret === undefined) continue;
      const point = this.#curve.Point.BASE.multiply(secret).add(mask);
      if (!point.is0()) return { secret, bytes: Buffer.from(point.toBytes(false)) };
    }
  }

  /** True for 65 bytes that begin with 04 and are a point of the curve. The identity has no such form. */
  isShare(bytes: Uint8Array): boolean {
    return this.#point(bytes) !== undefined;
  }

  /**
   * The secret that both sides have in common, K, as 65 bytes: own secret × (their share without its mask).
   * `undefined` where their share is none, or nothing but the mask.
   */
  agree(password: Password, run: { side: Side; own: Share; theirs: Uint8Array }): Buffer | undefined {
    const unmasked = this.#point(run.theirs)?.subtract(run.side === 'a' ? password.wN : password.wM);
    if (unmasked === undefined || unmasked.is0()) return undefined;
    return Buffer.from(unmasked.multiply(run.own.secret).toBytes(false));
  }

  #point(bytes: Uint8Array): Point | undefined {
    // The library takes compressed points too.
    if (bytes.length !== POINT_BYTES || bytes[0] !== UNCOMPRESSED) return undefined;
    try {
      const point = this.#curve.Point.fromBytes(bytes);
      point.assertValidity();
      return point;
    } catch {
      // Not on the curve.
      return undefined;
    }
  }

  #scalar(source: Uint8Array): bigint | undefined {
    if (source.length !== SCALAR_SOURCE_BYTES) throw new RangeError(`a scalar is made of ${SCALAR_SOURCE_BYTES} bytes`);
    const scalar = toBigInt(source) % this.#curve.Point.Fn.ORDER;
    return scalar === 0n ? undefined : scalar;
  }
}

/** Each field behind its length as u64 little-endian: no two lists of fields give the same bytes. */
export const lv = (...fields: readonly Uint8Array[]): Buffer =>
  Buffer.concat(
    fields.flatMap((field) => {
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(field.length));
      return [length, field];
    }),
  );

/** What a transcript is made of. */
export interface TranscriptParts {
  readonly nameA: Uint8Array;
  readonly nameB: Uint8Array;
  readonly shareA: Uint8Array;
  readonly shareB: Uint8Array;
  /** K. */
  readonly secret: Uint8Array;
  readonly w: Uint8Array;
}

/** The transcript TT (RFC 9382 §3.3). Its SHA-256 is the key itself: never log, show or sign it. */
export const transcriptOf = ({ nameA, nameB, shareA, shareB, secret, w }: TranscriptParts): Buffer =>
  lv(nameA, nameB, shareA, shareB, secret, w);

/** What a transcript yields (RFC 9382 §4). */
export interface Schedule {
  /** 16 bytes, for what the two do next. */
  readonly ke: Buffer;
  readonly ka: Buffer;
  readonly confirmKeyA: Buffer;
  readonly confirmKeyB: Buffer;
  /** What each side sends to prove that it knows the password: 32 bytes. */
  readonly confirmA: Buffer;
  readonly confirmB: Buffer;
}

/** The keys and confirmations of a transcript; `context` is what the two bind them to. */
export const scheduleOf = (transcript: Uint8Array, context: Uint8Array): Schedule => {
  const key = createHash('sha256').update(transcript).digest();
  const [ke, ka] = [key.subarray(0, 16), key.subarray(16)];
  const info = Buffer.concat([Buffer.from('ConfirmationKeys'), context]);
  const keys = Buffer.from(hkdfSync('sha256', ka, '', info, 32));
  const [confirmKeyA, confirmKeyB] = [keys.subarray(0, 16), keys.subarray(16)];
  const confirm = (one: Uint8Array): Buffer => createHmac('sha256', one).update(transcript).digest();
  return { ke, ka, confirmKeyA, confirmKeyB, confirmA: confirm(confirmKeyA), confirmB: confirm(confirmKeyB) };
};
