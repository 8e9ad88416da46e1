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
const sh = (command: string, by = rules): string => outcome({ command, shell: 'sh' }, by);
const cmd = (command: string): string => outcome({ command, shell: 'cmd' }, { ...rules, platform: 'win32' });
const powershell = (command: string): string =>
  outcome({ command, shell: 'powershell' }, { ...rules, platform: 'win32' });

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
    expect(outcome({ command: 'env', args: Array.from({ length: 2000 }, () => 'env') })).toBe('command_denied');
    let nested = 'ls';
    for (let depth = 0; depth < 12; depth += 1) nested = `sh -c ${JSON.stringify(nested)}`;
    expect(['allowed', 'command_denied']).toContain(sh(nested));
    expect(sh('a;'.repeat(9000))).toBe('allowed');
    expect(sh('a;'.repeat(65_000))).toBe('command_denied');
    for (const piece of ['[', '{,', '<<a\n', '$(', '`', '"', '* ']) sh(piece.repeat(65_000 / piece.length));
    outcome({ command: 'if '.repeat(40_000), shell: 'cmd' });
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
