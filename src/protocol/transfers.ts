import { z } from 'zod';

import { peerRefSchema, timeIdSchema } from './ids.ts';
import { pageInput, pageOutput } from './page.ts';
import { platformSchema } from './system.ts';
import { MAX_SOURCES } from './transfer-limits.ts';

/** A path as a person or a program writes it: `~/x`, relative to the home, `C:\x`, `/c/x`. The guard decides about it. */
const pathSchema = z.string().min(1).max(4096);
/** Sortable by time, as a job's. */
const transferIdSchema = timeIdSchema('transfer');
const bytesSchema = z.int().min(0);
/** Lower-case hex. */
const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, 'a sha256 has 64 hex digits');

// ── one file or folder ──────────────────────────────────────────────────────────────────────────────────────────────

const fileTypeSchema = z.enum(['file', 'directory', 'symlink', 'other']);

/** POST /transfer/list. */
export const fileListInputSchema = z.strictObject({ path: pathSchema, ...pageInput });
/** Its answer, by name; for a file, its own row. */
export const fileListSchema = z.object({
  path: z.string().describe('the real path of what was listed'),
  files: z.array(
    z.object({
      name: z.string(),
      path: z.string(),
      type: fileTypeSchema,
      size: bytesSchema,
      modified: z.number().describe('ms since 1970'),
      mode: z.int().optional().describe('POSIX permission bits; not there on Windows'),
      target: z.string().optional().describe('what a symlink says'),
    }),
  ),
  unreadable: z
    .int()
    .min(1)
    .optional()
    .describe('how many names of the folder are not UTF-8, and are not shown: on its first page, where there are any'),
  ...pageOutput,
});

/** POST /transfer/push: the fields of the form; `file` holds the bytes. */
export const filePushSchema = z.strictObject({
  destPath: pathSchema.optional().describe('form field'),
  checksum: sha256Schema.optional().describe('form field: refuse bytes that have another sha256'),
});
/** Its answer, when the file is on disk under its name. */
export const filePushedSchema = z.object({
  path: z.string(),
  size: bytesSchema,
  checksum: sha256Schema.describe('sha256 of the bytes on disk'),
  duration: z.number().describe('ms'),
});

/** POST /transfer/pull. The answer is the file's bytes, with `loopsy-size` and the trailer `loopsy-checksum`. */
export const filePullSchema = z.strictObject({ sourcePath: pathSchema });

// ── movements ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** What the person chose beside source and destination. */
const choices = {
  exclude: z
    .array(z.string().min(1).max(4096))
    .max(10_000)
    .optional()
    .describe('patterns as in .gitignore: what they match stays behind'),
  gitignore: z.boolean().optional().describe('leave out what .gitignore files say, and .git'),
  checksum: z.boolean().optional().describe('compare contents, not size and time'),
  update: z.boolean().optional().describe('leave files alone that are newer at the destination'),
  noClobber: z.boolean().optional().describe('leave files alone that are there'),
  dryRun: z.boolean().optional().describe('say what would be done, and do nothing'),
};

const sourcesSchema = z
  .array(pathSchema)
  .min(1)
  .max(MAX_SOURCES, `more than ${MAX_SOURCES} sources: name the folder that they are in, or a pattern`);

/** POST /transfers: one movement of files, from one node to another. */
export const transferInputSchema = z.strictObject({
  from: peerRefSchema.optional().describe('the peer that has the files; default: this node'),
  to: peerRefSchema.optional().describe('the peer that gets them; default: this node'),
  sources: sourcesSchema.describe('files, folders, and patterns as in a shell; `x/.` is what is in x'),
  dest: pathSchema.describe(
    'as with cp -r: into it where it is a folder or ends in /, else as it; what is in a folder goes into it',
  ),
  ...choices,
  delete: z.boolean().optional().describe('remove at the destination what the source does not have'),
  limit: z.int().min(1000).optional().describe('bytes a second, at the most'),
  detach: z.boolean().optional().describe('it outlives this request, and the node'),
});

const placeSchema = z.object({
  name: z.string().describe('how this node calls it'),
  nodeId: z.string(),
});
const endSchema = z.enum(['source', 'target']).describe('the machine that it is about: `from`, or `to`');
const failureSchema = z.object({
  path: z.string(),
  error: z.string(),
  message: z.string(),
  hint: z.string().optional(),
  at: endSchema.optional(),
  files: z.int().optional().describe('how many files did not arrive for it, where it is no file itself'),
});
const countsSchema = z.object({
  found: z.int().describe('files at the source, as far as they have been counted'),
  done: z.int(),
  skipped: z.int().describe('they were there already'),
  failed: z.int(),
});

