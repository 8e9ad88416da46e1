import type { CommandSpec, OptionSpec } from '../command-spec.ts';
import { COMMANDS, GLOBAL_OPTIONS, GROUPS } from '../commands.ts';
import { LEVELS } from '../../protocol/scopes.ts';

/** Something that may be typed, and what it is. */
export interface Candidate {
  readonly value: string;
  readonly description: string;
}

/** What only the running node knows, or the shell. */
export type Source = 'peers' | 'jobs' | 'transfers' | 'keys' | 'files';

/** What may stand at the end of a line that is being typed. */
export interface Wanted {
  /** What is typed already of the part that is completed. */
  readonly typed: string;
  /** What stands before it in the same word: `--peer=`, `kai,`. */
  readonly before: string;
  readonly known: readonly Candidate[];
  readonly source?: Source | undefined;
  /** Options on the line that say which node knows it. */
  readonly dataDir?: string | undefined;
  readonly peer?: string | undefined;
}

/** Arguments and option values, as help names them, whose words come from elsewhere. */
const SOURCES: Readonly<Record<string, Source | undefined>> = {
  peer: 'peers',
  peers: 'peers',
  recipient: 'peers',
  sender: 'peers',
  job: 'jobs',
  transfer: 'transfers',
  key: 'keys',
  path: 'files',
  file: 'files',
  src: 'files',
  dest: 'files',
  from: 'files',
  to: 'files',
};

/** A line, as far as it goes. */
interface Line {
  spec: CommandSpec | undefined;
  group: string | undefined;
  readonly args: string[];
  readonly options: Map<string, string>;
  /** The option whose value comes next. */
  pending: OptionSpec | undefined;
  /** Behind `--`: no more options. */
  ended: boolean;
  /** The words of a command for another machine have begun. */
  foreign: boolean;
  /** A word that means nothing here. */
  lost: boolean;
}

/** Finds out what may stand at the end of a line; `words` stand behind `loopsy`, the last one is being typed. */
export const findWanted = (words: readonly string[]): Wanted => {
  const line = read(words.slice(0, -1));
  const current = words.at(-1) ?? '';
  const where = { dataDir: line.options.get('data-dir'), peer: line.options.get('peer') };
  return { ...where, ...wantedBehind(line, current) };
};

const NOTHING = { typed: '', before: '', known: [] };

const wantedBehind = (line: Line, current: string): Wanted => {
  if (line.lost) return NOTHING;
  if (line.foreign) return { ...NOTHING, typed: current, source: 'files' };
  if (line.pending !== undefined) return valueOf(line.pending, current, '');
  if (current.startsWith('-') && !line.ended) return optionAt(line, current);
  const plain = { typed: current, before: '' };
  if (line.spec !== undefined) return argAt(line, current);
  if (line.group !== undefined) return { ...plain, known: wordsOf(line.group) };
  return { ...plain, known: topWords() };
};

const read = (words: readonly string[]): Line => {
  const line: Line = { spec: undefined, group: undefined, args: [], options: new Map(), pending: undefined, ended: false, foreign: false, lost: false }; // prettier-ignore
  for (const word of words) {
    if (line.pending !== undefined) takeValue(line, word);
    else if (line.foreign) break;
    else if (word === '--' && !line.ended) endOptions(line);
    else if (word.startsWith('-') && word !== '-' && !line.ended) takeOption(line, word);
    else takeWord(line, word);
  }
  return line;
};

const takeValue = (line: Line, value: string): void => {
  if (line.pending !== undefined) line.options.set(line.pending.name, value);
  line.pending = undefined;
};

const isVerbatim = (spec: CommandSpec | undefined): boolean => spec?.args?.at(-1)?.verbatim === true;

const endOptions = (line: Line): void => {
  line.ended = true;
  line.foreign = isVerbatim(line.spec) && line.args.length > 0;
};

