import { nearest } from '../kernel/nearest.ts';
import { LoopsyError } from '../protocol/errors.ts';
import type { CommandSpec, OptionSpec } from './command-spec.ts';
import { COMMANDS, GLOBAL_OPTIONS, GROUPS } from './commands.ts';
import { tokenize, type OptionToken, type Token } from './tokens.ts';

/** What was typed, understood. */
export interface Invocation {
  /** Undefined for `loopsy` alone and for `loopsy --help`. */
  readonly spec: CommandSpec | undefined;
  /** A group that was named with --help, e.g. `peers`. */
  readonly group?: string;
  readonly args: readonly string[];
  has(option: string): boolean;
  /** The last value given. */
  value(option: string): string | undefined;
  values(option: string): readonly string[];
}

/** A mistake in what was typed: exit 2. */
export const usageError = (message: string, hint?: string): LoopsyError =>
  new LoopsyError('invalid_request', { message, hint: hint ?? '`loopsy --help` lists the commands' });

/**
 * Understands a command line.
 * @throws {LoopsyError} with the nearest match for what is not known.
 */
export const parseCommandLine = (argv: readonly string[]): Invocation => {
  const at = skipGlobals(argv);
  const [word] = argv.slice(at);
  const before = argv.slice(0, at);
  if (word === undefined) return readOptions(undefined, before);
  if (word === 'help') return parseCommandLine([...before, '--help', ...argv.slice(at + 1)]);
  if (GROUPS[word] === undefined && commandAt(word) === undefined) return unknownCommand(word, topWords(), 'loopsy');
  return inGroup(word, before, argv.slice(at + 1));
};

/** What `path`, a command or a group of them, means with the words behind it. */
const inGroup = (path: string, before: readonly string[], rest: readonly string[]): Invocation => {
  const group = GROUPS[path];
  if (group === undefined) return readOptions(commandAt(path), [...before, ...rest]);
  const [next] = rest;
  if (next === undefined || next.startsWith('-')) {
    const invocation = readOptions(commandAt(group.alone), [...before, ...rest]);
    return invocation.has('help') ? { ...invocation, spec: undefined, group: path } : invocation;
  }
  const longer = `${path} ${next}`;
  if (GROUPS[longer] === undefined && commandAt(longer) === undefined)
    return unknownCommand(next, wordsOf(path), `loopsy ${path}`);
  return inGroup(longer, before, rest.slice(1));
};

const commandAt = (path: string): CommandSpec | undefined => COMMANDS.find((spec) => spec.path === path);

const topWords = (): string[] => [...new Set(COMMANDS.map(({ path }) => path.split(' ')[0] ?? path))];

/** The words that may follow a group's. */
const wordsOf = (group: string): string[] => {
  const behind = COMMANDS.filter(({ path }) => path.startsWith(`${group} `)).map(({ path }) =>
    path.slice(group.length + 1),
  );
  return [...new Set(behind.map((words) => words.split(' ')[0] ?? words))];
};

const unknownCommand = (word: string, known: readonly string[], prefix: string): never => {
  const near = nearest(word, known);
  throw usageError(
    `there is no command "${prefix} ${word}"`,
    near === undefined ? `the commands are: ${known.join(', ')}` : `did you mean "${prefix} ${near}"?`,
  );
};

/** Where the first word stands that is neither a global option nor its value. */
const skipGlobals = (argv: readonly string[]): number => {
  let at = 0;
  for (
    let word = argv[at];
    word !== undefined && word.startsWith('-') && word !== '-' && word !== '--';
    word = argv[at]
  ) {
    const spec = GLOBAL_OPTIONS.find(
      ({ name, short }) => word.split('=')[0] === `--${name}` || word === `-${short ?? ''}`,
    );
    if (spec === undefined) throw unknownOption(word, undefined);
    at += spec.value !== undefined && !word.includes('=') ? 2 : 1;
  }
  return Math.min(at, argv.length);
};

const optionsOf = (spec: CommandSpec | undefined): readonly OptionSpec[] => [
  ...(spec?.options ?? []),
  ...GLOBAL_OPTIONS,
];

const unknownOption = (word: string, spec: CommandSpec | undefined): LoopsyError => {
  const typed = word.split('=')[0] ?? word;
  const near = nearest(
    typed,
    optionsOf(spec).map(({ name }) => `--${name}`),
  );
  const where = spec === undefined ? 'loopsy' : `loopsy ${spec.path}`;
  const elsewhere =
    spec === undefined ? 'options of a command stand behind its name' : `\`${where} --help\` lists them`;
  return usageError(`"${where}" has no option ${typed}`, near === undefined ? elsewhere : `did you mean ${near}?`);
};

