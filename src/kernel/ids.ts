import { randomFillSync } from 'node:crypto';

import type { Clock } from './clock.ts';

/** Asking the system for each id would cost more than the rest of making it. */
const pool = Buffer.alloc(4096);
let taken = pool.length;

const randomSlice = (bytes: number): Buffer => {
  if (bytes > pool.length) return randomFillSync(Buffer.alloc(bytes));
  if (taken + bytes > pool.length) {
    randomFillSync(pool);
    taken = 0;
  }
  taken += bytes;
  return pool.subarray(taken - bytes, taken);
};

/** `bytes` random bytes of the system's generator as lower-case hex: twice as many characters. Not for secrets. */
export const randomHex = (bytes: number): string => randomSlice(bytes).toString('hex');

/** Crockford's base 32, lower case. */
const DIGITS = '0123456789abcdefghjkmnpqrstvwxyz';
const TIME_DIGITS = 10;
const RANDOM_DIGITS = 16;

interface Newest {
  atMs: number;
  /** Of base 32, the most significant first. */
  readonly random: Uint8Array;
}

const newest = new WeakMap<Pick<Clock, 'now'>, Newest>();

/** The next number; one that overflows makes the time one ms later. */
const increment = (last: Newest): void => {
  for (let at = RANDOM_DIGITS - 1; at >= 0; at -= 1) {
    const digit = ((last.random[at] ?? 0) + 1) % 32;
    last.random[at] = digit;
    if (digit !== 0) return;
  }
  last.atMs += 1;
};

const timeDigits = (ms: number): string => {
  let text = '';
  for (let rest = ms, at = 0; at < TIME_DIGITS; at += 1, rest = Math.floor(rest / 32))
    text = DIGITS.charAt(rest % 32) + text;
  return text;
};

/**
 * A new id: 26 characters of Crockford's base32, 48 bits of wall time (ms) and 80 random bits. Ids of one clock sort in
 * the order they were made, within a ms and after the clock was set back too.
 */
export const timeId = (clock: Pick<Clock, 'now'>): string => {
  const now = Math.trunc(clock.now());
  const last = newest.get(clock) ?? { atMs: -1, random: new Uint8Array(RANDOM_DIGITS) };
  newest.set(clock, last);
  if (now > last.atMs) {
    last.atMs = now;
    last.random.set(randomSlice(RANDOM_DIGITS).map((byte) => byte & 31));
  } else {
    increment(last);
  }
  let text = timeDigits(last.atMs);
  for (const digit of last.random) text += DIGITS.charAt(digit);
  return text;
};

/** When an id was made, ms by the clock that it was made with. */
export const timeOf = (id: string): number => {
  let ms = 0;
  for (const digit of id.slice(0, TIME_DIGITS)) ms = ms * 32 + DIGITS.indexOf(digit);
  return ms;
};
