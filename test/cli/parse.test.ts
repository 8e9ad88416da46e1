import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { COMMANDS, GLOBAL_OPTIONS } from '../../src/cli/commands.ts';
import { parseCommandLine } from '../../src/cli/parse.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';
import { verifies } from '../requirements.ts';

const refusal = (...argv: string[]): LoopsyError => {
  try {
    parseCommandLine(argv);
  } catch (thrown) {
    if (thrown instanceof LoopsyError) return thrown;
    throw thrown;
  }
  throw new Error(`${argv.join(' ')} was accepted`);
};

const exec = (...argv: string[]) => {
  const { spec, args, has, values } = parseCommandLine(['exec', ...argv]);
  expect(spec?.path).toBe('exec');
  const options = Object.fromEntries(
    [...(spec?.options ?? []), ...GLOBAL_OPTIONS]
      .filter(({ name }) => has(name))
      .map(({ name }) => [name, values(name)]),
  );
  return { peer: args[0], command: args.slice(1), options };
};

describe('the words of a command line', () => {
  it('finds commands of one and of two words, wherever global options stand', () => {
    expect(parseCommandLine(['status']).spec?.path).toBe('status');
    expect(parseCommandLine(['--json', 'status']).has('json')).toBe(true);
    expect(parseCommandLine(['--data-dir', '/x', 'peers', 'add', 'kai', '19600']).args).toEqual(['kai', '19600']);
    expect(parseCommandLine(['--data-dir=/x', 'peers']).value('data-dir')).toBe('/x');
    expect(parseCommandLine(['peers', 'show', 'kai', '--json']).has('json')).toBe(true);
  });

  it('takes a group alone as its list', () => {
    expect(parseCommandLine(['peers']).spec?.path).toBe('peers list');
    expect(parseCommandLine(['peers', '--json']).spec?.path).toBe('peers list');
    expect(parseCommandLine(['jobs', '--all']).spec?.path).toBe('jobs list');
    expect(parseCommandLine(['key']).spec?.path).toBe('key list');
  });

  it('takes nothing at all as no command', () => {
    expect(parseCommandLine([]).spec).toBeUndefined();
    expect(parseCommandLine(['--json']).has('json')).toBe(true);
  });

  it('shows help for everything, a group or a command, in any of the forms that people try', () => {
    expect(parseCommandLine(['help']).has('help')).toBe(true);
    expect(parseCommandLine(['-h']).has('help')).toBe(true);
    expect(parseCommandLine(['peers', '--help'])).toMatchObject({ group: 'peers', spec: undefined });
    expect(parseCommandLine(['help', 'exec']).spec?.path).toBe('exec');
    expect(parseCommandLine(['help', 'peers', 'add']).spec?.path).toBe('peers add');
    expect(parseCommandLine(['exec', '--help']).has('help')).toBe(true);
  });

  it.each([
    [['satus'], 'there is no command "loopsy satus"', 'did you mean "loopsy status"?'],
    [['peers', 'ad'], 'there is no command "loopsy peers ad"', 'did you mean "loopsy peers add"?'],
    [['zzzzzz'], 'there is no command "loopsy zzzzzz"', 'the commands are: up, init, start'],
    [['status', '--jsno'], '"loopsy status" has no option --jsno', 'did you mean --json?'],
    [['exec', '--cwdd', '/x', 'kai', 'ls'], '"loopsy exec" has no option --cwdd', 'did you mean --cwd?'],
    [
      ['--cwd', '/x', 'exec', 'kai', 'ls'],
      '"loopsy" has no option --cwd',
      'options of a command stand behind its name',
    ],
    [['status', 'now'], 'does not know what to do with "now"', 'loopsy status --help'],
    [['peers', 'show'], '"loopsy peers show" needs <peer>', 'loopsy peers show --help'],
    [['send', 'kai'], '"loopsy send" needs <src>', 'loopsy send --help'],
    [['send', 'kai', 'x'], '"loopsy send" needs <dest>', 'loopsy send --help'],
    [['ls', 'kai', 'x', 'y'], 'does not know what to do with "y"', 'loopsy ls --help'],
    [['exec'], '"loopsy exec" needs <peer>', 'loopsy exec --help'],
    [['exec', 'kai'], '"loopsy exec" needs <command>', 'loopsy exec --help'],
    [['exec', 'kai', '--'], '"loopsy exec" needs <command>', 'loopsy exec --help'],
    [['exec', 'kai', '--timeout'], '--timeout needs a value', 'loopsy --help'],
    [['exec', '--timeout', '1', '--timeout', '2', 'kai', 'ls'], '--timeout was given twice', 'loopsy --help'],
    [['status', '--json=1'], '--json takes no value', 'loopsy --help'],
    [['peers', 'grant', 'kai', 'ful'], '"ful" is no level', 'did you mean "full"?'],
    [['--data-dir'], '--data-dir needs a value', 'loopsy --help'],
  ])(verifies('cli.unknown', 'refuses %j with the nearest match'), (argv, message, hint) => {
    const error = refusal(...argv);
    expect(error.message).toContain(message);
    expect(error.hint).toContain(hint);
    expect(error.exit).toBe(2);
  });

  it('takes as many of an argument as there are, also where another stands behind them', () => {
    expect(parseCommandLine(['send', 'kai', 'a', '--quiet', 'b', 'c', 'd/']).args).toEqual([
      'kai',
      'a',
      'b',
      'c',
      'd/',
    ]);
  });

  it('knows only the commands that are there', () => {
    for (const later of ['shell', 'mcp', 'session', 'dashboard']) {
      expect(refusal(later).message).toContain(`there is no command "loopsy ${later}"`);
    }
  });
});