const readOptions = (spec: CommandSpec | undefined, argv: readonly string[]): Invocation => {
  const known = optionsOf(spec);
  const tokens = tokenize(argv, known);
  const verbatim = spec?.args?.at(-1)?.verbatim === true;
  const cut: CommandStart = verbatim ? commandStart(argv, tokens, { known, spec }) : { index: argv.length, words: [] };
  const values = new Map<string, string[]>();
  const args: string[] = [];
  for (const token of tokens) {
    if (token.index >= cut.index) break;
    if (token.kind === 'positional') args.push(token.value);
    if (token.kind === 'option') takeOption(values, token, { known, spec });
  }
  // An argument that an option stands for is empty: the ones behind it keep their places.
  const replacement = spec?.args?.[0]?.replacedBy;
  const isReplaced = verbatim ? cut.isReplaced === true : replacement !== undefined && values.has(replacement);
  if (isReplaced) args.unshift('');
  const invocation: Invocation = {
    spec,
    args: [...args, ...cut.words],
    has: (option) => values.has(option),
    value: (option) => values.get(option)?.at(-1),
    values: (option) => values.get(option) ?? [],
  };
  if (!invocation.has('help') && !invocation.has('version')) checkArgs(invocation);
  return invocation;
};

/** Where a command for another machine begins, and its words. */
interface CommandStart {
  readonly index: number;
  readonly words: readonly string[];
  /** No peer stands before it: an option stands for it. */
  readonly isReplaced?: boolean;
}

/**
 * Where a command for another machine begins: behind the peer and the options of ours that stand right behind it, at
 * the first word that is none of them, or behind `--`. Behind an option that stands for the peer, it begins at once.
 */
const commandStart = (
  argv: readonly string[],
  tokens: readonly Token[],
  { known, spec }: { known: readonly OptionSpec[]; spec: CommandSpec | undefined },
): CommandStart => {
  const peer = tokens.findIndex(({ kind }) => kind === 'positional');
  const before = peer < 0 ? tokens : tokens.slice(0, peer);
  const replacement = spec?.args?.[0]?.replacedBy;
  if (before.some((token) => token.kind === 'option' && token.name === replacement)) {
    const index = before.find(({ kind }) => kind === 'option-terminator')?.index ?? tokens[peer]?.index ?? argv.length;
    return { index, words: argv.slice(argv[index] === '--' ? index + 1 : index), isReplaced: true };
  }
  if (peer < 0) return { index: argv.length, words: [] };
  for (const token of tokens.slice(peer + 1)) {
    if (argv[token.index] === '--') return { index: token.index, words: argv.slice(token.index + 1) };
    const ours = token.kind === 'option' && isOurs(tokens, token.index, known);
    if (!ours) return { index: token.index, words: argv.slice(token.index) };
  }
  return { index: argv.length, words: [] };
};

/** True where a whole word is ours: of `-nx`, which gives two tokens, each letter must be. */
const isOurs = (tokens: readonly Token[], index: number, known: readonly OptionSpec[]): boolean =>
  tokens
    .filter((token) => token.index === index)
    .every((token) => token.kind === 'option' && known.some(({ name }) => name === token.name));

const takeOption = (
  values: Map<string, string[]>,
  token: OptionToken,
  { known, spec }: { known: readonly OptionSpec[]; spec: CommandSpec | undefined },
): void => {
  const option = known.find(({ name }) => name === token.name);
  if (option === undefined) throw unknownOption(token.rawName, spec);
  if (option.value === undefined && token.value !== undefined) throw usageError(`--${option.name} takes no value`);
  if (option.value !== undefined && token.value === undefined)
    throw usageError(`--${option.name} needs a value: ${option.value}`);
  const earlier = values.get(option.name) ?? [];
  if (option.value !== undefined && option.repeat === undefined && earlier.length > 0) {
    throw usageError(`--${option.name} was given twice`);
  }
  values.set(option.name, [...earlier, token.value ?? '']);
};

const checkArgs = ({ spec, args }: Invocation): void => {
  if (spec === undefined) return;
  const wanted = spec.args ?? [];
  const hint = `\`loopsy ${spec.path} --help\` shows how`;
  const missing = wanted.slice(args.length).find(({ optional }) => optional !== true);
  if (missing !== undefined) throw usageError(`"loopsy ${spec.path}" needs <${missing.name}>`, hint);
  const isOpen = wanted.some(({ verbatim, repeat }) => verbatim === true || repeat === true);
  if (args.length > wanted.length && !isOpen) {
    throw usageError(`"loopsy ${spec.path}" does not know what to do with "${args[wanted.length] ?? ''}"`, hint);
  }
  wanted.forEach(({ name, choices }, at) => {
    const given = args[at];
    if (choices === undefined || given === undefined || choices.includes(given)) return;
    const near = nearest(given, choices);
    throw usageError(
      `"${given}" is no ${name}: use ${choices.join(', ')}`,
      near === undefined ? hint : `did you mean "${near}"?`,
    );
  });
};
