import { closeSync, readFileSync } from 'node:fs';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import { fileError, quoted } from './faults.ts';
import { nameTest, type NameTest } from './glob.ts';
import { openReal } from './opened.ts';

const MAX_FILE_BYTES = 1_048_576;
const ANY = Symbol('any number of folders');

type Step = NameTest | typeof ANY;

/** One line of a .gitignore file. */
interface Rule {
  readonly steps: readonly Step[];
  readonly isForFolders: boolean;
  /** About names wherever they are, and so about that of a source, too: no `/`, but at the end. */
  readonly isAnywhere: boolean;
  /** `!`: what an earlier line left out stays after all. */
  readonly isKeeping: boolean;
}

const stepsOf = (text: string, foldsCase: boolean): Step[] | undefined => {
  const isAnchored = text.includes('/');
  const parts = text.split('/').filter((part, index) => part !== '' || index > 0);
  const steps: Step[] = isAnchored ? [] : [ANY];
  for (const [index, part] of parts.entries()) {
    const test = part === '**' ? ANY : nameTest(part, foldsCase);
    if (test === undefined) return undefined;
    steps.push(test);
    // `a/**` is what lies in a, not a itself.
    if (test === ANY && index === parts.length - 1) steps.push(() => true);
  }
  return steps;
};

const withoutBlanks = (line: string): string => {
  let end = line.length;
  while (end > 0 && line[end - 1] === ' ' && !isEscaped(line, end - 1)) end -= 1;
  return line.slice(0, end);
};

/** True behind an odd number of backslashes. */
const isEscaped = (text: string, at: number): boolean => {
  let from = at;
  while (from > 0 && text[from - 1] === '\\') from -= 1;
  return (at - from) % 2 === 1;
};

/** The rule of a line; `none` where it says nothing, undefined where it is malformed. */
const ruleOf = (line: string, foldsCase: boolean): Rule | 'none' | undefined => {
  if (line.startsWith('#')) return 'none';
  // Blanks at the end count where a backslash stands before them.
  let text = withoutBlanks(line);
  const isKeeping = text.startsWith('!');
  if (isKeeping) text = text.slice(1);
  const isForFolders = text.endsWith('/');
  if (isForFolders) text = text.slice(0, -1);
  if (text === '') return isKeeping || isForFolders ? undefined : 'none';
  const steps = stepsOf(text, foldsCase);
  if (steps === undefined) return undefined;
  return { steps, isForFolders, isAnywhere: steps[0] === ANY && !text.startsWith('/'), isKeeping };
};

/** As a name is matched: the last `**` takes one more folder wherever what follows it does not fit. */
const matchSteps = (steps: readonly Step[], names: readonly string[]): boolean => {
  let [at, step, any, anyAt] = [0, 0, -1, 0];
  while (at < names.length) {
    const test = steps[step];
    if (test === ANY) {
      [any, anyAt] = [step, at];
      step += 1;
    } else if (test?.(names[at] ?? '') === true) {
      at += 1;
      step += 1;
    } else if (any >= 0) {
      anyAt += 1;
      [at, step] = [anyAt, any + 1];
    } else return false;
  }
  return step === steps.length;
};

const matches = ({ steps, isForFolders }: Rule, names: readonly string[], isFolder: boolean): boolean =>
  (isFolder || !isForFolders) && matchSteps(steps, names);

/** What a list of rules says of one path: the last one that matches. Undefined where none does. */
const verdictOf = (rules: readonly Rule[], names: readonly string[], isFolder: boolean): boolean | undefined => {
  const rule = rules.findLast((one) => matches(one, names, isFolder));
  return rule === undefined ? undefined : !rule.isKeeping;
};

interface FileRules {
  /** How many names deep the folder lies that they are written for: where a root has rules above it, below the first. */
  readonly depth: number;
  readonly rules: readonly Rule[];
}

interface Reading {
  /** True where .gitignore files count. */
  readonly files: boolean;
  readonly foldsCase: boolean;
  /** The names from the first folder with rules down to the root; none where that is the root. */
  readonly above: readonly string[];
}

const foldsCaseOn = (platform: NodeJS.Platform): boolean => platform === 'win32' || platform === 'darwin';

const isGit = (name: string | undefined): boolean => name?.toLowerCase() === '.git';

/** What of a tree stays behind: patterns that were given, and those of the .gitignore files on the way. */
export class Ignored {
  readonly #given: readonly Rule[];
  readonly #files: readonly FileRules[];
  readonly #reads: Reading;

