import { z } from 'zod';

import { jobIdSchema } from './ids.ts';
import { pageInput, pageOutput } from './page.ts';

const noNul = (text: string): boolean => !text.includes('\0');
const word = z.string().max(131_072).refine(noNul, 'must not contain NUL');

/** What ended a run: the first cause wins. `lost`: the node ended before the run did, so its end was not seen. */
export const endedBySchema = z.enum(['exit', 'timeout', 'cancel', 'client-gone', 'shutdown', 'lost']);

/** POST /execute and POST /execute/stream. */
export const executeSchema = z
  .strictObject({
    command: word.min(1).describe('a program; with shell: a command line'),
    args: z.array(word).max(4096).optional(),
    cwd: z
      .string()
      .min(1)
      .max(4096)
      .refine(noNul, 'must not contain NUL')
      .optional()
      .describe("default: the home of the node's user"),
    env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_()]*$/, 'not a variable name'), word).optional(),
    timeout: z
      .int()
      .min(0)
      .max(2_147_483_647)
      .optional()
      .describe('ms; 0: none; default: execution.defaultTimeout, with detach none'),
    shell: z.boolean().optional().describe('run the command line in a shell'),
    stdin: z.string().optional().describe('text for its stdin, which is then closed'),
    stdinStream: z
      .boolean()
      .optional()
      .describe('stdin comes by POST /execute/:jobId/stdin; closed when none comes in 30 s'),
    detach: z
      .boolean()
      .optional()
      .describe(
        'the run outlives this request, and the node; the answer comes when it is on disk and has begun, or waits',
      ),
  })
  .refine(({ detach, stdinStream }) => detach !== true || stdinStream !== true, {
    path: ['stdinStream'],
    message: 'a detached run takes its stdin as text: give it as stdin',
  });

const outputCutSchema = z
  .literal(true)
  .optional()
  .describe(
    'there where processes that it left behind still held its output, which was cut: after an exit, when nothing came for 5 s',
  );

const outcome = {
  jobId: jobIdSchema,
  exitCode: z.int().nullable(),
  signal: z.string().optional(),
  duration: z.number().describe('ms'),
  killed: z.boolean().describe('true where loopsy ended it'),
  endedBy: endedBySchema,
  outputCut: outputCutSchema,
  host: z.string(),
  nodeId: z.string(),
  user: z.string(),
  cwd: z.string(),
};

/** How a run ended, without its output. */
const jobOutcomeSchema = z.object(outcome);

const stateSchema = z.enum(['queued', 'running', 'ended']);
const detachedSchema = z.literal(true).optional();

/** The answer of a buffered run; of a detached one, where it stands. */
export const executeResultSchema = z.object({
  ...outcome,
  endedBy: endedBySchema.optional().describe('not there with detach'),
  detached: detachedSchema.describe('there with detach: how it ends is at GET /execute/:jobId'),
  state: stateSchema.optional().describe('there with detach'),
  stdout: z.string(),
  stderr: z.string(),
  encoding: z.literal('base64').optional().describe('there where stdout or stderr is not UTF-8: both are base64 then'),
  truncated: z.boolean().optional().describe('true where the rest is at GET /execute/:jobId/output?since=<cursor>'),
  cursor: z.int().optional().describe('bytes of output that this answer covers'),
});

/** One event of a run's stream, in its SSE form; `id` is the cursor behind it. */
export const jobEventSchema = z.object({
  type: z.enum(['started', 'stdout', 'stderr', 'exit', 'error', 'gap']),
  data: z.unknown(),
  encoding: z.literal('base64').optional(),
  jobId: jobIdSchema,
  timestamp: z.int().describe('ms since 1970'),
});

/** The data of `started`. */
const jobStartedSchema = z.object({
  jobId: jobIdSchema,
  state: stateSchema,
  detached: detachedSchema,
  host: z.string(),
  nodeId: z.string(),
  user: z.string(),
  cwd: z.string(),
});

