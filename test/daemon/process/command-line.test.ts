import { execFileSync } from 'node:child_process';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { commandLine, findShell, nativePath, shellLine } from '../../../src/daemon/process/command-line.ts';
import { guardCommand } from '../../../src/trust/command-guard.ts';
import { allow, call, OWNER, startJobs } from '../jobs/setup.ts';
import { verifies } from '../../requirements.ts';

const SH = { kind: 'sh', file: '/bin/sh' } as const;

describe('what is started', () => {
  it('is the program itself with its words untouched where no shell was asked for', () => {
    const words = ['$HOME', '*', "it's", '', '-la', 'a b'];
    expect(commandLine(allow({ command: 'x y', args: words }), SH)).toEqual({ file: 'x y', args: words });
  });

  it('is sh -c with the line as it is; further words reach the command as single words', () => {
    const word = fc.string({ unit: 'binary' }).filter((text) => !text.includes('\0'));
    const property = fc.property(fc.array(word), (args) => {
      const line = shellLine("printf '%s\\0'", args, 'sh');
      const started = commandLine(allow({ command: line, shell: true }), SH);
      expect(started.args).toEqual(['-c', line]);
      const printed = execFileSync(started.file, started.args).toString();
      expect(printed).toBe(args.length === 0 ? '\0' : args.map((text) => `${text}\0`).join(''));
    });
    fc.assert(property, { numRuns: 30 });
  });

  it('is cmd on Windows without Git Bash, with its operators quoted in further words', () => {
    const line = shellLine('dir & echo', ['a&b', 'say "hi"', 'c\\'], 'cmd');
    expect(line).toBe(String.raw`dir & echo ^"a^&b^" ^"say \^"hi\^"^" ^"c\\^"`);
    const started = commandLine(allow({ command: line, shell: true }), { kind: 'cmd', file: 'cmd.exe' });
    expect(started).toEqual({ file: 'cmd.exe', args: ['/d', '/s', '/c', `"${line}"`], verbatim: true });
  });

  it('a denied program can not hide in the words behind a line: the guard sees what runs', async () => {
    const rules = { denylist: ['rm'], allowlist: [], platform: 'linux' } as const;
    const { jobs } = await startJobs(
      {},
      {
        guardCommand: ({ command, args = [], shell }) =>
          guardCommand({ command, args, ...(shell === true ? { shell: 'sh' } : {}) }, rules),
      },
    );
    const hidden = { command: 'env', args: ['rm', '-rf', 'x'] };
    await expect(jobs.execute({ ...hidden, shell: true }, call())).rejects.toMatchObject({ error: 'command_denied' });
    await expect(jobs.stream(hidden, call())).rejects.toMatchObject({ error: 'command_denied' });
    expect((await jobs.list({ state: 'all' }, OWNER)).jobs).toEqual([]);
    expect(await jobs.execute({ command: 'echo', args: ['rm', "it's"], shell: true }, call())).toMatchObject({
      stdout: "rm it's\n",
    });
  });
});

describe('the shell', () => {
  const windows = (variables: Record<string, string>, ...there: string[]) =>
    findShell({ platform: 'win32', variables, exists: (file) => there.includes(file) });

  it('is /bin/sh on POSIX', () => {
    expect(findShell({ platform: 'darwin', variables: { SHELL: '/bin/zsh' }, exists: () => true })).toEqual(SH);
  });

  it(
    verifies('platform.windows-shell', 'is Git Bash’s sh on Windows where the node runs in it, or finds it; else cmd'),
    () => {
      const inBash = { MSYSTEM: 'MINGW64', SHELL: '/c/Git/usr/bin/bash' };
      expect(windows(inBash, 'C:\\Git\\usr\\bin\\sh.exe').file).toBe('C:\\Git\\usr\\bin\\sh.exe');
      const program = 'C:\\Program Files\\Git\\bin\\sh.exe';
      expect(windows({ ProgramFiles: 'C:\\Program Files' }, program)).toEqual({ kind: 'sh', file: program });
      expect(windows({ ProgramFiles: 'C:\\Program Files', ComSpec: 'C:\\w\\cmd.exe' })).toEqual({
        kind: 'cmd',
        file: 'C:\\w\\cmd.exe',
      });
      expect(windows({})).toEqual({ kind: 'cmd', file: 'cmd.exe' });
    },
  );

  it('paths of Git Bash are translated', () => {
    expect(nativePath('/c/Users/kai')).toBe('C:\\Users\\kai');
    expect(nativePath('/d')).toBe('D:\\');
    expect(nativePath('C:/x/../y')).toBe('C:\\y');
  });
});
