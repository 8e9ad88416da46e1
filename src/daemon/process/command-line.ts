import { win32 } from 'node:path';

import { fromGitBash } from '../../kernel/git-bash-path.ts';
import type { AllowedCommand } from '../../trust/command-guard.ts';

/** What the operating system is given to start. */
export interface CommandLine {
  readonly file: string;
  readonly args: readonly string[];
  /** Windows: the arguments are quoted already. */
  readonly verbatim?: boolean;
}

/** What the choice of a shell depends on. */
export interface ShellHost {
  readonly platform: NodeJS.Platform;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly exists: (file: string) => boolean;
}

/** Turns an allowed command into a program and its arguments; a shell only where the caller asked for one. */
export const commandLine = (command: AllowedCommand, shell: CommandShell): CommandLine => {
  if (command.shell === undefined) return { file: command.command, args: command.args };
  if (shell.kind === 'sh') return { file: shell.file, args: ['-c', command.command] };
  return { file: shell.file, args: ['/d', '/s', '/c', `"${command.command}"`], verbatim: true };
};

/** One line for the shell: `command` as it is, further words quoted. Made before the guard, which must see all of it. */
export const shellLine = (command: string, args: readonly string[], kind: CommandShell['kind']): string =>
  [command, ...args.map(kind === 'sh' ? quoteForSh : quoteForCmd)].join(' ');

/** The shell of `shell: true`. */
export interface CommandShell {
  readonly kind: 'sh' | 'cmd';
  readonly file: string;
}

/** POSIX: /bin/sh. Windows: Git Bash's sh where the node runs in it or finds it, else cmd. */
export const findShell = ({ platform, variables, exists }: ShellHost): CommandShell => {
  if (platform !== 'win32') return { kind: 'sh', file: '/bin/sh' };
  const sh = gitBashPlaces(variables).find(exists);
  if (sh !== undefined) return { kind: 'sh', file: sh };
  return { kind: 'cmd', file: variables['ComSpec'] ?? variables['COMSPEC'] ?? 'cmd.exe' };
};

const gitBashPlaces = (variables: ShellHost['variables']): string[] => {
  const places: string[] = [];
  const shell = variables['SHELL'];
  if (variables['MSYSTEM'] !== undefined && shell !== undefined) {
    const exe = shell.toLowerCase().endsWith('.exe') ? shell : `${shell}.exe`;
    places.push(win32.join(win32.dirname(nativePath(exe)), 'sh.exe'));
  }
  for (const root of ['ProgramFiles', 'ProgramW6432', 'ProgramFiles(x86)']) {
    const folder = variables[root];
    if (folder !== undefined) places.push(win32.join(folder, 'Git', 'bin', 'sh.exe'));
  }
  const local = variables['LOCALAPPDATA'];
  if (local !== undefined) places.push(win32.join(local, 'Programs', 'Git', 'bin', 'sh.exe'));
  return places;
};

const quoteForSh = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

// A quote is doubled, backslashes before it too; ^ keeps cmd from reading operators and %variables%.
const quoteForCmd = (word: string): string =>
  `"${word.replaceAll(/(\\*)"/g, '$1$1\\"').replace(/(\\*)$/, '$1$1')}"`.replaceAll(/[()%!^"<>&|]/g, '^$&');

/** A path of Windows, `C:/x` and Git Bash's `/c/x` too, as Windows itself writes it. */
export const nativePath = (path: string): string => win32.normalize(fromGitBash(path));
