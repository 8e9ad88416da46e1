import { z } from 'zod';

import { grantInputSchema, grantSchema, shownGrantSchema } from './grants.ts';
import { keyNameSchema, labelSchema } from './ids.ts';
import { pageOutput } from './page.ts';

/** The owner's key: 64 hex digits. */
export const ownerKeySchema = z.object({ key: z.string().regex(/^[0-9a-f]{64}$/) });

/** POST /keys. */
export const keyAddSchema = z.strictObject({ name: keyNameSchema, grant: grantInputSchema.optional() });
/** Its answer: the only time that the key is shown. */
export const keyAddedSchema = z.object({ name: keyNameSchema, key: z.string(), grant: grantSchema });

/** One named key, without its secret. */
export const keyRowSchema = z.object({
  name: z.string(),
  kind: z
    .enum(['named', 'config', 'agent'])
    .describe('config: from auth.allowedKeys; agent: the agents of this machine'),
  grant: shownGrantSchema,
  createdAt: z.int().optional(),
});
/** GET /keys. */
export const keyListSchema = z.object({ keys: z.array(keyRowSchema), ...pageOutput });

/** Names a key in a path. */
export const keyRefSchema = z.strictObject({ name: keyNameSchema });
/** PUT /keys/:name/grant; `agent` names the agents of this machine. */
export const keyGrantSchema = z.strictObject({ name: keyNameSchema, ...grantInputSchema.shape });
/** The answer to a change. */
export const keyChangedSchema = z.object({ success: z.literal(true), name: z.string() });

/** POST /agents/connect. */
export const agentConnectSchema = z.strictObject({ label: labelSchema });
/** A token for one process, and the label it got (`claude-2` where `claude` is taken). */
export const agentConnectedSchema = z.object({ label: labelSchema, token: z.string(), expiresAt: z.int() });

/** One named key. */
export type KeyRow = z.infer<typeof keyRowSchema>;
