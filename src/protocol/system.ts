import { z } from 'zod';

import { nodeIdSchema, portSchema } from './ids.ts';

/** The systems a node runs on. Callers choose path and shell rules by it. */
export const platformSchema = z.enum(['darwin', 'linux', 'win32']);

/** What a node advertises that it can do; unknown ones of newer nodes are kept. */
export const capabilitySchema = z.string().min(1).max(64);

/** GET /health. */
export const healthSchema = z.object({
  status: z.literal('ok'),
  nodeId: nodeIdSchema,
  uptime: z.number().describe('ms since the node started'),
  version: z.string(),
});

/** Who a node says it is. */
export const identitySchema = z.object({
  nodeId: nodeIdSchema,
  hostname: z.string().min(1).max(255),
  platform: platformSchema,
  version: z.string().min(1).max(64),
  port: portSchema,
  capabilities: z.array(capabilitySchema).max(64),
});

/** GET /status: the node's facts and counts. */
export const statusSchema = identitySchema.extend({
  fingerprint: z.string().describe("SHA-256 of the machine certificate's DER, hex"),
  user: z.string().describe('the user who runs the node'),
  pid: z.int(),
  uptime: z.number().describe('ms since the node started'),
  dataDir: z.string(),
  listening: z.array(z.string()).describe('addresses with ports'),
  addresses: z
    .array(z.string())
    .describe('where other machines may find it, the likeliest first; none where it listens on loopback alone'),
  tls: z.boolean().describe('config tls.enabled: false lets named keys in over plain HTTP'),
  peers: z.object({ total: z.int(), online: z.int(), offline: z.int() }),
  jobs: z.object({
    active: z.int(),
    queued: z.int(),
    detached: z.int().describe('of both: they outlive the node'),
    held: z.int().describe('of the detached ones: they wait for this node to let them in'),
    total: z.int(),
  }),
  context: z.object({ entries: z.int() }).optional().describe('older nodes have none'),
  messages: z.object({ unread: z.int() }).optional().describe('older nodes have none'),
  memory: z.object({ rss: z.int().describe('bytes') }),
  restartNeeded: z.array(z.string()).describe('config keys that act after a restart'),
  warnings: z.array(z.string()),
});

/** One line of a health report. */
const checkSchema = z.object({
  name: z.string(),
  ok: z.boolean(),
  level: z.enum(['ok', 'warning', 'error']),
  detail: z.string(),
  fix: z.string().optional(),
});

/** GET /doctor. */
export const doctorSchema = z.object({ checks: z.array(checkSchema) });

/** Nothing to say in. */
export const emptySchema = z.strictObject({});

/** POST /stop. */
export const stopOutputSchema = z.object({
  success: z.literal(true),
  pid: z.int(),
  detached: z.int().describe('detached runs that go on'),
  held: z.int().describe('detached runs that wait for the next start'),
});

/** The OpenAPI document. */
export const openapiSchema = z.looseObject({ openapi: z.string() });

/** GET /metrics: the text format of Prometheus. */
export const metricsSchema = z.string();

/** One check. */
export type Check = z.infer<typeof checkSchema>;
/** Who a node says it is. */
export type Identity = z.infer<typeof identitySchema>;
/** GET /status. */
export type Status = z.infer<typeof statusSchema>;
