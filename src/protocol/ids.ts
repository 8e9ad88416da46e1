import { z } from 'zod';

import { isHost } from './names.ts';

/** A node's id: SHA-256 of its public key (SPKI), first 20 bytes, lower-case base32: 32 characters. */
export const nodeIdSchema = z.string().regex(/^[a-z2-7]{32}$/, 'a nodeId has 32 characters of a–z and 2–7');

/** SHA-256 of a machine certificate's DER in hex; colons are allowed and dropped. */
export const fingerprintSchema = z
  .string()
  .transform((text) => text.replaceAll(':', '').toLowerCase())
  .pipe(z.string().regex(/^[0-9a-f]{64}$/, 'a fingerprint has 64 hex digits'));

/** An id of something that began: sortable by time, 26 characters of Crockford's base32. */
export const timeIdSchema = (what: string): z.ZodString =>
  z.string().regex(/^[0-9a-hjkmnp-tv-z]{26}$/, `a ${what} id has 26 characters`);

/** A job's id. */
export const jobIdSchema = timeIdSchema('job');

/** The id of one effect, made by the first node: 32 hex digits. */
export const requestIdSchema = z.string().regex(/^[0-9a-f]{32}$/, 'a request id has 32 hex digits');

/** A peer's local name. */
export const peerNameSchema = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'a name has 1–63 of a–z, 0–9 and -');

/** The name of a named key. */
export const keyNameSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/i, 'a key name has 1–63 of letters, digits, dot, dash and underscore');

/** An agent's label. */
export const labelSchema = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'a label has 1–32 of a–z, 0–9 and -');

/** How a peer is named by a person: name, nodeId prefix (≥ 4) or address. */
export const peerRefSchema = z.string().min(1).max(300);

/** A TCP port. */
export const portSchema = z.int().min(1).max(65_535);

/** A host name or an address without a port. */
export const hostSchema = z
  .string()
  .min(1)
  .max(255)
  .refine(isHost, 'not a host name or an IP address, which is what an address without its port is');
