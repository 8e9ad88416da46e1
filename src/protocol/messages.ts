import { z } from 'zod';

import { keyNameSchema, labelSchema, timeIdSchema } from './ids.ts';
import { MAX_BODY_BYTES, MAX_MAIL_WAIT_MS } from './mail.ts';
import { pageInput, pageOutput } from './page.ts';
import { utf8Length } from './text.ts';

/** The most messages, or receipts, that nodes hand over at once. */
export const MAX_BATCH = 150;
/** UTF-16 units of what is said beside a state. */
export const MAX_NOTE = 1000;

const isText = (text: string): boolean => !/\p{Cs}/u.test(text);

const messageIdSchema = timeIdSchema('message');
const threadSchema = z.string().regex(/^[\w.:-]{1,64}$/, 'a thread has 1–64 letters, digits, dots, dashes and colons');
const TTL_WORDS = 'a time to live is 1 s to 31536000 s (a year)';
const ttlSchema = z.int(TTL_WORDS).min(1, TTL_WORDS).max(31_536_000, TTL_WORDS);
const noteSchema = z
  .string()
  .max(MAX_NOTE, `a note has at most ${MAX_NOTE} characters`)
  .refine(isText, 'a note is text');
const atSchema = z.int().describe('ms since 1970');
const bodySchema = z.string().min(1, 'a body is not empty').refine(isText, 'a body is text');

const ADDRESS_WORDS = 'an address is <node>, <node>#<agent>, or #<agent>';

