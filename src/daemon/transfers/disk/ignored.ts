import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import ignore, { type Ignore } from 'ignore';

import { errorCode } from '../../../kernel/atomic-file.ts';

const MAX_FILE_BYTES = 1_048_576;

interface Rules {
  /** The folder that they are written for, below the root; empty: the root. */
  readonly folder: string;
  readonly rules: Ignore;
}

/** What of a tree stays behind: patterns that were given, and those of the .gitignore files on the way. */
export class Ignored {
  readonly #given: Ignore | undefined;
  readonly #files: readonly Rules[];
  readonly #readsFiles: boolean;

  private constructor(given: Ignore | undefined, files: readonly Rules[], readsFiles: boolean) {
    this.#given = given;
    this.#files = files;
    this.#readsFiles = readsFiles;
  }

  /** `patterns` are written as in .gitignore, for the root. @returns undefined where nothing stays behind. */
  static of(patterns: readonly string[], gitignore: boolean): Ignored | undefined {
    if (patterns.length === 0 && !gitignore) return undefined;
    const given = patterns.length === 0 ? undefined : ignore({ allowRelativePaths: true }).add([...patterns]);
    return new Ignored(given, [], gitignore);
  }

  /** The same with what a folder's own .gitignore adds. `path` is below the root, `real` where it lies. */
  inFolder(path: string, real: string): Ignored {
    if (!this.#readsFiles) return this;
    const text = readIgnoreFile(join(real, '.gitignore'));
    if (text === undefined) return this;
    const rules = { folder: path, rules: ignore().add(text) };
    return new Ignored(this.#given, [...this.#files, rules], true);
  }

  /** True where an entry stays behind, and with a folder all that is in it. `path` is below the root. */
  has(path: string, isFolder: boolean): boolean {
    if (this.#readsFiles && isFolder && (path === '.git' || path.endsWith('/.git'))) return true;
    const shown = isFolder ? `${path}/` : path;
    if (this.#given?.ignores(shown) === true) return true;
    // The nearest file that says anything about it decides.
    for (const { folder, rules } of this.#files.toReversed()) {
      const { ignored, unignored } = rules.test(folder === '' ? shown : shown.slice(folder.length + 1));
      if (ignored || unignored) return ignored;
    }
    return false;
  }
}

const readIgnoreFile = (file: string): string | undefined => {
  try {
    const text = readFileSync(file, 'utf8');
    return text.length > MAX_FILE_BYTES ? undefined : text;
  } catch (thrown) {
    // No file, or none that can be read: it says nothing.
    if (errorCode(thrown) === undefined) throw thrown;
    return undefined;
  }
};
