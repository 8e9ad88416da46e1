import type { OptionSpec } from './command-spec.ts';

/** An option as it was typed; `name` is the full one where it is known. */
export interface OptionToken {
  readonly kind: 'option';
  /** Where its word stands. */
  readonly index: number;
  readonly name: string;
  readonly rawName: string;
  readonly value: string | undefined;
}

/** One thing on a command line. */
export type Token =
  | OptionToken
  | { readonly kind: 'positional'; readonly index: number; readonly value: string }
  | { readonly kind: 'option-terminator'; readonly index: number };

/**
 * Splits a command line as `parseArgs` of `node:util` does, which takes longer to load than this takes to run. An
 * option with one letter is a switch; several may share one `-`. What is not known is a switch too.
 */
export const tokenize = (argv: readonly string[], known: readonly OptionSpec[]): readonly Token[] => {
  const tokens: Token[] = [];
  for (let index = 0; index < argv.length; index += 1) {
    const word = argv[index] ?? '';
    if (word === '--') {
      tokens.push({ kind: 'option-terminator', index });
      argv.slice(index + 1).forEach((value, at) => tokens.push({ kind: 'positional', index: index + 1 + at, value }));
      break;
    }
    if (word === '-' || !word.startsWith('-')) tokens.push({ kind: 'positional', index, value: word });
    else if (!word.startsWith('--')) tokens.push(...switches(word, index, known));
    else {
      const token = long(word, index);
      const takesNext = token.value === undefined && known.find(({ name }) => name === token.name)?.value !== undefined;
      tokens.push(takesNext ? { ...token, value: argv[index + 1] } : token);
      if (takesNext) index += 1;
    }
  }
  return tokens;
};

/** `--name` or `--name=value`. */
const long = (word: string, index: number): OptionToken => {
  // A name has at least one letter; where it has none and there are two signs, the first one counts.
  const equals = word.includes('=', 3) ? word.indexOf('=') : -1;
  const rawName = equals < 0 ? word : word.slice(0, equals);
  return {
    kind: 'option',
    index,
    name: rawName.slice(2),
    rawName,
    value: equals < 0 ? undefined : word.slice(equals + 1),
  };
};

/** `-n`, or `-nq`. */
const switches = (word: string, index: number, known: readonly OptionSpec[]): OptionToken[] =>
  word
    .slice(1)
    .split('')
    .map((letter) => {
      const name = known.find(({ short }) => short === letter)?.name ?? letter;
      return { kind: 'option', index, name, rawName: `-${letter}`, value: undefined };
    });