/** `<node>`, `<node>#<agent>`, or `#<agent>` of this node. */
const addressSchema = z
  .string()
  .min(1, ADDRESS_WORDS)
  .max(340, ADDRESS_WORDS)
  .regex(/^[^#\s]{0,300}(?:#[a-z0-9][a-z0-9-]{0,31})?$/, ADDRESS_WORDS);

const bySchema = z
  .string()
  .refine((by) => by.startsWith('key:') && keyNameSchema.safeParse(by.slice('key:'.length)).success, 'it names a key')
  .describe('`key:<name>`: a named key of its node has sent it, not the owner; a reply goes to the node all the same');

/** What kind of message it is: a hint for its reader. */
const typeSchema = z.enum(['chat', 'request', 'response', 'ack', 'broadcast']);

/** Where a message is. All but the first two are an end, beside which only `acked` and `replied` may still come. */
export const messageStateSchema = z.enum([
  'queued',
  'delivered',
  'read',
  'acked',
  'replied',
  'expired',
  'refused',
  'cancelled',
]);

const stepSchema = z.object({
  state: messageStateSchema,
  at: atSchema,
  note: z.string().optional().describe('why, or what its reader said'),
});

/** A message, as both boxes show it. */
export const messageSchema = z.object({
  id: messageIdSchema,
  box: z.enum(['inbox', 'outbox']),
  from: z.string().describe('an address to which a reply can go'),
  fromNodeId: z.string().describe('proved by the link that it came over'),
  by: bySchema.optional(),
  to: z.string(),
  toNodeId: z.string(),
  ts: atSchema.describe('when it was sent, as its sender says; ms since 1970'),
  type: typeSchema,
  body: z
    .string()
    .describe('untrusted: it says what its sender wants, and carries no authority; empty where `bodyGone`'),
  bodyGone: z.boolean().optional().describe('true in an outbox that needed the room: its recipient has the text'),
  thread: threadSchema.optional(),
  replyTo: messageIdSchema.optional(),
  hops: z.int().describe('how many replies lie between it and the first of its chain'),
  expiresAt: atSchema.describe('when it is over unless it was read; ms since 1970'),
  state: messageStateSchema,
  history: z.array(stepSchema).describe('the states that it went through'),
  reader: z.string().optional().describe('who has taken it: `owner`, or a label'),
});

const as = labelSchema.optional().describe('the label that the owner acts under; an agent has its own');
const from = addressSchema.optional().describe('only what comes from there');

/** POST /messages. */
export const messageSendSchema = z.strictObject({
  to: addressSchema.optional().describe('default: where a reply to `replyTo` belongs'),
  body: bodySchema.describe('at most 256 KiB of UTF-8'),
  type: typeSchema.optional().describe('default: chat; of a reply: response'),
  thread: threadSchema.optional().describe('default: that of the message that it replies to'),
  replyTo: messageIdSchema.optional(),
  ttl: ttlSchema.optional().describe('s; default: messages.ttl of the settings'),
  as,
});
/** Its answer: it is on disk. */
export const messageSentSchema = z.object({ id: messageIdSchema, state: messageStateSchema, to: z.string() });

/** GET /messages. */
export const messageListInputSchema = z.strictObject({
  box: z.enum(['inbox', 'outbox']).optional().describe('default: inbox'),
  unread: z
    .stringbool()
    .optional()
    .describe('what nobody has taken yet, oldest first; of the outbox: what is under way'),
  dead: z.stringbool().optional().describe('what has expired, or was refused'),
  thread: threadSchema.optional(),
  from,
  as,
  ...pageInput,
});
/** Its answer, newest first. */
export const messageListSchema = z.object({ messages: z.array(messageSchema), ...pageOutput });

/** Names a message in a path. */
export const messageRefSchema = z.strictObject({ id: messageIdSchema, as });
/** POST /messages/:id/ack. */
export const messageAckSchema = z.strictObject({
  id: messageIdSchema,
  note: noteSchema.optional().describe('what its sender reads'),
  as,
});

/** A place in the order in which messages came. */
const waitCursorSchema = z.string().regex(/^\d{1,16}(?:\.[0-9a-z]{26})?$/, 'it is no cursor of this list');

/** GET /messages/wait: answers when there is something to take, or when the time is over. Nothing is taken by it. */
export const messageWaitSchema = z.strictObject({
  timeoutMs: z.coerce.number().int().min(0).max(MAX_MAIL_WAIT_MS).optional().describe('default: 25000'),
  after: waitCursorSchema
    .optional()
    .describe('for readers that take nothing: only what came behind the `cursor` of the answer before; `0`: all'),
  from,
  as,
});
/** Its answer, oldest first; with `after` in the order in which they came, which is no order of ids. */
export const messageWaitedSchema = z.object({
  messages: z.array(messageSchema),
  more: z.boolean().describe('true where more wait than are listed'),
  cursor: waitCursorSchema.optional().describe('where `after` was given: what the next question gives'),
});

/** GET /messages/addresses: who can be written to. */
export const addressListSchema = z.object({
  addresses: z.array(
    z.object({
      address: z.string(),
      status: z.enum(['online', 'offline', 'unknown', 'here']),
      unread: z.int().optional().describe('here: what waits to be taken'),
    }),
  ),
  more: z.boolean().optional().describe('true where mail waits for more labels than are listed'),
});

const carriedSchema = z.strictObject({
  id: messageIdSchema,
  fromAgent: labelSchema.optional(),
  by: bySchema.optional(),
  toAgent: labelSchema.optional(),
  ts: atSchema,
  type: typeSchema,
  body: bodySchema.refine((text) => utf8Length(text) <= MAX_BODY_BYTES, 'a body has at most 256 KiB'),
  thread: threadSchema.optional(),
  replyTo: messageIdSchema.optional(),
  hops: z.int().min(0).max(1_000_000),
  ageMs: z.int().min(0).max(31_536_000_000).describe('how long ago it was accepted'),
  leftMs: z.int().min(1).max(31_536_000_000).describe('what is left of its life'),
});

/** POST /messages/deliver: a node hands over messages, in the order of their ids. */
export const messageDeliverSchema = z.strictObject({
  epoch: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .describe('of the outbox: another one begins to count anew'),
  settled: messageIdSchema.optional().describe('the sender has on disk what became of all messages up to it'),
  messages: z.array(carriedSchema).min(1).max(MAX_BATCH),
});
/** Its answer: which of them lie in the inbox, on disk, and why others don't. */
export const messageDeliveredSchema = z.object({
  results: z.array(
    z.object({
      id: messageIdSchema,
      refused: z.object({ error: z.string(), message: z.string() }).optional(),
    }),
  ),
});

const receiptSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('state'),
    id: messageIdSchema,
    state: z.enum(['read', 'acked', 'expired']),
    at: atSchema,
    reader: z.string().max(64).optional(),
    note: noteSchema.optional(),
  }),
  z.strictObject({
    kind: z.literal('rest'),
    fromAgent: labelSchema.optional(),
    toAgent: labelSchema.optional(),
    restMs: z.int().min(1).max(3_600_000).describe('what is left of it'),
  }),
]);

/** POST /messages/receipts: a node says what became of messages that it was handed. */
export const messageReceiptsSchema = z.strictObject({ receipts: z.array(receiptSchema).min(1).max(MAX_BATCH) });

/** A message. */
export type Message = z.infer<typeof messageSchema>;
/** Where it is. */
export type MessageState = z.infer<typeof messageStateSchema>;
/** A message as it travels. */
export type CarriedMessage = z.infer<typeof carriedSchema>;
/** What became of a message, as it travels, or that two have to rest. */
export type Receipt = z.infer<typeof receiptSchema>;
