import { LoopsyError } from '../protocol/errors.ts';
import {
  FIND_ACTIONS,
  LOOSE,
  POWERSHELL,
  readOption,
  SAME,
  SHELLS,
  WRAPPERS,
  type Wrapper,
} from './command-wrappers.ts';
import type { Dialect } from './shell-dialects.ts';
import { readLine, UNKNOWN, UnreadableLine } from './shell-words.ts';

declare const checked: unique symbol;

/** A command that the guard has let through: nothing else can be run. */
export interface AllowedCommand {
  readonly [checked]: true;
  /** A program; with `shell`, a line for that shell. */
  readonly command: string;
  readonly args: readonly string[];
  /** The shell that will read `command`, if any. */
  readonly shell: Dialect | undefined;
}

/** What a caller wants to run. */
export interface WantedCommand {
  readonly command: string;
  readonly args?: readonly string[];
  /** The shell that will read `command`, where it is a line. */
  readonly shell?: Dialect;
}

/** The lists of the config, and the system that they are for. */
export interface CommandRules {
  /** `execution.denylist`: these programs never. */
  readonly denylist: readonly string[];
  /** `execution.allowlist`: where it is not empty, these programs only. */
  readonly allowlist: readonly string[];
  readonly platform: NodeJS.Platform;
}

/** Characters of lines and words of commands that are read for one command: reading must not hold the node up. */
const MAX_EFFORT = 262_144;
const MAX_DEPTH = 20;

const deny = (message: string, details: Readonly<Record<string, unknown>>): LoopsyError =>
  new LoopsyError('command_denied', { message, details });

/** Windows drops dots and blanks at the end of a name. */
const trimWindowsEnd = (path: string): string => {
  let end = path.length;
  while (end > 0 && '. '.includes(path.charAt(end - 1))) end -= 1;
  return path.slice(0, end);
};

/** The name that lists know a program by: without its folder, and on Windows without case and extension. */
const nameOf = (program: string, platform: NodeJS.Platform): string => {
  const path = platform === 'win32' ? trimWindowsEnd(program.replaceAll('\\', '/')) : program;
  const base = path.slice(Math.max(path.lastIndexOf('/'), platform === 'win32' ? path.lastIndexOf(':') : -1) + 1);
  const name = platform === 'win32' || platform === 'darwin' ? base.toLowerCase() : base;
  return platform === 'win32' ? name.replace(/\.(?:com|exe|bat|cmd|ps1)$/, '') : name.replace(/\.exe$/, '');
};

interface FoundProgram {
  readonly name: string;
  /** The shell in whose line it stands. */
  readonly dialect: Dialect | undefined;
}

interface Place {
  readonly dialect: Dialect | undefined;
  readonly depth: number;
}

/** Finds every program that a command would start, as far as words can tell. */
class Inspection {
  /** Names in command positions, with where they stand. */
  readonly programs: FoundProgram[] = [];
  /** Names that may be programs where a shell reads words in its own way: for the denylist only. */
  readonly suspects: FoundProgram[] = [];
  /** True where some program is known only when the command runs. */
  isOpen = false;
  /** Every text seen: what an unknown program may become. */
  readonly texts: string[] = [];
  readonly #platform: NodeJS.Platform;
  #effort = 0;

  constructor(platform: NodeJS.Platform) {
    this.#platform = platform;
  }

  #spend(effort: number, depth: number): void {
    this.#effort += effort;
    if (this.#effort > MAX_EFFORT) throw new UnreadableLine('it is too long');
    if (depth > MAX_DEPTH) throw new UnreadableLine('it nests too deeply');
  }

