import { createHmac } from 'node:crypto';

import type { EndedBy, JobSignal } from '../../protocol/jobs.ts';
import type { AllowedCommand } from '../../trust/command-guard.ts';
import type { CommandShell } from '../process/command-line.ts';
import type { Variables } from '../process/environment.ts';
import type { JobRecord } from './stored-record.ts';

/**
 * What node and supervisor say to each other, in lines of JSON. A supervisor serves its runs under newer nodes: what
 * stands here keeps its meaning, and is only ever added to; a change that can't be made so is another version.
 */
export const WIRE_VERSION = 1;

/** The longest line, bytes: the stdin and environment of one run, escaped. */
export const MAX_LINE_BYTES = 67_108_864;
/** The same before the other end has proved itself. */
export const MAX_GREETING_BYTES = 1024;

/** How a supervisor is found: `supervisors/<id>.json`, its user's alone. Every form of it names its process so. */
export interface SupervisorEntry {
  readonly v: 1;
  readonly id: string;
  readonly pid: number;
  /** Wall time in ms, and what `readToken` says. */
  readonly startedAt: number;
  readonly token?: string;
  readonly socket: string;
  /** What both ends prove to have. Never sent. */
  readonly secret: string;
  /** Of loopsy. */
  readonly version: string;
}

/** What a run is to do. It lives in memory alone: the environment and stdin may hold secrets. */
export interface WirePlan {
  readonly command: AllowedCommand;
  /** What the guard took the line for. */
  readonly shell: CommandShell;
  readonly env: Variables;
  readonly stdin: { readonly text: string } | 'none';
  /** 0: none. */
  readonly timeoutMs: number;
}

/** What a node asks for. */
export type WireRequest =
  /** Takes a run in; it starts with `go`, now or later. */
  | { readonly do: 'start'; readonly record: JobRecord; readonly plan: WirePlan; readonly go: boolean }
  | { readonly do: 'go'; readonly jobId: string }
  | { readonly do: 'signal'; readonly jobId: string; readonly signal: JobSignal }
  | { readonly do: 'end'; readonly jobId: string; readonly cause: EndedBy; readonly graceMs?: number }
  /** While it is followed, output is on disk, and said to be, at once. */
  | { readonly do: 'follow'; readonly jobId: string; readonly on: boolean }
  | { readonly do: 'settings'; readonly maxOutputBytes: number }
  /** With `after`, an id or '' for the first, a page of them in the order of ids; without it all. */
  | { readonly do: 'list'; readonly after?: string };

/** What a supervisor answers. A record is on disk before it is told. */
export interface WireAnswers {
  readonly start: { readonly record: JobRecord };
  readonly go: { readonly record: JobRecord };
  readonly signal: { readonly delivered: boolean };
  readonly end: object;
  readonly follow: object;
  readonly settings: object;
  /** Those that go on or wait. There are more behind a page that says so. */
  readonly list: { readonly runs: readonly JobRecord[]; readonly more?: boolean };
}

/** What a supervisor says by itself. */
export type WireNotice =
  /** It has begun, or ended. */
  | { readonly notice: 'run'; readonly record: JobRecord }
  /** So much of its output is on disk. */
  | { readonly notice: 'output'; readonly jobId: string; readonly end: number; readonly truncated: boolean };

/** A request on its way: its answer, or the body of an error, carries the same number as `re`. */
export type WireAsked = WireRequest & { readonly n: number };
/** The line of a message. */
export const lineOf = (message: object): string => `${JSON.stringify(message)}\n`;

/** Shows that this end has the secret, in this conversation and in this role. */
export const wireProof = (
  secret: string,
  role: 'node' | 'supervisor',
  { theirs, own }: { readonly theirs: string; readonly own: string },
): string => createHmac('sha256', Buffer.from(secret, 'hex')).update(`loopsy ${role} ${theirs} ${own}`).digest('hex');
