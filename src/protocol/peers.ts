import { z } from 'zod';

import { chosenGrant, grantInputSchema, shownGrantSchema } from './grants.ts';
import { fingerprintSchema, hostSchema, nodeIdSchema, peerNameSchema, peerRefSchema, portSchema } from './ids.ts';
import { pageOutput } from './page.ts';
import { capabilitySchema, identitySchema, platformSchema } from './system.ts';

/** Whether a peer answers; `unknown` for an address that is not trusted. */
const presenceSchema = z.enum(['online', 'offline', 'unknown']);

/** One row of GET /peers. */
export const peerSchema = z.object({
  nodeId: nodeIdSchema.optional().describe('missing until the address has answered once'),
  name: z.string().describe('local, unique here; what commands take'),
  hostname: z.string().optional().describe('what the peer says of itself'),
  address: z.string().optional(),
  port: portSchema.optional(),
  platform: platformSchema.optional(),
  version: z.string().optional(),
  capabilities: z.array(capabilitySchema),
  status: presenceSchema,
  lastSeen: z.int().optional().describe('ms since 1970'),
  trusted: z.boolean(),
  manuallyAdded: z.boolean(),
  fingerprint: z.string().optional(),
  grant: shownGrantSchema.optional().describe('what this side lets the peer do'),
  latencyMs: z.number().optional().describe('of the last heartbeat'),
  reason: z.string().optional().describe('why it is offline'),
});

/** GET /peers. */
export const peerListSchema = z.object({ peers: z.array(peerSchema), ...pageOutput });

/** POST /peers. */
export const peerAddSchema = z.strictObject({
  address: hostSchema,
  port: portSchema.optional(),
  name: peerNameSchema.optional(),
});

/** Names a peer in a path. */
export const peerRefInputSchema = z.strictObject({ nodeId: peerRefSchema });

/** DELETE /peers/:nodeId. */
export const peerRemoveSchema = z.strictObject({
  nodeId: peerRefSchema,
  keepRuns: z.stringbool().optional().describe('leave running what it started'),
});
/** The answer to a removal. */
export const peerRemovedSchema = z.object({
  success: z.literal(true),
  nodeId: z.string(),
  name: z.string(),
  trusted: z.boolean().describe('true where trust ended; false for an address that was only listed'),
  told: z.boolean().describe('true where the other side has answered that it knows'),
});

/** POST /peers/handshake: sent at the start of each link, and when facts change. Unknown keys of newer nodes pass. */
export const handshakeSchema = z.looseObject({
  ...identitySchema.shape,
  link: z.int().default(1).describe('the version of the link'),
  boot: z.string().max(64).default('').describe('new at each start of the node'),
});

/** POST /peers/farewell: the sender no longer trusts the receiver. */
export const farewellSchema = z.strictObject({ reason: z.enum(['removed']) });

/** POST /peers/probe: shakes hands with an address and sends nothing. */
export const probeSchema = z.strictObject({ address: hostSchema, port: portSchema.optional() });
/** What a probe saw, beside this machine's own fingerprint, for two people to compare. */
export const probedSchema = z.object({
  nodeId: nodeIdSchema,
  fingerprint: z.string(),
  address: z.string(),
  port: portSchema,
  ownFingerprint: z.string(),
  trusted: z.boolean(),
  name: z.string().optional().describe('its name here, where it is trusted'),
});

/** POST /peers/trust: trust written on this side, by fingerprint. */
export const trustSchema = z.strictObject({
  address: hostSchema,
  port: portSchema.optional(),
  fingerprint: fingerprintSchema,
  name: peerNameSchema.optional(),
  ...chosenGrant,
});
/** The answer: the peer's row, and whether it trusts this side already. */
export const trustedSchema = z.object({
  peer: peerSchema,
  mutual: z.boolean().describe('true where the other side trusts this one too'),
  ownFingerprint: z.string(),
  ownAddresses: z.array(z.string()).describe('what the other side can connect to, the likeliest first'),
});

/** PUT /peers/:nodeId/grant. */
export const peerGrantSchema = z.strictObject({ nodeId: peerRefSchema, ...grantInputSchema.shape });

/** PATCH /peers/:nodeId. */
export const peerRenameSchema = z.strictObject({ nodeId: peerRefSchema, name: peerNameSchema });

/** POST /peers/:nodeId/ping. */
export const pingSchema = z.object({
  nodeId: nodeIdSchema,
  latencyMs: z.number(),
  clockSkewMs: z.number().describe("the peer's clock minus this one's"),
  version: z.string(),
});

/** One row. */
export type Peer = z.infer<typeof peerSchema>;
/** The facts that nodes exchange. */
export type Handshake = z.infer<typeof handshakeSchema>;