  readLine(line: string, dialect: Dialect, depth: number): void {
    this.#spend(line.length, depth);
    const { commands, documents, values } = readLine(line, dialect);
    this.texts.push(...values);
    for (const words of commands) this.readWords(words, dialect, depth);
    const hasShell = commands.some(([program]) => SHELLS.has(nameOf(program ?? '', this.#platform)));
    for (const document of documents) {
      if (hasShell) this.readLine(document, 'sh', depth + 1);
    }
  }

  readWords(words: readonly string[], dialect: Dialect | undefined, depth: number): void {
    const [program, ...args] = words;
    if (program === undefined) return;
    this.#spend(words.length, depth);
    this.texts.push(...words);
    const name = nameOf(dialect === 'cmd' ? program.replace(/^@/, '') : program, this.#platform);
    this.programs.push({ name, dialect });
    if (name.includes(UNKNOWN) || LOOSE.has(name)) this.isOpen = true;
    if (dialect === 'cmd') this.#readCmdBuiltin(program, args, depth);
    this.#readArguments(name, args, { dialect, depth: depth + 1 });
  }

  #readArguments(name: string, args: readonly string[], at: Place): void {
    const wrapper = WRAPPERS.get(name);
    if (wrapper !== undefined) this.#readWrapper(wrapper, args, at);
    else if (SHELLS.has(name)) this.#readShell(args, at);
    else if (name === 'cmd') this.#readCmd(args, at.depth);
    else if (name === 'powershell' || name === 'pwsh') this.#readPowershell(args, at.depth);
    else if (name === 'iex' || name === 'invoke-expression') this.readLine(args.join(' '), 'powershell', at.depth);
    else if (name === 'find') this.#readFind(args, at);
  }

  /** `del/q x`, `if exist x del y`: cmd.exe needs no blank, and its `if` no separator. */
  #readCmdBuiltin(program: string, args: readonly string[], depth: number): void {
    const [glued = ''] = program.replace(/^@/, '').split('/');
    if (/^\w+$/.test(glued)) this.suspects.push({ name: nameOf(glued, this.#platform), dialect: 'cmd' });
    if (glued.toLowerCase() !== 'if') return;
    for (let from = 1; from < Math.min(args.length, 6); from += 1) this.readWords(args.slice(from), 'cmd', depth + 1);
  }

  #readWrapper(wrapper: Wrapper, args: readonly string[], at: Place): void {
    let own = wrapper.own ?? 0;
    for (let index = 0; index < args.length; index += 1) {
      const word = args[index] ?? '';
      if (word === '--') continue;
      if (word.length > 1 && word.startsWith('-')) {
        const option = readOption(word, wrapper, args[index + 1]);
        if (option.isQuery === true) return;
        if (option.isSeparate) index += 1;
        if (option.line !== undefined) this.readLine(option.line, 'sh', at.depth);
      } else if (wrapper.assignments === true && /^[^=]+=/.test(word))
        this.texts.push(word.slice(word.indexOf('=') + 1));
      else if (own > 0) own -= 1;
      else {
        this.#readRest(wrapper, args.slice(index), at);
        return;
      }
    }
  }

  #readRest(wrapper: Wrapper, words: readonly string[], at: Place): void {
    if (wrapper.line === true) this.readLine(words.join(' '), at.dialect ?? 'sh', at.depth);
    else this.readWords(words, at.dialect, at.depth);
  }

  #readShell(args: readonly string[], at: Place): void {
    let takesLine = false;
    for (let index = 0; index < args.length; index += 1) {
      const word = args[index] ?? '';
      const isOption = word.length > 1 && /^[-+]/.test(word) && word !== '--';
      if (isOption) {
        takesLine ||= /^-[A-Za-z]*c/.test(word) || word === '--command';
        if (/^(?:[-+][A-Za-z]*[oO]|--rcfile|--init-file)$/.test(word)) index += 1;
      } else if (word !== '--') return takesLine ? this.readLine(word, 'sh', at.depth) : undefined;
    }
    // It reads its commands from a pipe or a terminal: whatever stands on this line may be one.
    if (at.dialect !== undefined) this.isOpen = true;
  }

  #readCmd(args: readonly string[], depth: number): void {
    const at = args.findIndex((word) => /^[/-][ckr]/i.test(word));
    if (at < 0) return;
    const line = [(args[at] ?? '').slice(2), ...args.slice(at + 1)].join(' ').trim();
    this.readLine(line, 'cmd', depth);
    // cmd.exe takes one pair of quotes off the whole line.
    if (line.startsWith('"')) this.readLine(line.slice(1).replace(/"([^"]*)$/, '$1'), 'cmd', depth);
  }

  #readPowershell(args: readonly string[], depth: number): void {
    for (let index = 0; index < args.length; index += 1) {
      const word = args[index] ?? '';
      const rest = args.slice(index + 1);
      if (POWERSHELL.encoded.test(word)) {
        this.readLine(Buffer.from(rest[0] ?? '', 'base64').toString('utf16le'), 'powershell', depth);
        return;
      }
      if (POWERSHELL.file.test(word)) {
        this.readWords(rest, 'powershell', depth);
        return;
      }
      const isCommand = POWERSHELL.command.test(word);
      if (isCommand || !/^[-/]/.test(word)) {
        this.readLine((isCommand ? rest : args.slice(index)).join(' '), 'powershell', depth);
        return;
      }
      if (POWERSHELL.valued.test(word)) index += 1;
    }
  }

  #readFind(args: readonly string[], at: Place): void {
    for (const [index, word] of args.entries()) {
      if (FIND_ACTIONS.has(word)) this.readWords(args.slice(index + 1), at.dialect, at.depth);
    }
  }
}

