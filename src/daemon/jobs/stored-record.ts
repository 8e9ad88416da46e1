import { z } from 'zod';

import { parseJson } from '../../kernel/parse-json.ts';
import { endedBySchema } from '../../protocol/jobs.ts';

const failureSchema = z.object({
  error: z.object({
    code: z.number(),
    name: z.string(),
    message: z.string(),
    hint: z.string().optional(),
    details: z.record(z.string(), z.unknown()).optional(),
  }),
});

/** A run as the store keeps it. Its environment and stdin are not kept: they may hold secrets. */
const recordSchema = z.object({
  v: z.literal(1),
  jobId: z.string(),
  command: z.string(),
  args: z.array(z.string()),
  cwd: z.string(),
  shell: z.boolean(),
  caller: z.string(),
  fromNodeId: z.string(),
  host: z.string(),
  user: z.string(),
  createdAt: z.number(),
  startedAt: z.number().optional(),
  endedAt: z.number().optional(),
  durationMs: z.number().optional(),
  pid: z.number().optional(),
  /** Tells this process from a later one with the same id. */
  token: z.string().optional(),
  exitCode: z.number().nullable().optional(),
  signal: z.string().optional(),
  endedBy: endedBySchema.optional(),
  /** Why it could not be started: the body of the error that its callers get. */
  failure: failureSchema.optional(),
  outputBytes: z.number(),
  truncated: z.boolean().optional(),
  outputCut: z.literal(true).optional(),
  /** Its process is a supervisor's child, and outlives the node. */
  detached: z.literal(true).optional(),
  /** Which supervisor has it. */
  supervisor: z.string().optional(),
  /** And that one's process: while it is there, the run is not lost, whatever became of the supervisor's own file. */
  supervisorProcess: z.object({ pid: z.number(), startedAt: z.number(), token: z.string().optional() }).optional(),
  /** Goes on although its caller was removed. */
  kept: z.literal(true).optional(),
});

/** A run as the store keeps it; the live one is changed in place by its job alone. */
export type JobRecord = z.infer<typeof recordSchema>;

/** A record that another program made; undefined where it is another version's. */
export const toRecord = (value: unknown): JobRecord | undefined => recordSchema.safeParse(value).data;

/** Reads a stored record; undefined where it is another version's. */
export const parseRecord = (text: string): JobRecord | undefined => toRecord(parseJson(text));
