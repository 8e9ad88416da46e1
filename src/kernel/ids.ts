import { randomBytes } from 'node:crypto';

import type { Clock } from './clock.ts';

/** `bytes` random bytes of the system's generator as lower-case hex: twice as many characters. */
export const randomHex = (bytes: number): string => randomBytes(bytes).toString('hex');

/** The digits of base 32 as JavaScript writes them (0–9, a–v), and Crockford's, lower case, in the same order. */
const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';

const newest = new WeakMap<Clock, bigint>();

/**
 * A new id: 26 characters of Crockford's base32, 48 bits of wall time (ms) and 80 random bits. Ids of one clock sort in
 * the order they were made, within a ms and after the clock was set back too.
 */
export const timeId = (clock: Clock): string => {
  const fresh = (BigInt(Math.trunc(clock.now())) << 80n) | BigInt(`0x${randomHex(10)}`);
  const last = newest.get(clock) ?? 0n;
  const id = fresh > last ? fresh : last + 1n;
  newest.set(clock, id);
  return id
    .toString(32)
    .padStart(26, '0')
    .replaceAll(/[a-v]/g, (digit) => CROCKFORD.charAt(Number.parseInt(digit, 32)));
};
