import { describe, expect, expectTypeOf, it } from 'vitest';

import {
  type AllowedCommand,
  guardCommand,
  type CommandRules,
  type WantedCommand,
} from '../../src/trust/command-guard.ts';
import type { SafePath } from '../../src/trust/path-guard.ts';
import { verifies } from '../requirements.ts';

const DENYLIST = ['rm', 'rmdir', 'format', 'mkfs', 'dd', 'shutdown', 'reboot'];
const rules: CommandRules = { denylist: DENYLIST, allowlist: [], platform: 'linux' };

const outcome = (wanted: WantedCommand, by: CommandRules = rules): string => {
  try {
    guardCommand(wanted, by);
    return 'allowed';
  } catch (error) {
    return error instanceof Error && 'error' in error ? String(error.error) : String(error);
  }
};
const run = (line: string, by = rules): string => {
  const [command = '', ...args] = line.split(' ');
  return outcome({ command, args }, by);
};
const sh = (command: string, by = rules): string => outcome({ command, shell: 'sh' }, by);

describe('the denylist, on a command', () => {
  it.each([
    'rm -rf /',
    '/bin/rm x',
    '../../bin/rm x',
    './rm',
    'rm.exe x',
    'mkfs.ext4 /dev/sda',
    'env rm x',
    '/usr/bin/env rm x',
    'env -i A=1 B=2 rm x',
    'env -u HOME rm',
    'env --unset HOME rm',
    'env --unse HOME rm',
    'env -C /tmp rm x',
    'sudo rm x',
    'sudo -u root -n rm x',
    'sudo -uroot rm x',
    'sudo --user root rm x',
    'sudo --user=root -- rm x',
    'sudo A=1 rm',
    'doas -u root rm x',
    'nice rm',
    'nice -n 5 rm',
    'nice -5 rm',
    'nohup rm',
    'setsid -f rm',
    'time -p rm x',
    'timeout 5 rm x',
    'timeout -k 5 10 rm x',
    'timeout --signal=KILL 10 rm x',
    'timeout --foreground 5 rm x',
    'xargs rm',
    'xargs -0 -n 1 -P 4 rm -f',
    'xargs -I{} rm {}',
    'stdbuf -oL rm x',
    'ionice -c 3 rm x',
    'taskset -c 0 rm',
    'chroot /x rm',
    'strace -f -o log rm x',
    'flock /tmp/l rm x',
    'busybox rm x',
    'busybox sh -c rm',
    'toybox dd',
    'command rm x',
    'builtin rm',
    'exec -a x rm',
    'find . -name x -exec rm {} ;',
    'find / -execdir dd ;',
    'sudo env nice nohup timeout 5 xargs rm',
    'systemd-run --user -p A=b rm x',
    'watch -n 1 rm x',
    'parallel -j 4 rm ::: a b',
  ])('sees through %s', (line) => {
    expect(run(line)).toBe('command_denied');
  });

  it.each([
    ['sh', '-c', 'rm -rf /'],
    ['bash', '-lc', 'cd /tmp && rm -rf x'],
    ['bash', '-o', 'pipefail', '-c', 'rm x'],
    ['bash', '--norc', '-e', '-c', 'rm x'],
    ['bash', '--rcfile', 'x', '-c', 'rm x'],
    ['zsh', '-ec', 'rm x'],
    ['dash', '-c', '--', 'rm x'],
    ['/bin/sh', '-c', 'sh -c \'sh -c "rm x"\''],
    ['sh', '-c', '"$@"', '_', 'rm', '-rf'],
    ['sh', '-c', '$0', 'rm'],
    ['env', '-S', 'rm -rf /'],
    ['env', '-Srm -rf /'],
    ['env', '--split-string=rm -rf /'],
    ['su', 'root', '-c', 'rm x'],
    ['su', '-', '--command=rm x'],
    ['script', '-q', '-c', 'rm x', '/dev/null'],
    ['flock', '/tmp/l', '-c', 'rm x'],
    ['watch', 'ls; rm x'],
    ['cmd', '/c', 'del & rm x'],
    ['cmd.exe', '/d', '/s', '/c', '"rm x"'],
    ['powershell', '-NoProfile', '-Command', 'Remove-Item x'],
    ['pwsh', '-c', 'rm x'],
    ['powershell.exe', '-ExecutionPolicy', 'Bypass', 'rm x'],
    ['powershell', '-EncodedCommand', Buffer.from('rm x', 'utf16le').toString('base64')],
    ['powershell', '-enc', Buffer.from('ri x', 'utf16le').toString('base64')],
  ])('reads the line in %s %s %s', (command, ...args) => {
    expect(outcome({ command, args })).toBe('command_denied');
  });

  it.each([
    'echo format',
    'git rm x',
    'git commit -m rm',
    'npm run format',
    'docker run --rm x',
    './format.sh',
    'prettier format',
    'man rm',
    'which dd',
    'command -v rm',
    'sudo git rm x',
    'env A=rm git status',
    'timeout 5 npm run format',
    'xargs -n 1 echo rm',
    'find . -name rm',
    'rmx',
    'farm',
    'bash rm.sh',
    'node --eval rm',
    'RM',
  ])('raises no false alarm at %s', (line) => {
    expect(run(line)).toBe('allowed');
  });

  it('is read by base name, however a person wrote it', () => {
    expect(run('rm x', { ...rules, denylist: ['/bin/rm'] })).toBe('command_denied');
    expect(run('RM x', { ...rules, platform: 'darwin' })).toBe('command_denied');
  });

  it.each([
    'RM x',
    'C:\\bin\\rm.exe',
    'c:/bin/Rm.EXE',
    'C:rm',
    'rm.',
    'rm. .',
    'FORMAT.COM',
    'env RM.exe',
    '\\\\server\\bin\\rm.exe',
  ])('is read as Windows would: %s', (line) => {
    expect(run(line, { ...rules, platform: 'win32' })).toBe('command_denied');
  });

  it('says what was denied and where to change it', () => {
    expect(() => guardCommand({ command: 'env', args: ['rm'] }, rules)).toThrow(
      expect.objectContaining({ error: 'command_denied', message: '"rm" is denied here (execution.denylist)' }),
    );
  });
});

