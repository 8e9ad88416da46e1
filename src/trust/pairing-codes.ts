import { randomBytes, randomInt } from 'node:crypto';

import { nodeIdSchema } from '../protocol/ids.ts';
import type { RandomBytes } from './spake2.ts';

/** What a person reads from one screen and enters on the other. */
export type Code =
  | { readonly kind: 'digits'; readonly secret: Buffer }
  /** Nothing to guess, and it names the machine that made it. */
  | { readonly kind: 'invitation'; readonly secret: Buffer; readonly nodeId: string };

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';
const SECRET_BYTES = 16;
const INVITATION = /^loopsy-([a-z2-7]{32})-([a-z2-7]{26})$/;

/** A code of so many random digits. People would choose 123456. */
export const newDigits = (digits: 6 | 9, random: (limit: number) => number = randomInt): string =>
  random(10 ** digits)
    .toString()
    .padStart(digits, '0');

/** 128 bits as 26 characters; the last one carries three of them. */
const toBase32 = (secret: Uint8Array): string => {
  let bits = '';
  for (const byte of secret) bits += byte.toString(2).padStart(8, '0');
  const fives = bits.padEnd(130, '0').match(/.{5}/g) ?? [];
  return fives.map((five) => BASE32[Number.parseInt(five, 2)]).join('');
};

const fromBase32 = (text: string): Buffer => {
  let bits = '';
  for (const character of text) bits += BASE32.indexOf(character).toString(2).padStart(5, '0');
  return Buffer.from((bits.slice(0, SECRET_BYTES * 8).match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
};

/** An invitation of this machine: a secret of 128 bits, and whom it leads to. */
export const newInvitation = (nodeId: string, random: RandomBytes = randomBytes): string =>
  `loopsy-${nodeIdSchema.parse(nodeId)}-${toBase32(random(SECRET_BYTES))}`;

/**
 * Reads what a person entered: 6 or 9 digits, or an invitation; spaces, and dashes between digits, are theirs.
 * @returns undefined where it is neither.
 */
export const parseCode = (entered: string): Code | undefined => {
  const text = entered.replaceAll(/\s/g, '').toLowerCase();
  const digits = text.replaceAll('-', '');
  if (/^(?:[0-9]{6}|[0-9]{9})$/.test(digits)) return { kind: 'digits', secret: Buffer.from(digits) };
  const [, nodeId, tail] = INVITATION.exec(text) ?? [];
  if (nodeId === undefined || tail === undefined) return undefined;
  const secret = fromBase32(tail);
  // One secret has one form.
  return toBase32(secret) === tail ? { kind: 'invitation', secret, nodeId } : undefined;
};