describe('exec: which words are ours, and which are the command', () => {
  it.each([
    [['kai', 'ls', '-la', '/x'], { command: ['ls', '-la', '/x'], options: {} }],
    [['kai', '--', 'ls', '-la'], { command: ['ls', '-la'], options: {} }],
    [['--', 'kai', 'ls', '-la'], { command: ['ls', '-la'], options: {} }],
    [['--', 'kai', '--', 'ls'], { command: ['ls'], options: {} }],
    [['kai', '--', '--', 'x'], { command: ['--', 'x'], options: {} }],
    [['--cwd', '/x', 'kai', '--', '-weird'], { command: ['-weird'], options: { cwd: ['/x'] } }],
    [['kai', '-weird', '--cwd', '/x'], { command: ['-weird', '--cwd', '/x'], options: {} }],
    [['kai', '--cwd', '/x', 'ls'], { command: ['ls'], options: { cwd: ['/x'] } }],
    [['kai', '--cwd=/x', '-n', 'ls', '-n'], { command: ['ls', '-n'], options: { cwd: ['/x'], 'no-stdin': [''] } }],
    [['--quiet', 'kai', '--json', 'ls', '--json'], { command: ['ls', '--json'], options: { quiet: [''], json: [''] } }],
    [['kai', 'ls', '--cwd', '/x'], { command: ['ls', '--cwd', '/x'], options: {} }],
    [['kai', 'ls', '--', 'x'], { command: ['ls', '--', 'x'], options: {} }],
    [['kai', '--env', 'A=1', '--env', 'B=2', 'env'], { command: ['env'], options: { env: ['A=1', 'B=2'] } }],
    [['kai', '--env', '-x', 'env'], { command: ['env'], options: { env: ['-x'] } }],
    [['kai', '-nx', 'ls'], { command: ['-nx', 'ls'], options: {} }],
    [['kai', '-nn', 'ls'], { command: ['ls'], options: { 'no-stdin': ['', ''] } }],
    [['kai', '-la'], { command: ['-la'], options: {} }],
    [['kai', '-'], { command: ['-'], options: {} }],
    [['kai', ''], { command: [''], options: {} }],
    [['kai', '--nonsense', 'x'], { command: ['--nonsense', 'x'], options: {} }],
    [['kai', '--helper'], { command: ['--helper'], options: {} }],
    [['kai', 'help'], { command: ['help'], options: {} }],
  ])(verifies('cli.exec.words', 'exec %j'), (argv, expected) => {
    expect(exec(...argv)).toEqual({ peer: 'kai', ...expected });
  });

  it.each([
    [['--all', 'ls', '-la'], { command: ['ls', '-la'], options: { all: [''] } }],
    [['--all', '--', 'ls', '--all'], { command: ['ls', '--all'], options: { all: [''] } }],
    [['--cwd', '/x', '--all', '-n', 'ls'], { command: ['ls'], options: { cwd: ['/x'], all: [''], 'no-stdin': [''] } }],
    [['--all', '-'], { command: ['-'], options: { all: [''] } }],
  ])(
    verifies(['cli.exec.words', 'cli.exec.many'], 'exec %j names no peer: the command begins at once'),
    (argv, expected) => {
      expect(exec(...argv)).toEqual({ peer: '', ...expected });
    },
  );

  it('takes --all for an option of the command behind its first word, and for ours right behind the peer', () => {
    expect(exec('kai', 'ls', '--all')).toEqual({ peer: 'kai', command: ['ls', '--all'], options: {} });
    expect(exec('kai', '--all', 'ls')).toEqual({ peer: 'kai', command: ['ls'], options: { all: [''] } });
    expect(exec('--', '--all', 'ls')).toEqual({ peer: '--all', command: ['ls'], options: {} });
  });

  it('takes options on both sides of the peer', () => {
    expect(exec('--cwd', '/a', 'kai', '--timeout', '5m', 'make', '--timeout', '1').options).toEqual({
      cwd: ['/a'],
      timeout: ['5m'],
    });
  });

  it('leaves every word behind `--` as it is, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom('--', '-n', '--json', '--help', '--cwd')), { minLength: 1 }),
        (words) => {
          expect(exec('-n', 'kai', '--cwd', '/x', '--', ...words)).toEqual({
            peer: 'kai',
            command: words,
            options: { 'no-stdin': [''], cwd: ['/x'] },
          });
        },
      ),
    );
  });

  it('leaves every word behind the first word of the command as it is', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom('--', '-n', '--json', '--help', '--cwd', '--env=A=1'))),
        (words) => {
          expect(exec('kai', 'tool', ...words)).toEqual({ peer: 'kai', command: ['tool', ...words], options: {} });
        },
      ),
    );
  });
});

describe('the commands as data', () => {
  it('has an example for each command, and each example is understood', () => {
    for (const { path, examples } of COMMANDS) {
      expect(examples.length, path).toBeGreaterThan(0);
      for (const [line] of examples) {
        if (!line.startsWith('loopsy ') || /[|<>'"]/.test(line)) continue;
        expect(parseCommandLine(line.split(' ').slice(1)).spec?.path, line).toBe(path);
      }
    }
  });

  it('uses no option name twice', () => {
    for (const { path, options } of COMMANDS) {
      const names = [...(options ?? []), ...GLOBAL_OPTIONS].flatMap(({ name, short }) => [
        name,
        ...(short === undefined ? [] : [short]),
      ]);
      expect(new Set(names).size, path).toBe(names.length);
    }
  });
});
