import { z } from 'zod';

import { pageInput, pageOutput } from './page.ts';
import { isStorable, utf8Length } from './text.ts';

/** The most bytes of UTF-8 that a value has. */
export const MAX_VALUE_BYTES = 1_048_576;
const MAX_KEY_BYTES = 512;

const keyText = z
  .string()
  .refine((text) => utf8Length(text) <= MAX_KEY_BYTES, 'a key has at most 512 bytes')
  .refine(isStorable, 'a key is text without NUL');
const keySchema = keyText.refine((text) => text !== '', 'a key has at least one character');
const TTL_WORDS = 'a time to live is 1 s to 315360000 s (ten years)';
const ttlSchema = z.int(TTL_WORDS).min(1, TTL_WORDS).max(315_360_000, TTL_WORDS);
const revisionSchema = z.int().min(0);
const revisionInput = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** One entry of a node's context. */
export const entrySchema = z.object({
  key: z.string(),
  value: z.string(),
  fromNodeId: z.string().describe('the node that wrote it'),
  agent: z.string().optional().describe('the agent there, or the named key, that wrote it'),
  createdAt: z.int().describe('ms since 1970'),
  updatedAt: z.int().describe('ms since 1970'),
  ttl: z.int().optional().describe('s, as it was asked for'),
  expiresAt: z.int().optional().describe('ms since 1970'),
  revision: revisionSchema.describe("the store's counter at the last change of the entry"),
});

/** PUT /context/:key. */
export const contextSetSchema = z.strictObject({
  key: keySchema,
  value: z.string().describe('at most 1 MiB of UTF-8'),
  ttl: ttlSchema.optional().describe('s to live; default: until it is deleted'),
  ifRevision: revisionSchema.optional().describe('only where the entry has this revision; 0: where there is none'),
});
/** GET /context/:key. */
export const contextGetSchema = z.strictObject({ key: keySchema });
/** DELETE /context/:key. */
export const contextDeleteSchema = z.strictObject({
  key: keySchema,
  ifRevision: revisionInput.optional().describe('only where the entry has this revision'),
});
/** Its answer. */
export const contextDeletedSchema = z.object({ success: z.literal(true), key: z.string(), revision: revisionSchema });
/** GET /context. */
export const contextListInputSchema = z.strictObject({
  prefix: keyText.optional().describe('only keys that begin with it'),
  ...pageInput,
});
/** Its answer, in the order of the keys' bytes. */
export const contextListSchema = z.object({ entries: z.array(entrySchema), ...pageOutput });

/** GET /context?watch=true. */
export const contextWatchSchema = z
  .strictObject({
    key: keySchema.optional().describe('this key alone'),
    prefix: keyText.optional().describe('keys that begin with it; default: all'),
    since: revisionInput
      .optional()
      .describe('the cursor of the last event that was seen; default: begin with how things are'),
  })
  .refine(({ key, prefix }) => key === undefined || prefix === undefined, {
    path: ['prefix'],
    message: 'a key or a prefix is watched, not both',
  });

const cursor = z.int().describe('what `since` goes on from');

/**
 * One event of a watch. `snapshot` says that entries as they are follow, up to `ready`: forget what was known before.
 * `compacted` stands before that where changes between are not kept any more.
 */
export const contextEventSchema = z.discriminatedUnion('type', [
  z.object({ cursor, type: z.literal('compacted'), revision: revisionSchema }),
  z.object({ cursor, type: z.literal('snapshot'), revision: revisionSchema }),
  z.object({ cursor, type: z.literal('ready'), revision: revisionSchema }),
  z.object({ cursor, type: z.literal('set'), entry: entrySchema }),
  z.object({
    cursor,
    type: z.literal('delete'),
    key: z.string(),
    revision: revisionSchema,
    expired: z.literal(true).optional().describe('its time had come'),
  }),
]);

/** POST /broadcast. */
export const broadcastSchema = contextSetSchema.omit({ ifRevision: true });
/** Its answer: each peer that the caller may address, those that are away too. */
export const broadcastedSchema = z.object({
  results: z.array(
    z.object({
      peer: z.string(),
      success: z.boolean(),
      revision: revisionSchema.optional(),
      error: z.object({ name: z.string(), message: z.string() }).optional(),
    }),
  ),
});

// ── leases ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const LEASE_WORDS = 'a lease is held for 1 s to 86400 s (a day)';
const leaseTtlSchema = z.int(LEASE_WORDS).min(1, LEASE_WORDS).max(86_400, LEASE_WORDS);
const FENCE_WORDS = 'the fence says which hold is meant: it was given when the lease was acquired';
const fenceInput = z.coerce.number(FENCE_WORDS).int().min(1).max(Number.MAX_SAFE_INTEGER);

/** A lease: for its time nobody else gets it. */
export const leaseSchema = z.object({
  name: z.string(),
  owner: z.string().describe('who holds it: a caller of this node, a peer, and the agent where there is one'),
  fence: z.int().describe('grows with each holder: who guards a thing by it refuses lower ones'),
  expiresAt: z.int().describe('ms since 1970'),
});
/** POST /leases/:name. */
export const leaseAcquireSchema = z.strictObject({ name: keySchema, ttl: leaseTtlSchema.describe('s to hold it') });
/** PUT /leases/:name. */
export const leaseRenewSchema = z.strictObject({
  name: keySchema,
  ttl: leaseTtlSchema.describe('s to hold it, from now on'),
  fence: fenceInput.optional().describe('as it was given: of two that are one caller, one holds it'),
});
/** DELETE /leases/:name. */
export const leaseReleaseSchema = z.strictObject({
  name: keySchema,
  fence: fenceInput.optional().describe('as it was given: of two that are one caller, one holds it'),
  force: z.stringbool().optional().describe("another's too, of who is gone: for the owner of the node"),
});
/** Its answer. */
export const leaseReleasedSchema = z.object({ success: z.literal(true), name: z.string() });
/** GET /leases: those that are held, by name. */
export const leaseListSchema = z.object({ leases: z.array(leaseSchema), ...pageOutput });

/** One entry. */
export type ContextEntry = z.infer<typeof entrySchema>;
/** One event of a watch. */
export type ContextEvent = z.infer<typeof contextEventSchema>;
/** A lease. */
export type Lease = z.infer<typeof leaseSchema>;
/** What came of a broadcast. */
export type Broadcasted = z.infer<typeof broadcastedSchema>;
