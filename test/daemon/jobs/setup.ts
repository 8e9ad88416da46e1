import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { onTestFinished } from 'vitest';

import type { Call, StreamPiece, StreamSource } from '../../../src/daemon/edge/call.ts';
import type { JobSettings, JobsOptions } from '../../../src/daemon/jobs/options.ts';
import { createJobs, type Jobs } from '../../../src/daemon/jobs/service.ts';
import { readProcesses } from '../../../src/daemon/process/process-table.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import type { Log } from '../../../src/kernel/log.ts';
import { FRAME, isOutput } from '../../../src/protocol/frames.ts';
import type { ExecuteInput } from '../../../src/protocol/jobs.ts';
import { openMemoryStore } from '../../../src/store/memory.ts';
import type { Store } from '../../../src/store/store.ts';
import type { Caller } from '../../../src/trust/caller.ts';
import { type AllowedCommand, guardCommand } from '../../../src/trust/command-guard.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';

/** The path of a fixture program. */
export const program = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/programs/${name}.mjs`, import.meta.url));

/** The input that runs a fixture program. */
export const runProgram = (name: string, ...args: string[]): ExecuteInput => ({
  command: process.execPath,
  args: [program(name), ...args],
});

/** The input that runs a line in a shell. */
export const sh = (line: string): ExecuteInput => ({ command: line, shell: true });

/** Lets everything through: the guard has its own tests. */
export const allow = ({ command, args = [], shell = false }: ExecuteInput): AllowedCommand =>
  guardCommand(
    { command, args, ...(shell ? { shell: 'sh' } : {}) },
    { denylist: [], allowlist: [], platform: 'linux' },
  );

/** A log that remembers. */
const rememberingLog = (): Log & { readonly lines: string[] } => {
  const lines: string[] = [];
  const add = (event: string): void => void lines.push(event);
  const log = { lines, debug: add, info: add, warn: add, error: add, child: () => log };
  return log;
};

export const OWNER: Caller = { kind: 'owner' };

/** A caller with a key of its own; what it is granted is decided before a service is asked. */
export const keyCaller = (name: string): Caller => ({ kind: 'key', name, grant: {} as never });

export interface Setup {
  readonly jobs: Jobs;
  readonly dir: string;
  readonly home: string;
  readonly store: Store;
  readonly settings: { -readonly [Key in keyof JobSettings]: JobSettings[Key] };
  readonly log: ReturnType<typeof rememberingLog>;
}

/** A started service over a memory store; stopped when the test ends. */
export const startJobs = async (
  settings: Partial<JobSettings> = {},
  options: Partial<JobsOptions> = {},
): Promise<Setup> => {
  const home = await tempFolder();
  const dir = options.dir ?? join(home, 'jobs');
  const live = {
    maxConcurrent: 10,
    maxQueued: 200,
    defaultTimeoutMs: 300_000,
    maxOutputBytes: 104_857_600,
    keepDays: 7,
    env: {},
    ...settings,
  };
  const log = rememberingLog();
  const store = options.store ?? openMemoryStore({ clock: systemClock });
  const jobs = createJobs({
    clock: systemClock,
    log,
    guardCommand: allow,
    settings: () => live,
    facts: () => ({ host: 'test-host', nodeId: 'a'.repeat(32), user: 'tester', home }),
    platform: process.platform,
    variables: process.env,
    loginPath: { value: () => process.env['PATH'] ?? '' },
    supervisorsDir: join(home, 'supervisors'),
    ...options,
    store,
    dir,
  });
  await jobs.start(new AbortController().signal);
  onTestFinished(() => jobs.stop());
  return { jobs, dir, home, store, settings: live, log };
};

let requests = 0;

/** A request. */
export const call = (more: Partial<Call> = {}): Call => ({
  operation: 'job.stream',
  caller: OWNER,
  requestId: (requests++).toString(16).padStart(32, '0'),
  digest: '',
  resumable: false,
  signal: new AbortController().signal,
  announce: () => undefined,
  note: () => undefined,
  ...more,
});

export interface Read {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly types: number[];
  /** The JSON of everything that isn't output. */
  readonly notes: { readonly type: number; readonly data: Record<string, unknown> }[];
  readonly cursor: number;
}

/** The data of a piece that isn't output. */
export const dataOf = (piece: StreamPiece | undefined): Record<string, unknown> =>
  JSON.parse(Buffer.from(piece?.bytes ?? []).toString()) as Record<string, unknown>;

/** Reads to the end, or until `enough` says so; closes the source. */
export const readAll = async (
  source: StreamSource,
  enough: (piece: StreamPiece) => boolean = () => false,
): Promise<Read> => {
  const out: Uint8Array[] = [];
  const err: Uint8Array[] = [];
  const types: number[] = [];
  const notes: Read['notes'] = [];
  let cursor = 0;
  for (let piece = await source.next(); piece !== undefined; piece = await source.next()) {
    types.push(piece.type);
    cursor = piece.cursor;
    if (piece.type === FRAME.stdout) out.push(piece.bytes);
    if (piece.type === FRAME.stderr) err.push(piece.bytes);
    if (!isOutput(piece.type)) notes.push({ type: piece.type, data: dataOf(piece) });
    if (enough(piece)) break;
  }
  source.close();
  return { stdout: Buffer.concat(out), stderr: Buffer.concat(err), types, notes, cursor };
};

/** What stdout says, up to the first piece that matches. */
export const readUntil = async (source: StreamSource, pattern: RegExp): Promise<string> => {
  let text = '';
  for (let piece = await source.next(); piece !== undefined; piece = await source.next()) {
    if (isOutput(piece.type)) text += Buffer.from(piece.bytes).toString();
    if (pattern.test(text)) break;
  }
  return text;
};

/** The last note of a read: how the run ended. */
export const endOf = (read: Read): Record<string, unknown> => read.notes.at(-1)?.data ?? {};

/** True while the process is there and more than a zombie: its parent may take its time to collect it. */
export const lives = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return process.platform !== 'linux' || !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
};

/** True while anything of the process group runs. */
export const groupLives = async (pid: number): Promise<boolean> =>
  [...(await readProcesses(process.platform)).values()].some(({ pgid, isZombie }) => pgid === pid && !isZombie);

/** Waits until `done`, looking every few ms; the test's own limit ends it. */
export const until = async (done: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await done())) await new Promise((resolve) => setTimeout(resolve, 5));
};