const takeOption = (line: Line, word: string): void => {
  const [, name = '', value] = /^--([^=]+)(?:=(.*))?$/s.exec(word) ?? [];
  const option = optionsOf(line).find((one) => one.name === name || `-${one.short ?? ''}` === word);
  if (option === undefined) {
    // Behind the peer, what is no option of ours begins the command.
    line.foreign = isVerbatim(line.spec) && line.args.length > 0;
    return;
  }
  line.options.set(option.name, value ?? '');
  if (option.value !== undefined && value === undefined) line.pending = option;
};

const takeWord = (line: Line, word: string): void => {
  if (line.spec !== undefined) {
    line.args.push(word);
    const isReplaced = line.options.has(line.spec.args?.[0]?.replacedBy ?? '');
    line.foreign = isVerbatim(line.spec) && (isReplaced || line.args.length > 1);
    return;
  }
  if (word === 'help' && line.group === undefined) return;
  const path = line.group === undefined ? word : `${line.group} ${word}`;
  line.spec = COMMANDS.find((spec) => spec.path === path);
  if (line.spec !== undefined) return;
  if (line.group === undefined && Object.hasOwn(GROUPS, word)) line.group = word;
  else line.lost = true;
};

/** Of a group alone they are those of the command that it means. */
const optionsOf = ({ spec, group }: Line): readonly OptionSpec[] => {
  const alone = COMMANDS.find(({ path }) => path === GROUPS[group ?? '']?.alone);
  return [...((spec ?? alone)?.options ?? []), ...GLOBAL_OPTIONS];
};

const optionAt = (line: Line, current: string): Wanted => {
  const options = optionsOf(line);
  const [, name, value = ''] = /^--([^=]+)=(.*)$/s.exec(current) ?? [];
  if (name !== undefined) {
    const option = options.find((one) => one.name === name);
    return option?.value === undefined ? NOTHING : valueOf(option, value, `--${name}=`);
  }
  const known = options
    .filter((option) => option.repeat === true || !line.options.has(option.name))
    .map((option) => ({ value: `--${option.name}`, description: option.summary }));
  return { typed: current, before: '', known };
};

const LEVEL_WORDS = LEVELS.map((value) => ({ value, description: '' }));

const valueOf = ({ value = '' }: OptionSpec, typed: string, before: string): Wanted => ({
  typed,
  before,
  known: value === 'level' ? LEVEL_WORDS : [],
  source: SOURCES[value],
});

const argAt = ({ spec, args, options }: Line, current: string): Wanted => {
  const known = spec?.args ?? [];
  const isReplaced = args.length === 0 && options.has(known[0]?.replacedBy ?? '');
  const at = isReplaced ? 1 : args.length;
  const repeated = known.findIndex(({ repeat }) => repeat === true);
  // Behind one of which there may be more, it may be more of it, or what comes next.
  const possible = repeated >= 0 && at > repeated ? known.slice(repeated) : known.slice(at, at + 1);
  const arg = possible.find(({ remote }) => remote !== true);
  if (arg === undefined) return NOTHING;
  if (arg.verbatim === true) return { ...NOTHING, typed: current, source: 'files' };
  if (arg.choices !== undefined) {
    return { typed: current, before: '', known: arg.choices.map((value) => ({ value, description: '' })) };
  }
  // Several peers at once: `kai,maria`.
  const comma = spec?.path === 'exec' ? current.lastIndexOf(',') + 1 : 0;
  return { typed: current.slice(comma), before: current.slice(0, comma), known: [], source: SOURCES[arg.name] };
};

const wordsOf = (group: string): Candidate[] =>
  COMMANDS.filter(({ path }) => path.startsWith(`${group} `)).map(({ path, summary }) => ({
    value: path.slice(group.length + 1),
    description: summary,
  }));

/** One word for each command and each group, in the order of help. */
const topWords = (): Candidate[] => {
  const words = new Map<string, string>();
  for (const { path, summary } of COMMANDS) {
    const [word = path] = path.split(' ');
    words.set(word, GROUPS[word]?.summary ?? summary);
  }
  return [...words].map(([value, description]) => ({ value, description }));
};
