import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';

import { LoopsyError } from '../../protocol/errors.ts';
import type { AllowedCommand } from '../../trust/command-guard.ts';

const BUILT_IN = new Set(
  'alias bg bind builtin cd command declare eval exec exit export fg hash history jobs let local popd pushd read set shift shopt source trap type ulimit umask unalias unset . :'.split(' '),
); // prettier-ignore

const BUILT_IN_CMD = new Set(
  'assoc call cd chdir cls copy date del dir echo erase for ftype if md mkdir mklink move path popd pushd rd rem ren rename rmdir set start time title type ver verify vol'.split(' '),
); // prettier-ignore

/** What was to be started, and where. */
export interface StartAttempt {
  readonly command: AllowedCommand;
  readonly cwd: string;
  readonly platform: NodeJS.Platform;
}

interface Reason {
  readonly message: string;
  readonly hint?: string;
}

/** Says why a start failed. Looked into only then, so that a start that works pays nothing for it. */
export const explainStartError = async (error: unknown, attempt: StartAttempt): Promise<LoopsyError> => {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'UNKNOWN';
  const reason = (await folderFault(attempt.cwd)) ?? (await commandFault(code, attempt));
  return new LoopsyError('execution_failed', {
    ...reason,
    details: { command: attempt.command.command, cwd: attempt.cwd, cause: code },
    cause: error,
  });
};

const folderFault = async (cwd: string): Promise<Reason | undefined> => {
  const found = await stat(cwd).catch(() => undefined);
  if (found === undefined)
    return { message: `the folder ${cwd} is not there`, hint: 'give a folder that exists with cwd' };
  if (!found.isDirectory()) return { message: `${cwd} is not a folder`, hint: 'give a folder with cwd' };
  const mayEnter = await access(cwd, constants.X_OK).then(
    () => true,
    () => false,
  );
  return mayEnter ? undefined : { message: `the folder ${cwd} may not be entered by the node's user` };
};

const commandFault = async (code: string, attempt: StartAttempt): Promise<Reason> => {
  const name = attempt.command.command;
  switch (code) {
    case 'ENOENT':
      return notFound(name, attempt);
    case 'EACCES':
      return { message: `"${name}" may not be executed`, hint: "is it a program, and executable for the node's user?" };
    case 'E2BIG':
      return {
        message: `the arguments and environment of "${name}" are too long for this system`,
        hint: 'send long data through stdin',
      };
    case 'EAGAIN':
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOMEM':
      return {
        message: `the system has no room for another process (${code})`,
        hint: 'wait for others to end, or raise the limit',
      };
    case 'ENOEXEC':
      return {
        message: `"${name}" is not a program that this system can run`,
        hint: 'a script needs a first line such as #!/bin/sh',
      };
    default:
      return { message: `"${name}" could not be started (${code})` };
  }
};

const notFound = async (name: string, { cwd, platform }: StartAttempt): Promise<Reason> => {
  const message = `the command "${name}" was not found`;
  const isWindows = platform === 'win32';
  const isBuiltIn = BUILT_IN.has(name) || (isWindows && BUILT_IN_CMD.has(name.toLowerCase()));
  if (isBuiltIn) return { message, hint: `${name} is part of a shell: use shell: true (--shell)` };
  const isPath = name.includes('/') || (isWindows && name.includes('\\'));
  if (isPath && !isWindows && (await isThere(isAbsolute(name) ? name : resolve(cwd, name)))) {
    return { message: `the interpreter that "${name}" names in its first line was not found` };
  }
  if (/[\s|&;<>$`*]/.test(name)) {
    return { message, hint: 'give arguments one by one, or use shell: true (--shell) for a command line' };
  }
  if (isPath) return { message, hint: 'check the path' };
  return { message, hint: 'check its spelling, or give its full path; execution.env can set PATH' };
};

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
