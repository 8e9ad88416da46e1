import { lstatSync, type Stats } from 'node:fs';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import type { PathLimits, SafePath } from '../../../trust/path-guard.ts';
import { runningNameIn } from '../../../trust/running-files.ts';
import { shownPath } from '../format.ts';
import { draftNameOf, isDraftName } from './draft-names.ts';
import { fileError, fileFault, quoted } from './faults.ts';
import { Folders, type OpenFolder } from './folders.ts';
import { foldedPath } from './spelling.ts';
import type { Surroundings } from './surroundings.ts';

/** Why a real path may not be used; undefined where it may. */
export type Refuse = (real: string) => LoopsyError | undefined;

/** Where an entry goes: a name in an open folder of the tree. */
export interface Place {
  readonly real: string;
  readonly name: string;
  /** What errors call it. */
  readonly shown: string;
  /** Not there in a dry run, where it would be made, maybe in the place of something else. */
  readonly folder: OpenFolder | undefined;
}

/** For whom places are found. */
export interface PlaceRules {
  readonly names: readonly string[];
  readonly limits: PathLimits;
  /** False below the level full: then nobody writes what programs run by themselves. */
  readonly mayWriteRunning: boolean;
  readonly dryRun: boolean;
}

/** What lies at a place; never what a link there leads to. */
export const statAt = ({ folder, name }: Place): Stats | undefined =>
  folder === undefined ? undefined : lstatSync(folder.path(name), { throwIfNoEntry: false });

/** The folder of a place where something is done. */
export const folderOf = ({ folder, shown }: Place): OpenFolder => {
  if (folder === undefined) throw fileError('file_not_found', shown, 'has no folder to lie in');
  return folder;
};

/** Finds the real places of entries, by the rules of the moment. */
export class Places {
  readonly #around: Surroundings;
  readonly #rules: PlaceRules;
  readonly #folders = new Folders();
  readonly #judges = new Map<number, Refuse>();
  roots: readonly SafePath[] = [];
  /** True where the only root was there before: what goes into it leaves it as it is. */
  isGiven = false;

  constructor(around: Surroundings, rules: PlaceRules) {
    this.#around = around;
    this.#rules = rules;
  }

  /** The real path of a destination. @throws {LoopsyError} where nothing may be written there. */
  async check(path: string): Promise<SafePath> {
    const real = await this.#around.guard.check(path, this.#rules.limits);
    this.checkRunning(real, path);
    return real;
  }

  /** The same for a name in a folder that is real: a link of that name is what lies there, and leads nowhere. */
  async checkIn(path: string): Promise<SafePath> {
    if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return this.check(path);
    this.checkRunning(path, path);
    return this.#around.guard.recheck(path, this.#rules.limits);
  }

  /** @throws {LoopsyError} where programs run by themselves what would be written there. */
  checkRunning(path: string, shown: string): void {
    const running = this.#rules.mayWriteRunning ? undefined : runningNameIn(path);
    if (running === undefined) return;
    throw fileError('path_denied', shown, [
      `is not written below the level full: programs run what lies in ${quoted(running)} by themselves`,
      { name: running },
    ]);
  }

  /** Takes the rules of this moment for these roots: what follows is judged by them. */
  async judge(roots: Iterable<number>): Promise<void> {
    const { guard } = this.#around;
    for (const index of new Set(roots)) {
      const root = this.roots[index];
      if (root === undefined) continue;
      try {
        const refuse = await guard.closedBelow(await guard.recheck(root, this.#rules.limits));
        this.#judges.set(index, refuse ?? (() => undefined));
      } catch (thrown) {
        // One root that is closed now is no reason to end with the others.
        const refused = fileFault(thrown, root);
        this.#judges.set(index, () => refused);
      }
    }
  }

  /** The roots that nobody has judged yet. */
  unjudged(): readonly number[] {
    return [...this.roots.keys()].filter((root) => !this.#judges.has(root));
  }

  shown(root: number, path: string): string {
    return shownPath(this.#rules.names[root] ?? '', path);
  }

  root(index: number): SafePath {
    const root = this.roots[index];
    if (root === undefined) throw new LoopsyError('invalid_request', { message: `there is no root ${index}` });
    return root;
  }

  /** The real path of an entry, of which nothing is asked. @throws {LoopsyError} for a name that can't be there. */
  realOf(root: number, path: string): string {
    return this.#around.join(this.root(root), path);
  }

  /** @returns its real path. @throws {LoopsyError} where the rules that were judged last don't let it be written. */
  checkRules(root: number, path: string): string {
    const real = this.#allowed(root, path);
    this.checkRunning(path, this.shown(root, path));
    return real;
  }

  /**
   * Where an entry goes: allowed, in a real folder of the tree, at this moment.
   * @throws {LoopsyError} where it may not be written, or lies behind a link.
   */
  at(root: number, path: string): Place {
    const shown = this.shown(root, path);
    const real = this.checkRules(root, path);
    const { dirname, basename } = this.#around;
    const name = basename(real);
    if (isDraftName(name)) throw fileError('name_unusable', shown, 'has a name that loopsy keeps for itself');
    return { real, name, shown, folder: this.#folder(dirname(real), shown) };
  }

  /** A folder of the tree itself, to be looked into; undefined where it is not there. */
  folderAt(root: number, path: string): OpenFolder | undefined {
    try {
      return this.#folders.at(this.#allowed(root, path), this.shown(root, path));
    } catch (thrown) {
      if (errorCode(thrown) === 'ENOENT') return undefined;
      throw fileFault(thrown, this.shown(root, path));
    }
  }

  #allowed(root: number, path: string): string {
    const real = this.realOf(root, path);
    const judge = this.#judges.get(root);
    if (judge === undefined) throw new LoopsyError('internal', { message: 'a place was used before it was judged' });
    const refused = judge(real);
    if (refused !== undefined) throw refused;
    return real;
  }

  #folder(real: string, shown: string): OpenFolder | undefined {
    try {
      return this.#folders.at(real, shown);
    } catch (thrown) {
      // A link in the place of a folder would be replaced, or nothing be asked of what is in that folder.
      const isLink = thrown instanceof LoopsyError;
      if (this.#rules.dryRun && (isLink || ['ENOENT', 'ENOTDIR'].includes(errorCode(thrown) ?? ''))) return undefined;
      throw fileFault(thrown, shown);
    }
  }

  /** Where a system takes two spellings for one name, the other one is somebody else's file. */
  checkSpelling({ folder, name, shown }: Place): void {
    const { spelling } = this.#around;
    if (folder === undefined || !spelling.folds(folder)) return;
    const found = spelling.spelled(folder, name);
    if (found === name) return;
    throw fileError(
      'name_unusable',
      shown,
      `would replace ${quoted(found)}, which this system takes for the same name`,
    );
  }

  /** What two writers of one file have in common. */
  lockKey({ folder, real }: Place): string {
    return folder !== undefined && this.#around.spelling.folds(folder) ? foldedPath(real) : real;
  }

  /** The name under which it is written before it gets its own. */
  draftName(name: string): string {
    return draftNameOf(name, this.#around.nodeId);
  }

  close(): void {
    this.#folders.close();
    this.#judges.clear();
  }
}
