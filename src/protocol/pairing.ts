import { z } from 'zod';

import { chosenGrant } from './grants.ts';
import { hostSchema, nodeIdSchema, peerNameSchema, portSchema } from './ids.ts';

/** The longest that a question for the state of a pairing is held, ms. */
export const MAX_PAIR_WAIT_MS = 25_000;

const idSchema = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .describe('one pairing, from its code or entry on');
const roleSchema = z.enum(['host', 'joiner']).describe('host: shows the code; joiner: enters it');

/** What the person may decide with the yes. */
const choices = {
  name: peerNameSchema.optional().describe("the other machine's name here"),
  ...chosenGrant,
};

/** POST /pair/start: shows a code. */
export const pairStartSchema = z.strictObject({
  invite: z.boolean().optional().describe('an invitation for scripts: nothing to guess, and the yes of this side'),
  ...choices,
});
/** The code that the other machine enters. */
export const pairStartedSchema = z.object({
  id: idSchema,
  inviteCode: z.string().describe('6 digits, or the invitation'),
  expiresAt: z.int().describe('ms since 1970'),
  addresses: z
    .array(z.string())
    .describe(
      'where the other machine may find this one, the likeliest first; none where it listens on loopback alone',
    ),
});

/** POST /pair/join: enters a code. */
export const pairJoinSchema = z.strictObject({
  address: hostSchema.optional(),
  port: portSchema.optional(),
  code: z.string().min(1).max(200),
  ...choices,
});

/** Where a pairing stands. */
const pairStateSchema = z.enum(['idle', 'waiting', 'exchanging', 'confirm', 'waiting-peer', 'completed', 'failed']);

/** The exchange has begun; GET /pair/status tells what comes of it. */
export const pairJoinedSchema = z.object({ id: idSchema, state: pairStateSchema });

/** POST /pair/confirm: the person's yes or no. */
export const pairConfirmSchema = z.strictObject({
  confirmed: z.boolean().describe('false cancels, at any time before the yes'),
  sas: z.string().max(20).optional().describe('must be the number that is shown, where it is given'),
  replace: z.boolean().optional().describe('drop the peer that has this name with another key'),
  role: roleSchema.optional(),
  id: idSchema.optional().describe('default: the one of that role that was begun last'),
  ...choices,
});

/** The other machine, as it proved itself. */
const pairPeerSchema = z.object({
  nodeId: nodeIdSchema,
  name: z.string().describe('what it is, or would be, called here'),
  proposedName: z.string(),
  address: z.string().optional(),
  port: portSchema,
  version: z.string(),
  trusted: z.boolean().describe('its key is trusted here'),
  clash: z
    .object({ name: z.string(), nodeId: z.string() })
    .optional()
    .describe('who has the proposed name, with another key'),
});

/** The answer to a yes or a no. */
export const pairConfirmedSchema = z.object({
  success: z.literal(true),
  message: z.string(),
  peer: pairPeerSchema.optional(),
});

/** GET /pair/status. */
export const pairStatusInputSchema = z.strictObject({
  role: roleSchema.optional().describe('default: the one that was begun last'),
  id: idSchema.optional(),
  wait: z.coerce.number().int().min(0).max(MAX_PAIR_WAIT_MS).optional().describe('ms to wait for a change'),
  since: z.coerce.number().int().min(0).optional().describe('the `revision` that is known'),
});

/** The state of a pairing; its end can be read for a minute. */
export const pairStatusSchema = z.object({
  active: z.boolean(),
  state: pairStateSchema,
  revision: z.int().describe('another one after each change'),
  role: roleSchema.optional(),
  id: idSchema.optional(),
  invited: z.boolean().optional().describe('by an invitation: there is no number to compare'),
  at: z.object({ address: z.string(), port: portSchema }).optional().describe('whom a joiner asks'),
  inviteCode: z.string().optional().describe('changes when strangers killed the first'),
  killedBy: z.array(z.string()).optional().describe('from where strangers guessed wrong'),
  sas: z.string().optional(),
  peer: pairPeerSchema.optional(),
  bothSaidYes: z.boolean().optional().describe('this side trusts; the other has not answered yet'),
  chosen: z.object(choices).optional().describe('what this side said when it began'),
  expiresAt: z.int().optional().describe('ms since 1970'),
  trouble: z.string().optional().describe('what keeps it from going on'),
  reason: z.string().optional().describe('why it failed'),
  error: z.string().optional().describe('the same as a name'),
  hint: z.string().optional(),
});

/** M1, M3, M5, M7: strangers send them, and the protocol itself reads them field by field. */
export const pairMessageSchema = z.looseObject({});

/** Where a pairing stands. */
export type PairStatus = z.infer<typeof pairStatusSchema>;
/** The other machine of a pairing. */
export type PairPeer = z.infer<typeof pairPeerSchema>;
/** Which side of a pairing. */
export type PairRole = z.infer<typeof roleSchema>;