/** A transfer as lists, events and answers show it. */
export const transferSchema = z.object({
  transferId: transferIdSchema,
  role: z
    .enum(['mover', 'source', 'target'])
    .describe('mover: this node carries it out; else the files are read or written here for another node'),
  from: placeSchema,
  to: placeSchema,
  sources: z.array(z.string()).describe('the first hundred'),
  moreSources: z.int().optional().describe('how many there are besides'),
  dest: z.string(),
  state: z
    .enum(['running', 'waiting', 'ended'])
    .describe('waiting: for a node that is away, or that takes no more for a while'),
  outcome: z
    .enum(['done', 'failed', 'cancelled', 'lost'])
    .optional()
    .describe('there when it has ended; lost: the node that moved it left in the middle'),
  caller: z.string(),
  detached: z.literal(true).optional(),
  dryRun: z.literal(true).optional(),
  leaves: z
    .enum(['existing', 'newer'])
    .optional()
    .describe('what was left alone, and counts as skipped, though it may differ: with noClobber, update'),
  startedAt: z.int(),
  endedAt: z.int().optional(),
  duration: z.number().describe('ms'),
  counting: z.boolean().describe('true while the source is still being looked through'),
  files: countsSchema,
  folders: z.int(),
  links: z.int(),
  removed: z.int().describe('at the destination, with delete'),
  drafts: z.int().optional().describe('at the source: files that loopsy is writing, or has left; they are left behind'),
  bytes: z.object({
    found: bytesSchema.describe('in the files at the source, as far as they have been counted'),
    sent: bytesSchema.describe('over the wire'),
    done: bytesSchema.describe('of those found: at the destination now, sent or there before'),
    skipped: bytesSchema.optional().describe('of those done: there before; where its mover counts them'),
  }),
  current: z.string().optional(),
  path: z.string().optional().describe('the real path at the destination, where one file or folder was moved'),
  checksum: z
    .string()
    .optional()
    .describe('of one moved file, as it lies at the destination: sha256 over the sha256 of each 4 MiB'),
  error: z
    .string()
    .optional()
    .describe("the catalogue's name of what ended it, kept files from arriving, or lets it wait"),
  message: z.string().optional(),
  hint: z.string().optional(),
  at: endSchema.optional(),
  failures: z.array(failureSchema).describe('the first thousand; `files.failed` counts all'),
});

/** One thing that a dry run would do. */
const dryItemSchema = z.object({
  action: z.enum(['send', 'replace', 'remove']),
  path: z
    .string()
    .describe(
      'below the name of its source; with a / behind it where it is a folder, which stands for all in it where it is removed',
    ),
});

/** One event of a transfer: the whole state each time, so that nothing is missed by missing one. */
export const transferEventSchema = z.object({
  type: z.enum(['started', 'progress', 'end']),
  transfer: transferSchema,
  items: z
    .array(dryItemSchema)
    .optional()
    .describe('of a dry run: what it would do, each once; kept nowhere, so that who begins it reads them'),
});

/** GET /transfers. */
export const transferListInputSchema = z.strictObject({ state: z.enum(['active', 'all']).optional(), ...pageInput });
/** Its answer, newest first. */
export const transferListSchema = z.object({ transfers: z.array(transferSchema), ...pageOutput });
/** Names a transfer in a path. */
export const transferRefSchema = z.strictObject({ transferId: transferIdSchema });
/** The answer to DELETE. */
export const transferCancelSchema = z.object({
  success: z.literal(true),
  transferId: transferIdSchema,
  state: z.enum(['cancelled', 'ended']),
  resumable: z.boolean().describe('true where the same transfer, begun again, goes on where it was'),
});

// ── the two ends, as nodes speak to each other ──────────────────────────────────────────────────────────────────────

/** What an earlier start of the same node has left open is closed then. */
const bootSchema = z.string().max(64).optional().describe("the mover's start");

const endRef = { endId: transferIdSchema };

/** What a source's first answer says of each path that was asked for. */
const rootSchema = z.object({
  name: z.string().describe('its last name, which it keeps in a folder; `x/.` for what is in x'),
  path: z.string(),
  type: z.enum(['file', 'directory', 'symlink']),
  mark: z.string().max(100).optional().describe('which folder it is: another one under its path is not gone on with'),
});

/** POST /transfer/sources. */
export const sourceOpenSchema = z.strictObject({
  paths: sourcesSchema,
  exclude: choices.exclude,
  gitignore: choices.gitignore,
  to: z.string().max(300).optional().describe('for its records: where the files go'),
  boot: bootSchema,
});
/** Its answer. */
export const sourceOpenedSchema = z.object({
  ...endRef,
  platform: platformSchema,
  roots: z.array(rootSchema),
  failures: z.array(failureSchema),
});

/** A file as a manifest has it: root, path below it, size, mtime (ms). */
const stampSchema = z.tuple([z.int().min(0), z.string().max(65_536), bytesSchema, z.number()]);

/** POST /transfer/sources/:endId: what is wanted of an open source. The answer is bytes; see docs/protocol/transfers.md. */
export const sourceReadSchema = z.strictObject({
  ...endRef,
  want: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('group'), at: z.int().min(0) }),
    z.strictObject({ kind: z.literal('batch'), files: z.array(stampSchema).min(1).max(2000) }),
    z.strictObject({ kind: z.literal('range'), file: stampSchema, from: bytesSchema, to: bytesSchema }),
    z.strictObject({ kind: z.literal('hashes'), file: stampSchema, chunks: z.int().min(0) }),
    z.strictObject({ kind: z.literal('check'), file: stampSchema }),
    z.strictObject({ kind: z.literal('digests'), files: z.array(stampSchema).min(1).max(2000) }),
    z.strictObject({
      kind: z.literal('missing'),
      root: z.int().min(0),
      folder: z.string().max(65_536),
      names: z.array(z.tuple([z.string(), z.boolean()])).max(10_000),
      gone: z.literal(true).optional().describe('the folder itself is known not to be one at the source'),
    }),
  ]),
});