/** The listed names that a program in a line for this shell answers to as well. */
const otherNames = (name: string, dialect: Dialect | undefined): readonly string[] => {
  if (name.startsWith('mkfs.')) return ['mkfs'];
  if (dialect !== 'cmd' && dialect !== 'powershell') return [];
  return SAME.filter((names) => names.includes(name.toLowerCase())).flat();
};

/** True where a name that is not known to the end may become a listed one: `r?`, `mk$X`. */
const mayBecome = (name: string, listed: string): boolean => {
  const [start = '', ...rest] = name.split(UNKNOWN);
  const end = rest.at(-1) ?? '';
  return rest.length > 0 && start + end !== '' && listed.startsWith(start) && listed.endsWith(end);
};

/** A listed name that this program has, or may turn out to have. */
const findListed = ({ name, dialect }: FoundProgram, denylist: ReadonlySet<string>): string | undefined => {
  const known = [name, ...otherNames(name, dialect)].find((one) => denylist.has(one));
  return known ?? (name.includes(UNKNOWN) ? [...denylist].find((listed) => mayBecome(name, listed)) : undefined);
};

const findDenied = (
  found: Inspection,
  denylist: ReadonlySet<string>,
  platform: NodeJS.Platform,
): string | undefined => {
  for (const program of [...found.programs, ...found.suspects]) {
    const listed = findListed(program, denylist);
    if (listed !== undefined) return listed;
  }
  if (!found.isOpen) return undefined;
  // Some program is known only when it runs: whatever this command spells out may be it.
  const spelled = found.texts.flatMap((text) => text.split(/[^\w.-]+/));
  return spelled.map((piece) => nameOf(piece, platform)).find((piece) => denylist.has(piece));
};

const inspect = ({ command, args = [], shell }: WantedCommand, platform: NodeJS.Platform): Inspection => {
  const found = new Inspection(platform);
  try {
    if (shell === undefined) found.readWords([command, ...args], undefined, 0);
    else found.readLine(command, shell, 0);
    found.texts.push(...args);
    return found;
  } catch (error) {
    if (!(error instanceof UnreadableLine)) throw error;
    throw deny(`this command line can not be checked: ${error.message}`, { reason: error.message });
  }
};

const check = (wanted: WantedCommand, { denylist, allowlist, platform }: CommandRules): void => {
  if (denylist.length === 0 && allowlist.length === 0) return;
  const found = inspect(wanted, platform);
  const denied = findDenied(found, new Set(denylist.map((one) => nameOf(one, platform))), platform);
  if (denied !== undefined) {
    throw deny(`"${denied}" is denied here (execution.denylist)`, { program: denied, list: 'denylist' });
  }
  if (allowlist.length === 0) return;
  const allowed = new Set(allowlist.map((one) => nameOf(one, platform)));
  const foreign = found.programs.find(({ name }) => !allowed.has(name))?.name.replaceAll(UNKNOWN, '…');
  if (foreign !== undefined) {
    throw deny(`"${foreign}" is not allowed here (execution.allowlist)`, { program: foreign, list: 'allowlist' });
  }
  if (found.isOpen) throw deny('which programs this would start can not be told from its words', { list: 'allowlist' });
};

/**
 * Checks a command against the lists of the config: the program, what it hands on to (`env`, `sudo`, `xargs`, …), and
 * every command in a line for a shell. Words that are only arguments raise no alarm. Pure.
 *
 * A guard-rail against accidents and no border: a script, an interpreter or a copy under another name passes.
 * @throws {LoopsyError} `command_denied`; also where a line can't be read.
 */
export const guardCommand = (wanted: WantedCommand, rules: CommandRules): AllowedCommand => {
  const { command, args = [], shell } = wanted;
  if (command === '' || [command, ...args].some((text) => text.includes('\0'))) {
    throw deny('a command has a name and no NUL in it', {});
  }
  check(wanted, rules);
  const allowed = { command, args: Object.freeze([...args]), shell };
  // The one place where a checked command is made.
  return Object.freeze(allowed) as unknown as AllowedCommand;
};