describe('the allowlist', () => {
  const only: CommandRules = { denylist: [], allowlist: ['git', 'ls', 'echo', 'bash', 'env'], platform: 'linux' };

  it.each(['git status', 'env -u X A=1 git status', '/usr/bin/git log'])('lets its programs run: %s', (line) => {
    expect(run(line, only)).toBe('allowed');
  });
  it.each([
    'git status && ls',
    'A=1 git log | ls > x',
    'for x in a b; do echo "$x"; done',
    '(git status)',
    "bash -c 'git status'",
  ])('lets a line of its programs run: %j', (line) => {
    expect(sh(line, only)).toBe('allowed');
  });

  it.each(['rm x', 'env node x', 'sudo git status', 'gitx', 'nice git status'])(
    'refuses every other program: %s',
    (line) => {
      expect(run(line, only)).toBe('command_denied');
    },
  );
  it.each([
    'git status; node x',
    'echo $(node x)',
    '$X status',
    '$(echo git) status',
    './g* x',
    'echo x | bash',
    'eval git status',
    "bash -c 'node x'",
    'echo `node`',
    'A=1',
  ])('refuses a line with another program, or one that is not known: %j', (line) => {
    expect(sh(line, only)).toBe(line === 'A=1' ? 'allowed' : 'command_denied');
  });

  it('does not free what the denylist holds', () => {
    expect(run('rm x', { ...only, denylist: ['rm'], allowlist: ['rm'] })).toBe('command_denied');
  });
});

describe('a command', () => {
  it('can not be empty or hold a NUL, with or without lists', () => {
    const none: CommandRules = { denylist: [], allowlist: [], platform: 'linux' };
    expect(outcome({ command: '' }, none)).toBe('command_denied');
    expect(outcome({ command: 'ls\0x' }, none)).toBe('command_denied');
    expect(outcome({ command: 'ls', args: ['a\0'] }, none)).toBe('command_denied');
    expect(sh("echo 'not closed", none)).toBe('allowed');
  });

  it(verifies('trust.guards', 'is handed on exactly as it was checked, and can not be changed after'), () => {
    const args = ['a b', '$X'];
    const allowed = guardCommand({ command: 'ls', args }, rules);
    args.push('x');
    expect(allowed).toEqual({ command: 'ls', args: ['a b', '$X'], shell: undefined });
    expect(Object.isFrozen(allowed) && Object.isFrozen(allowed.args)).toBe(true);
  });

  it(verifies('trust.guards', 'that was not checked is none for the compiler, nor is a path'), () => {
    interface Unchecked {
      readonly command: string;
      readonly args: readonly string[];
      readonly shell: undefined;
    }
    // Compared when the tests are type-checked.
    expectTypeOf<AllowedCommand>().toExtend<{ readonly command: string }>();
    expectTypeOf<Unchecked>().not.toExtend<AllowedCommand>();
    expectTypeOf<string>().not.toExtend<SafePath>();
  });
});