/** POST /transfer/targets. */
export const targetOpenSchema = z.strictObject({
  dest: pathSchema,
  roots: z
    .array(rootSchema.pick({ name: true, type: true }))
    .min(1)
    .max(10_000),
  several: z
    .boolean()
    .optional()
    .describe('more was asked for than was found: what was goes into a folder all the same'),
  source: z.string().max(100_000).describe('says whose files, and which: a repeat of the same goes on where it was'),
  platform: platformSchema.describe("the source's"),
  from: z.string().max(300).optional().describe('for its records: where the files come from'),
  boot: bootSchema,
  checksum: choices.checksum,
  update: choices.update,
  noClobber: choices.noClobber,
  dryRun: choices.dryRun,
  delete: z.boolean().optional(),
  digest: z.boolean().optional().describe('say the checksum of what was written'),
});
/** Its answer. */
export const targetOpenedSchema = z.object({
  ...endRef,
  platform: platformSchema,
  paths: z.array(z.string()).describe('where each root goes'),
  marks: z
    .record(z.string(), z.string().max(100))
    .optional()
    .describe('which folders those are, and which they lie in: others under these paths are not gone on with'),
});

/** POST /transfer/targets/:endId: one step of an open target; the body is bytes. See docs/protocol/transfers.md. */
export const targetWriteSchema = z.strictObject({
  ...endRef,
  step: z.enum(['plan', 'same', 'batch', 'prepare', 'resume', 'commit', 'drop', 'finish', 'extra', 'remove']),
  file: z.coerce.number().int().min(0).optional(),
});
/** Its answer; the step says which fields there are. */
export const targetWrittenSchema = z.looseObject({});

/** POST /transfer/targets/:endId/bytes: a stretch of a large file; the body is its bytes. */
export const targetPutSchema = z.strictObject({
  ...endRef,
  file: z.coerce.number().int().min(0).describe('as `prepare` numbers it'),
  at: z.coerce.number().int().min(0).describe('where its first byte goes'),
  to: z.coerce.number().int().min(0).describe('behind its last byte'),
  turn: z.coerce.number().int().min(0).describe('as the last `resume` has said; 0 before the first'),
});
/** One line of its answer. The last one has `done` or `error`; where neither comes, the connection was cut. */
export const targetTakenSchema = z.object({
  at: bytesSchema.optional().describe('all before have come'),
  done: z.literal(true).optional().describe('all are written'),
  error: z.looseObject({}).optional().describe('why no more are taken'),
});

/** DELETE /transfer/ends/:endId. */
export const endCloseSchema = z.strictObject({
  ...endRef,
  outcome: z.enum(['done', 'failed', 'cancelled']).optional(),
  files: z.coerce.number().int().min(0).optional(),
  bytes: z.coerce.number().int().min(0).optional(),
  failed: z.coerce.number().int().min(0).optional(),
});
/** Its answer. */
export const endClosedSchema = z.object({ success: z.literal(true), endId: transferIdSchema });

/** POST /transfers. */
export type TransferInput = z.infer<typeof transferInputSchema>;
/** A transfer. */
export type Transfer = z.infer<typeof transferSchema>;
/** One event of a transfer. */
export type TransferEvent = z.infer<typeof transferEventSchema>;
/** One thing that a dry run would do. */
export type DryItem = z.infer<typeof dryItemSchema>;
/** A node, as this one calls it. */
export type Place = z.infer<typeof placeSchema>;
/** One of the two machines of a transfer. */
export type TransferEnd = z.infer<typeof endSchema>;
/** What did not arrive, and why. */
export type TransferFailure = z.infer<typeof failureSchema>;
/** A page of files. */
export type FileList = z.infer<typeof fileListSchema>;
/** Root, path below it, size, mtime (ms). */
export type Stamp = z.infer<typeof stampSchema>;
/** POST /transfer/sources. */
export type SourceOpen = z.infer<typeof sourceOpenSchema>;
/** Its answer. */
export type SourceOpened = z.infer<typeof sourceOpenedSchema>;
/** What is wanted of an open source. */
export type SourceWant = z.infer<typeof sourceReadSchema>['want'];
/** POST /transfer/targets. */
export type TargetOpen = z.infer<typeof targetOpenSchema>;
/** Its answer. */
export type TargetOpened = z.infer<typeof targetOpenedSchema>;
/** One step of an open target. */
export type TargetStep = z.infer<typeof targetWriteSchema>['step'];
/** A stretch of a large file. */
export type TargetPut = z.infer<typeof targetPutSchema>;
/** One line of what a target says of it. */
export type TargetTaken = z.infer<typeof targetTakenSchema>;
/** How an end is left. */
export type EndClose = z.infer<typeof endCloseSchema>;
