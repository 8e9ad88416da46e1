import { z } from 'zod';

import { messageStateSchema } from './messages.ts';
import { transferSchema } from './transfers.ts';

const common = {
  at: z.int().describe('when, ms since 1970'),
};

/** A transfer, as short as an event is. */
const movedSchema = transferSchema
  .pick({
    transferId: true,
    role: true,
    from: true,
    to: true,
    dest: true,
    path: true,
    outcome: true,
    caller: true,
    startedAt: true,
    endedAt: true,
    files: true,
    bytes: true,
    error: true,
    message: true,
    at: true,
  })
  .extend({
    source: z.string().describe('the first of what is moved'),
    more: z.int().describe('how many further ones were named'),
  });

/** One file that was read or written whole, by one request. */
const oneFileSchema = z.object({
  path: z.string(),
  bytes: z.int().min(0).describe('that were moved'),
  caller: z.string(),
});

/** Mail on its way: never what it says. */
const mailSchema = z.object({
  id: z.string(),
  fromAgent: z.string().optional(),
  by: z.string().optional().describe('the named key of its node that sent it'),
  toAgent: z.string().optional(),
});

/** What has happened on a node. */
export const eventSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('transfer.started'), ...common, transfer: movedSchema }),
  z.object({ type: z.literal('transfer.ended'), ...common, transfer: movedSchema }),
  z.object({ type: z.literal('file.written'), ...common, file: oneFileSchema }),
  z.object({ type: z.literal('file.read'), ...common, file: oneFileSchema }),
  z.object({
    type: z.literal('file.failed'),
    ...common,
    file: oneFileSchema.extend({
      error: z.string().describe("the catalogue's name of why it was not written"),
      message: z.string(),
    }),
  }),
  z.object({
    type: z.literal('context.changed'),
    ...common,
    key: z.string(),
    revision: z.int(),
    change: z.enum(['set', 'deleted', 'expired']),
    fromNodeId: z.string().optional(),
    agent: z.string().optional(),
  }),
  z.object({
    type: z.literal('lease.changed'),
    ...common,
    name: z.string(),
    change: z.enum(['acquired', 'renewed', 'released', 'expired']),
    owner: z.string().optional().describe('who holds it now'),
    fence: z.int().optional(),
  }),
  z.object({
    type: z.literal('message.received'),
    ...common,
    message: mailSchema.extend({ from: z.string(), type: z.string(), thread: z.string().optional() }),
  }),
  z.object({
    type: z.literal('message.state'),
    ...common,
    message: mailSchema.extend({
      box: z.enum(['inbox', 'outbox']).describe('of this node'),
      from: z.string().describe('an address'),
      to: z.string(),
      state: messageStateSchema,
    }),
  }),
  z.object({
    type: z.literal('message.rest'),
    ...common,
    from: z.string().describe('an address'),
    to: z.string(),
    restMs: z.int().describe('for so long nothing passes between these two: they wrote too much too fast'),
  }),
  z.object({
    type: z.literal('gap'),
    ...common,
    reason: z.string().describe('why what happened before is not told: read the lists again'),
  }),
]);

/** GET /events. */
export const eventFollowSchema = z.strictObject({
  since: z.coerce
    .number()
    .int()
    .min(0)
    .optional()
    .describe('the cursor of the last event that was seen; default: only what happens from now on'),
});

/** One event. */
export type Event = z.infer<typeof eventSchema>;
/** What may happen: an event before it has its time. */
export type Happening = Event extends infer One ? (One extends Event ? Omit<One, 'at'> : never) : never;
/** A transfer, as short as an event is. */
export type Moved = z.infer<typeof movedSchema>;
