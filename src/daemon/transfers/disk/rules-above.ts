import { lstatSync, type Stats } from 'node:fs';
import { posix, win32 } from 'node:path';

import type { PathGuard, PathLimits } from '../../../trust/path-guard.ts';
import { Ignored } from './ignored.ts';

/** By whose rules folders are looked into. */
export interface Looker {
  readonly guard: PathGuard;
  readonly limits: PathLimits;
  readonly platform: NodeJS.Platform;
}

interface Facts {
  /** The folder that holds `.git`. */
  readonly repository: string;
  /** What the .gitignore files from there down to the folder say of names below the repository. */
  readonly files: Ignored;
  /** True where the folder stays behind itself, or something that it is in. */
  readonly isOut: boolean;
  /** Its own .gitignore file, which may be read, and whether it was there. */
  readonly file: { readonly path: string; readonly isThere: boolean } | undefined;
  readonly above: RulesAbove | undefined;
}

const namesBelow = (folder: string, path: string, separator: string): string[] =>
  path
    .slice(folder.length)
    .split(separator)
    .filter((name) => name !== '');

/** What holds in a folder of a repository, as git has it: its .gitignore file, and those of the folders that it is in. */
export class RulesAbove {
  readonly #facts: Facts;
  readonly #separator: string;

  constructor(facts: Facts, separator: string) {
    this.#facts = facts;
    this.#separator = separator;
  }

  /** The names from the root of the repository down to what lies at this path below it. */
  namesOf(path: string): string[] {
    return namesBelow(this.#facts.repository, path, this.#separator);
  }

  get files(): Ignored {
    return this.#facts.files;
  }

  get repository(): string {
    return this.#facts.repository;
  }

  /** True where what lies at this path, in the folder, stays behind. */
  has(path: string, isFolder: boolean): boolean {
    return this.#facts.isOut || this.#facts.files.has(this.namesOf(path).join('/'), isFolder);
  }

  /** True where one of the files is not what was read; `hasChanged` judges one that is there. */
  haveChanged(hasChanged: (stats: Stats) => boolean): boolean {
    const { file, above } = this.#facts;
    if (file !== undefined) {
      const stats = lstatSync(file.path, { throwIfNoEntry: false });
      if (stats === undefined ? file.isThere : hasChanged(stats)) return true;
    }
    return above?.haveChanged(hasChanged) === true;
  }
}

/** Finds what holds in folders; each is looked at once, however many sources are in it. */
export class RulesFinder {
  readonly #looker: Looker;
  readonly #native: typeof posix;
  readonly #known = new Map<string, Promise<RulesAbove | undefined>>();

  constructor(looker: Looker) {
    this.#looker = looker;
    this.#native = looker.platform === 'win32' ? win32 : posix;
  }

  /**
   * What holds for what lies at a path; undefined where that is the root of a repository itself, or in none, or where that
   * can't be known: nobody learns what lies in folders that are closed. @throws {LoopsyError} `file_too_large`.
   */
  async aboveOf(path: string, isFolder: boolean): Promise<RulesAbove | undefined> {
    if (isFolder && this.#isRepository(path)) return undefined;
    return this.#inFolder(this.#native.dirname(path));
  }

  #inFolder(folder: string): Promise<RulesAbove | undefined> {
    const known = this.#known.get(folder) ?? this.#find(folder);
    this.#known.set(folder, known);
    return known;
  }

  #isRepository(folder: string): boolean {
    return isThere(this.#native.join(folder, '.git'));
  }

  async #find(folder: string): Promise<RulesAbove | undefined> {
    if (!(await this.#isOpen(folder))) return undefined;
    const isRepository = this.#isRepository(folder);
    const parent = this.#native.dirname(folder);
    const above = isRepository || parent === folder ? undefined : await this.#inFolder(parent);
    if (!isRepository && above === undefined) return undefined;
    const repository = above?.repository ?? folder;
    const path = this.#native.join(folder, '.gitignore');
    const mayRead = await this.#isOpen(path);
    const before = above?.files ?? Ignored.ofFiles(this.#looker.platform);
    const names = namesBelow(repository, folder, this.#native.sep);
    const facts = {
      repository,
      files: mayRead ? before.inFolder(names.join('/'), path) : before,
      isOut: above?.has(folder, true) === true,
      file: mayRead ? { path, isThere: isThere(path) } : undefined,
      above,
    };
    return new RulesAbove(facts, this.#native.sep);
  }

  async #isOpen(path: string): Promise<boolean> {
    const { guard, limits } = this.#looker;
    return guard.recheck(path, limits).then(
      () => true,
      () => false,
    );
  }
}

const isThere = (path: string): boolean => {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    // It can't be looked at: it can't be read either.
    return false;
  }
};
