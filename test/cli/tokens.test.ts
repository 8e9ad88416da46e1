import { parseArgs } from 'node:util';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { OptionSpec } from '../../src/cli/command-spec.ts';
import { COMMANDS, GLOBAL_OPTIONS } from '../../src/cli/commands.ts';
import { tokenize } from '../../src/cli/tokens.ts';

const KNOWN: readonly OptionSpec[] = [
  ...(COMMANDS.find(({ path }) => path === 'exec')?.options ?? []),
  ...GLOBAL_OPTIONS,
];

const asNodeDoes = (argv: readonly string[]): unknown => {
  const options = Object.fromEntries(
    KNOWN.map(({ name, short, value }) => [
      name,
      {
        type: value === undefined ? ('boolean' as const) : ('string' as const),
        ...(short === undefined ? {} : { short }),
      },
    ]),
  );
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true });
  return tokens.map((token) => ({ ...token, inlineValue: undefined }));
};

describe('the words of a command line', () => {
  it('are split as Node splits them, but that a dash among letters never ends the options', () => {
    const dashAmongLetters = /^-[^-].*-/s;
    const typed = fc.constantFrom(
      '--',
      '-',
      '-n',
      '-nh',
      '-xn',
      '--cwd',
      '--cwd=',
      '--env=A=1',
      '--json',
      '--json=1',
      '--=x',
      '--==',
      '--help',
      'ls',
    );
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            typed,
            fc.string(),
            fc.string().map((text) => `-${text}`),
          ),
        ),
        (argv) => {
          fc.pre(!argv.some((word) => dashAmongLetters.test(word)));
          expect(tokenize(argv, KNOWN)).toEqual(asNodeDoes(argv));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('keep a dash among letters as an option that nobody knows', () => {
    expect(tokenize(['-n-', 'x'], KNOWN).map(({ kind }) => kind)).toEqual(['option', 'option', 'positional']);
  });

  it('have one-letter options that take no value', () => {
    const options = [...COMMANDS.flatMap((spec) => spec.options ?? []), ...GLOBAL_OPTIONS];
    expect(options.filter(({ short, value }) => short !== undefined && value !== undefined)).toEqual([]);
  });
});
