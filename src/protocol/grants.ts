import { z } from 'zod';

import { LEVELS, SCOPES } from './scopes.ts';

/** One of the three levels. */
const levelSchema = z.enum(LEVELS);

/** What a peer, a named key or the machine's agents may do here. Default deny: what is not named is refused. */
export const grantSchema = z.object({
  level: levelSchema,
  scopes: z.array(z.enum(SCOPES)),
  folders: z
    .array(z.string().max(4096))
    .max(256)
    .optional()
    .describe('below full: the folders that files and tasks may use; none where it is missing'),
  expiresAt: z.int().optional().describe('ms since 1970'),
  reach: z
    .union([z.literal('all'), z.array(z.string().max(63)).max(256)])
    .describe('the peers this caller may address through this node: all, or nodeIds'),
});

/** A grant as it is shown at one moment. */
export const shownGrantSchema = grantSchema.extend({
  expired: z.literal(true).optional().describe('there where it is over: nothing is allowed any more'),
});

/** The folders that a grant opens below `full`. */
const foldersSchema = z.array(z.string().min(1).max(4096)).max(256);

/** What a person sets: a level, and what narrows it. */
export const grantInputSchema = z.strictObject({
  level: levelSchema,
  scopes: z.array(z.enum(SCOPES)).optional().describe('only these of the level; default: all of them'),
  folders: foldersSchema.optional(),
  expires: z.int().min(1000).optional().describe('ms from now'),
  reach: z.union([z.literal('all'), z.array(z.string().min(1).max(300)).max(256)]).optional(),
});

/** A level with its folders, as a person says it with a yes. */
export const chosenGrant = {
  grant: levelSchema.optional().describe('what this side lets it do; default: full'),
  folders: foldersSchema.optional().describe('below full: the folders that files and tasks may use; default: none'),
};

/** A grant as it is stored. */
export type Grant = z.infer<typeof grantSchema>;
/** A grant as it is shown. */
export type ShownGrant = z.infer<typeof shownGrantSchema>;
/** What a person sets. */
export type GrantInput = z.infer<typeof grantInputSchema>;
