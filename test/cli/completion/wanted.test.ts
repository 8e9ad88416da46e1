import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { COMMANDS, GLOBAL_OPTIONS } from '../../../src/cli/commands.ts';
import { findWanted } from '../../../src/cli/completion/wanted.ts';

/** What may stand at the end of a line; its last word is being typed. */
const wanted = (line: string) => findWanted(line.split(' '));
const known = (line: string): string[] => wanted(line).known.map(({ value }) => value);

describe('what may stand at the end of a line', () => {
  it('is a command or a group at first, each once and with its summary', () => {
    const words = known('');
    expect(words).toEqual([...new Set(COMMANDS.map(({ path }) => path.split(' ')[0]))]);
    expect(wanted('').known.every(({ description }) => description !== '')).toBe(true);
    expect(known('--json ')).toEqual(words);
    expect(known('help ')).toEqual(words);
  });

  it('is a word of a group behind its name', () => {
    expect(known('peers ')).toContain('grant');
    expect(known('--data-dir /x peers ')).toContain('grant');
  });

  it('is an option of the command, and one that was given is not offered again', () => {
    const all = GLOBAL_OPTIONS.map(({ name }) => `--${name}`);
    expect(known('exec --')).toEqual(expect.arrayContaining(['--cwd', '--env', '--shell', ...all]));
    expect(known('exec --shell --env A=b --')).not.toContain('--shell');
    expect(known('exec --shell --env A=b --')).toContain('--env');
    expect(known('jobs --')).toContain('--all');
    expect(known('--')).toEqual(all);
  });

  it.each([
    ['exec ', 'peers'],
    ['exec --cwd /x ', 'peers'],
    ['selftest ', 'peers'],
    ['peers remove ', 'peers'],
    ['jobs list --peer ', 'peers'],
    ['jobs list --peer=', 'peers'],
    ['key add ci --reach ', 'peers'],
    ['jobs kill ', 'jobs'],
    ['jobs attach --peer kai ', 'jobs'],
    ['key revoke ', 'keys'],
    ['key grant ', 'keys'],
    ['--data-dir ', 'files'],
    ['exec kai ', 'files'],
    ['exec --all ', 'files'],
    ['exec --all ls ', 'files'],
    ['jobs wait one ', 'jobs'],
    ['send ', 'peers'],
    ['send kai ', 'files'],
    ['send kai a b ', 'files'],
    ['send --exclude-from ', 'files'],
    ['pull kai a ', 'files'],
    ['pull kai a b ', 'files'],
    ['cp a ', 'files'],
    ['ls ', 'peers'],
    ['transfers attach ', 'transfers'],
    ['exec kai -- ', 'files'],
    ['exec kai ls --', 'files'],
    ['exec kai -la --', 'files'],
  ])('is asked elsewhere: %s → %s', (line, source) => {
    expect(wanted(line)).toMatchObject({ source, known: [] });
  });

  it('is a level, or one of the words that an argument may be', () => {
    const levels = ['observe', 'collaborate', 'full'];
    expect(known('peers grant kai ')).toEqual(levels);
    expect(known('connect kai --grant ')).toEqual(levels);
    expect(wanted('connect kai --grant=f')).toMatchObject({ typed: 'f', before: '--grant=' });
    expect(known('completion ')).toEqual(['bash', 'zsh', 'fish', 'powershell']);
  });

  it('is one more peer behind a comma', () => {
    expect(wanted('exec kai,ma')).toMatchObject({ source: 'peers', typed: 'ma', before: 'kai,' });
  });

  it.each([
    'status ',
    'nonsense ',
    'peers nonsense ',
    'peers add ',
    'exec kai --timeout ',
    'status --json=',
    'connect ',
    'ls kai ',
    'pull kai ',
    'send --limit ',
  ])('is nothing that could be known: %s', (line) => {
    expect(wanted(line)).toMatchObject({ known: [] });
    expect(wanted(line).source).toBeUndefined();
  });

  it('knows which node is meant', () => {
    expect(wanted('--data-dir /x jobs kill --peer kai ')).toMatchObject({ dataDir: '/x', peer: 'kai' });
  });

  it('never fails, whatever was typed', () => {
    const word = fc.oneof(fc.string(), fc.constantFrom('--', '-', '--peer', '=', 'exec', 'peers', 'help', '__proto__'));
    fc.assert(
      fc.property(fc.array(word), (words) => {
        expect(Array.isArray(findWanted(words).known)).toBe(true);
      }),
    );
  });
});
