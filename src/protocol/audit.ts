import { z } from 'zod';

import { pageInput, pageOutput } from './page.ts';

/** One line of the audit log: one request, allowed or refused. */
export const auditRecordSchema = z.looseObject({
  timestamp: z.int(),
  requestId: z.string(),
  caller: z.string(),
  agent: z.string().optional(),
  fromIp: z.string(),
  operation: z.string(),
  method: z.string(),
  path: z.string(),
  peer: z.string().optional(),
  decision: z.string().describe('allowed, or the name of the error'),
  statusCode: z.int(),
  duration: z.number().describe('ms'),
  count: z.int().optional().describe('how many further requests of this kind this line stands for'),
});

/** GET /audit/stream; with `since` or `limit`, what is there already comes first. */
export const auditFollowSchema = z.strictObject({
  node: z.string().max(300).optional().describe('only what this peer asked for, or was asked'),
  operation: z.string().max(100).optional(),
  since: z.coerce.number().int().min(0).optional().describe('ms since 1970'),
  denied: z.stringbool().optional(),
  limit: pageInput.limit,
});
/** GET /audit: the newest first. */
export const auditInputSchema = z.strictObject({
  ...auditFollowSchema.shape,
  ...pageInput,
  cursor: pageInput.cursor
    .unwrap()
    .regex(/^[\w-]{16}\.\d{1,15}$/, 'no cursor of the audit log')
    .optional(),
});
/** Its answer. */
export const auditListSchema = z.object({ records: z.array(auditRecordSchema), ...pageOutput });

/** One record. */
export type AuditRecord = z.infer<typeof auditRecordSchema>;
