import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { guardCommand, type CommandRules, type WantedCommand } from '../../src/trust/command-guard.ts';

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
const cmd = (command: string): string => outcome({ command, shell: 'cmd' }, { ...rules, platform: 'win32' });
const powershell = (command: string): string =>
  outcome({ command, shell: 'powershell' }, { ...rules, platform: 'win32' });

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

describe('the denylist, on a line for a shell', () => {
  it.each([
    'rm x',
    'ls; rm x',
    'ls && rm x',
    'ls || rm x',
    'ls | xargs rm',
    'ls & rm x',
    'ls\nrm x',
    '(rm x)',
    '( cd x; rm y )',
    '{ rm x; }',
    'f() { rm x; }; f',
    'function f { rm x; }; f',
    'if true; then rm x; fi',
    'if rm x; then :; fi',
    'while true; do rm x; done',
    'until rm x; do :; done',
    'for f in *; do rm "$f"; done',
    'for ((i=0;i<3;i++)); do rm x; done',
    'case $1 in a) rm x;; esac',
    'case $1 in a|b) ls;; *) rm x;; esac',
    'case $1 in (a) ls;; esac; rm x',
    'echo $(case x in a) rm x;; esac)',
    '! rm x',
    'time rm x',
    'coproc rm x',
    'A=1 B=2 rm x',
    'A=1 case x in \n rm x',
    '>out case x in\nrm x',
    '<< a\\ b ${X:-rm} x',
    'A="x y" rm x',
    '2>/dev/null rm x',
    '>out rm x',
    '<in >out rm x',
    'ls &>out; rm x',
    'ls 2>&1 | rm x',
    'echo $(rm x)',
    'echo "$(rm x)"',
    'echo "a $(echo "$(rm x)") b"',
    'echo `rm x`',
    'echo "`rm x`"',
    'echo `echo \\`rm x\\``',
    'echo ${X:-$(rm x)}',
    'echo $((1 + $(rm x)))',
    'cat <(rm x)',
    'tee >(rm x)',
    'A=$(rm x)',
    "'rm' x",
    '"rm" x',
    'r""m x',
    "r'm' x",
    'r\\m x',
    '\\rm x',
    "$'rm' x",
    "$'\\x72m' x",
    "$'\\162\\155' x",
    '$"rm" x',
    'r\\\nm x',
    '/bin/r? x',
    '/bin/r* x',
    '/bin/[r]m x',
    'r{m,x} y',
    '{rm,-rf,x}',
    'X=rm; $X x',
    'X=rm && "$X" x',
    'a=(rm x); "${a[@]}"',
    '${X:-rm} x',
    '$(echo rm) x',
    '`echo rm` x',
    'm=m; r$m x',
    'eval rm x',
    "eval 'rm x'",
    'eval "$(echo rm x)"',
    "trap 'rm x' EXIT",
    'exec rm x',
    'command rm x',
    "sh -c 'rm x'",
    'bash -lc "ls; rm x"',
    'bash <<< "rm x"',
    'bash <<EOF\nrm x\nEOF',
    "bash <<'EOF'\nrm x\nEOF\nls",
    'cat <<EOF\n$(rm x)\nEOF',
    'cat <<EOF\nhello\nEOF\nrm x',
    'cat <<-EOF\n\thello\n\tEOF\nrm x',
    '(( x = 1 << 2 ))\nrm x',
    'echo rm x | sh',
    'echo "rm x" | bash -s',
    'sudo -u root bash -c "nohup rm x &"',
    'ls # comment\nrm x',
    'echo a#b; rm x',
    'find . -exec rm {} \\;',
    'env -i PATH=/bin rm x',
    'ls;rm x',
    'ls;;rm',
    '\t rm x',
    '[ -f x ] && rm x',
    '[[ -f x && rm ]] || rm x',
  ])('finds the command in %j', (line) => {
    expect(sh(line)).toBe('command_denied');
  });

  it.each([
    'echo format',
    'echo rm -rf /',
    'echo "rm x; dd"',
    "echo 'a; rm x'",
    'echo a\\; rm',
    'ls # rm x',
    "ls # it's fine\nls",
    'git rm x && git commit -m "rm; dd"',
    'MODE=format npm run build',
    'npm run format | tee dd',
    'for f in rm dd; do echo "$f"; done',
    'case rm in rm) echo x;; format) echo y;; esac',
    '[ "$1" = format ] && echo x',
    'cat <<EOF\nformat the disk\nrm x\nEOF',
    "cat > x <<'EOF'\n$(rm x)\nEOF",
    'ls > rm',
    'grep dd < rm',
    '"$HOME/bin/tool" format',
    '$(npm bin)/eslint format',
    '$PYTHON -m pytest',
    'curl -fsSL https://x | bash',
    'for i in $(seq 1 3); do echo $i; done',
    'echo $((1 << 2)) $((3 > 2))',
    'cd "$DIR" && make -j4 2>&1 | tail -5',
    'if [ -d x ]; then echo dir; else echo none; fi',
    'ls *.txt {a,b}/c',
    "awk '{ print $1 }' x",
    'echo "it\'s" && echo \'"\'',
  ])('raises no false alarm at %j', (line) => {
    expect(sh(line)).toBe('allowed');
  });

  it.each(["echo 'x", 'echo "x', 'echo $(ls', 'echo `ls', "$'x", 'cat <<'])(
    'refuses a line that can not be read: %j',
    (line) => {
      expect(sh(line)).toBe('command_denied');
    },
  );

  it('refuses what nests or goes on beyond all use, quickly', () => {
    const started = performance.now();
    expect(sh(`${'$('.repeat(1000)}ls${')'.repeat(1000)}`)).toBe('command_denied');
    expect(sh(`echo ${'x'.repeat(300_000)}`)).toBe('command_denied');
    expect(run('env '.repeat(2000).trim())).toBe('command_denied');
    let nested = 'ls';
    for (let depth = 0; depth < 12; depth += 1) nested = `sh -c ${JSON.stringify(nested)}`;
    expect(['allowed', 'command_denied']).toContain(sh(nested));
    expect(sh('a;'.repeat(65_000))).toBe('allowed');
    expect(performance.now() - started).toBeLessThan(1500);
  });

  it.each([
    'del & rm x',
    'echo x | rm',
    'r^m x',
    '@rm x',
    'RM.EXE x',
    '"C:\\bin\\rm.exe" x',
    'if exist x rm x',
    'if not exist x (rm x)',
    'for %i in (a b) do rm %i',
    'call rm x',
    'start "title" /wait rm x',
    'rmdir/s/q x',
    'rd /s /q x',
    'cmd /c "rm x"',
    ';rm x',
    '%X%rm',
    'set X=rm & %X% y',
    'powershell -c "rm x"',
    'forfiles /c "cmd /c rm x"',
  ])('finds the command in cmd’s %j', (line) => {
    expect(cmd(line)).toBe('command_denied');
  });

  it.each([
    'echo format',
    'echo "a & rm x"',
    "echo it's",
    'echo a^&rm',
    'git rm x',
    'npm run format > rm',
    'type rm.txt',
    'date +%Y',
  ])('raises no false alarm at cmd’s %j', (line) => {
    expect(cmd(line)).toBe('allowed');
  });

  it.each([
    'rm x',
    'Remove-Item x',
    'ri x',
    'ls | rm',
    'ls; del x',
    '& "rm" x',
    'r`m x',
    'if ($x) { rm y }',
    'ls | % { rm $_ }',
    'iex "rm x"',
    'Invoke-Expression "Remove-Item x"',
    '$x = "rm"; & $x y',
    'Start-Process rm x',
    'cmd /c "rm x"',
    '"$(rm x)"',
    'Format-Volume D',
    'Restart-Computer',
  ])('finds the command in PowerShell’s %j', (line) => {
    expect(powershell(line)).toBe('command_denied');
  });

  it.each(['Write-Output format', "Write-Output 'rm; x'", 'Get-ChildItem | Select-Object Name', 'git rm x', 'ls # rm'])(
    'raises no false alarm at PowerShell’s %j',
    (line) => {
      expect(powershell(line)).toBe('allowed');
    },
  );
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

  it('is handed on exactly as it was checked, and can not be changed after', () => {
    const args = ['a b', '$X'];
    const allowed = guardCommand({ command: 'ls', args }, rules);
    args.push('x');
    expect(allowed).toEqual({ command: 'ls', args: ['a b', '$X'], shell: undefined });
    expect(Object.isFrozen(allowed) && Object.isFrozen(allowed.args)).toBe(true);
  });

  it('never throws anything but a denial, and always sees a denied program at the end of a line', () => {
    const piece = fc.constantFrom(
      'ls',
      "'",
      '"',
      '$(',
      ')',
      '`',
      '<<EOF',
      '\n',
      ';',
      '|',
      '&',
      '\\',
      '{',
      '}',
      'case',
      'in',
      'esac',
      '$X',
      '#',
      ' ',
      '*',
      '>',
      'A=1',
      "$'",
      '((',
      '))',
      'for',
      'do',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), fc.constantFrom('sh', 'cmd', 'powershell'), (pieces, shell) => {
        const line = pieces.join(' ');
        const before = outcome({ command: line, shell });
        expect(['allowed', 'command_denied']).toContain(before);
        // A line that can be read to its end, followed by a new one.
        if (before === 'allowed' && !/[#\\{<]|case|for|`$/.test(line)) {
          expect(outcome({ command: `${line}\nrm x`, shell }), line).toBe('command_denied');
        }
      }),
      { numRuns: 20_000 },
    );
  });
});
