import { join, posix, win32 } from 'node:path';

import type { Clock } from '../../kernel/clock.ts';
import { timeId } from '../../kernel/ids.ts';
import type { ExecuteInput } from '../../protocol/jobs.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import type { AllowedCommand } from '../../trust/command-guard.ts';
import { type CommandShell, nativePath, shellLine } from '../process/command-line.ts';
import type { JobPlan } from './job.ts';
import { clipWords } from './record.ts';
import type { JobRecord } from './stored-record.ts';

/** Where a run takes place. */
export interface RunPlace {
  readonly clock: Clock;
  readonly platform: NodeJS.Platform;
  readonly facts: () => {
    readonly host: string;
    readonly nodeId: string;
    readonly user: string;
    readonly home: string;
  };
}

/** What was decided about a run beside its input. */
export interface RunTerms {
  readonly command: AllowedCommand;
  readonly resumable: boolean;
  readonly defaultTimeoutMs: number;
}

/** The folder that a run starts in: relative ones and `~` begin at the home of the node's user. */
export const resolveCwd = (cwd: string | undefined, home: string, platform: NodeJS.Platform): string => {
  if (cwd === undefined || cwd === '~') return home;
  if (/^~[/\\]/.test(cwd)) return join(home, cwd.slice(2));
  return platform === 'win32' ? win32.resolve(home, nativePath(cwd)) : posix.resolve(home, cwd);
};

/** The input with its words joined into the one line that the shell will read: what the guard sees is what runs. */
export const asWholeLine = (input: ExecuteInput, kind: CommandShell['kind']): ExecuteInput => {
  const { command, args = [], shell } = input;
  return shell === true && args.length > 0 ? { ...input, command: shellLine(command, args, kind), args: [] } : input;
};

/** What the input asks for. */
export const planRun = (input: ExecuteInput, { command, resumable, defaultTimeoutMs }: RunTerms): JobPlan => {
  const { stdin, stdinStream, env, detach = false, timeout = detach ? 0 : defaultTimeoutMs } = input;
  const text = stdin === undefined || stdin === '' ? 'none' : { text: stdin };
  return { command, env, stdin: stdinStream === true ? 'stream' : text, timeoutMs: timeout, resumable };
};

/** The record of a new run. */
export const createRecord = (input: ExecuteInput, caller: Caller, { clock, platform, facts }: RunPlace): JobRecord => {
  const { host, nodeId, user, home } = facts();
  return {
    v: 1,
    jobId: timeId(clock),
    ...clipWords(input.command, input.args ?? []),
    cwd: resolveCwd(input.cwd, home, platform),
    shell: input.shell ?? false,
    caller: callerName(caller),
    fromNodeId: caller.kind === 'peer' ? caller.nodeId : nodeId,
    host,
    user,
    createdAt: clock.now(),
    outputBytes: 0,
  };
};