/** The data of `gap`: output from `from` up to `to` is gone. */
export const gapSchema = z.object({ from: z.int(), to: z.int() });

/** A run, as lists and GET /execute/:jobId show it. */
export const jobSchema = z.object({
  jobId: jobIdSchema,
  command: z.string(),
  args: z.array(z.string()),
  cwd: z.string(),
  shell: z.boolean(),
  state: stateSchema,
  detached: detachedSchema.describe('there where it outlives the node'),
  place: z.int().optional().describe('in the queue, from 1'),
  createdAt: z.int(),
  startedAt: z.int().optional(),
  endedAt: z.int().optional(),
  duration: z.number().min(0).optional().describe('how long it ran, ms, whatever the wall clock did'),
  fromNodeId: z.string(),
  caller: z.string().describe('who started it: owner, agent:<label>, key:<name> or peer:<nodeId>'),
  pid: z.int().optional(),
  exitCode: z.int().nullable().optional(),
  signal: z.string().optional(),
  endedBy: endedBySchema.optional(),
  outputBytes: z.int(),
  truncated: z.boolean().optional().describe('true where the oldest output is gone'),
  outputCut: outputCutSchema,
  error: z.string().optional().describe('why it could not be started'),
  host: z.string(),
  user: z.string(),
});

/** GET /execute/jobs. */
export const jobListInputSchema = z.strictObject({
  state: z.enum(['active', 'all']).optional(),
  ...pageInput,
  cursor: jobIdSchema.optional().describe('the nextCursor of the page before'),
});
/** Its answer, newest first. */
export const jobListSchema = z.object({ jobs: z.array(jobSchema), ...pageOutput });

/** Names a job in a path. */
export const jobRefSchema = z.strictObject({ jobId: jobIdSchema });

/** GET /execute/:jobId/output. */
export const jobOutputInputSchema = z.strictObject({
  jobId: jobIdSchema,
  since: z.coerce.number().int().min(0).optional().describe('a cursor; default 0'),
  wait: z.coerce.number().int().min(0).max(25_000).optional().describe('ms to wait for something new; JSON form only'),
});

/** The JSON form of a slice of a stream. */
export const jobSliceSchema = z.object({
  events: z.array(jobEventSchema),
  cursor: z.int(),
  ended: z.boolean().describe('true where nothing follows'),
});

/** The answer to bytes for stdin. */
export const stdinOutputSchema = z.object({ success: z.literal(true), jobId: jobIdSchema, bytes: z.int() });

/** Signals that can be sent; on Windows each ends the tree. */
const signalSchema = z.enum([
  'SIGINT',
  'SIGTERM',
  'SIGKILL',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGSTOP',
  'SIGCONT',
  'SIGWINCH',
]);
/** POST /execute/:jobId/signal. */
export const jobSignalInputSchema = z.strictObject({ jobId: jobIdSchema, signal: signalSchema });
/** The answer: `delivered` is false where the run had ended. */
export const jobSignalOutputSchema = z.object({ success: z.literal(true), jobId: jobIdSchema, delivered: z.boolean() });
/** The answer to DELETE. */
export const jobCancelOutputSchema = z.object({
  success: z.literal(true),
  jobId: jobIdSchema,
  state: z.enum(['cancelled', 'ended']),
});

/** POST /execute. */
export type ExecuteInput = z.infer<typeof executeSchema>;
/** Its answer. */
export type ExecuteResult = z.infer<typeof executeResultSchema>;
/** What a stream begins with. */
export type JobStarted = z.infer<typeof jobStartedSchema>;
/** How a run ended. */
export type JobOutcome = z.infer<typeof jobOutcomeSchema>;
/** A run. */
export type Job = z.infer<typeof jobSchema>;
/** What ended a run. */
export type EndedBy = z.infer<typeof endedBySchema>;
/** One event of a run's stream. */
export type JobEvent = z.infer<typeof jobEventSchema>;
/** A signal that can be sent. */
export type JobSignal = z.infer<typeof signalSchema>;