  private constructor(given: readonly Rule[], files: readonly FileRules[], reads: Reading) {
    this.#given = given;
    this.#files = files;
    this.#reads = reads;
  }

  /**
   * `patterns` are written as in .gitignore, for the root. @returns undefined where nothing stays behind.
   * @throws {LoopsyError} `invalid_request` for a pattern without a meaning.
   */
  static of(
    patterns: readonly string[],
    { gitignore, platform }: { readonly gitignore: boolean; readonly platform: NodeJS.Platform },
  ): Ignored | undefined {
    if (patterns.length === 0 && !gitignore) return undefined;
    const foldsCase = foldsCaseOn(platform);
    const given = patterns.flatMap((pattern) => {
      const rule = ruleOf(pattern, foldsCase);
      if (rule === undefined)
        throw new LoopsyError('invalid_request', {
          message: `the pattern ${quoted(pattern)} has no meaning: a bracket without an end, or a backslash before nothing`,
          details: { field: 'exclude', pattern: pattern.slice(0, 300) },
        });
      return rule === 'none' ? [] : [rule];
    });
    return new Ignored(given, [], { files: gitignore, foldsCase, above: [] });
  }

  /** What .gitignore files say alone; so far nothing. */
  static ofFiles(platform: NodeJS.Platform): Ignored {
    return new Ignored([], [], { files: true, foldsCase: foldsCaseOn(platform), above: [] });
  }

  /**
   * The same with what a folder's own .gitignore adds. `path` is below the root, `file` the real path of what would be it.
   * @throws {LoopsyError} `file_too_large`.
   */
  inFolder(path: string, file: string): Ignored {
    if (!this.#reads.files) return this;
    const text = readIgnoreFile(file);
    if (text === undefined) return this;
    const rules = text.split(/\r?\n/).flatMap((line) => {
      const rule = ruleOf(line, this.#reads.foldsCase);
      // As git does: a line without a meaning leaves nothing out.
      return rule === undefined || rule === 'none' ? [] : [rule];
    });
    const depth = this.#reads.above.length + (path === '' ? 0 : path.split('/').length);
    return new Ignored(this.#given, [...this.#files, { depth, rules }], this.#reads);
  }

  /** The same for a root that has .gitignore files above it; `names` lead to it from the folder of the first. */
  under(files: Ignored, names: readonly string[]): Ignored {
    return new Ignored(this.#given, files.#files, { ...this.#reads, above: names });
  }

  /** What is said of a source by its own name alone; undefined where nothing is. */
  ofSource(name: string, isFolder: boolean): boolean | undefined {
    const rule = this.#given.findLast((one) => one.isAnywhere && matches(one, [name], isFolder));
    if (rule !== undefined) return !rule.isKeeping;
    return this.#reads.files && isGit(name) ? true : undefined;
  }

  /** True where an entry stays behind, and with a folder all that is in it. `path` is below the root. */
  has(path: string, isFolder: boolean): boolean {
    const names = path.split('/');
    const given = verdictOf(this.#given, names, isFolder);
    if (given !== undefined) return given;
    if (this.#reads.files && isGit(names.at(-1))) return true;
    const all = [...this.#reads.above, ...names];
    // The nearest file that says anything about it decides.
    for (const { depth, rules } of this.#files.toReversed()) {
      const verdict = verdictOf(rules, all.slice(depth), isFolder);
      if (verdict !== undefined) return verdict;
    }
    return false;
  }
}

/** Never through a link, and never one that is no file: git does not either. */
const readIgnoreFile = (file: string): string | undefined => {
  try {
    const { fd, stats } = openReal(file, '.gitignore');
    try {
      if (stats.size > MAX_FILE_BYTES)
        throw fileError('file_too_large', '.gitignore', [
          `has ${stats.size} bytes: patterns are read from files of up to ${MAX_FILE_BYTES}`,
          { hint: 'leave --gitignore away, or make that file shorter', size: stats.size, most: MAX_FILE_BYTES },
        ]);
      return readFileSync(fd, 'utf8').replace(/^\uFEFF/, '');
    } finally {
      closeSync(fd);
    }
  } catch (thrown) {
    if (thrown instanceof LoopsyError && thrown.error === 'file_too_large') throw thrown;
    // No file, or none that can be read: it says nothing.
    if (errorCode(thrown) === undefined && !(thrown instanceof LoopsyError)) throw thrown;
    return undefined;
  }
};
