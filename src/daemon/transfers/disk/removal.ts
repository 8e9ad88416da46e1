import { lstatSync, rmdirSync, utimesSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import { failedOf, type Failed } from '../format.ts';
import { isSameTime, timeText } from './attributes.ts';
import { fileError, fileFault } from './faults.ts';
import type { OpenFolder } from './folders.ts';
import type { Journal } from './journal.ts';
import { draftsAlone, isFolderIn, listNames } from './listing.ts';
import type { Locks } from './locks.ts';
import { removeFile } from './opened.ts';
import { folderOf, statAt, type Places } from './places.ts';
import type { Surroundings } from './surroundings.ts';

/** Names of one answer. */
const PAGE_NAMES = 10_000;
/** After so many names others get a turn. */
const TURN_NAMES = 256;

/** Which names of a folder are asked for, and how. */
export interface ExtraAsked {
  /** Only those behind this one. */
  readonly after?: string | undefined;
  /** True where all in it is to go, or nothing: what the rules let nobody remove is named as a failure. */
  readonly isJudged?: boolean;
  /** True where the source has no such folder: all in it is to go, unless it is a disk of its own. */
  readonly isGone?: boolean;
}

/** Names in a folder of the tree. */
export interface Extra {
  readonly names: readonly (readonly [name: string, isFolder: boolean])[];
  /** There where more follow: what `after` has to be for them. */
  readonly next?: string;
  /** What is there and can't be asked about, or was judged and is not to be removed. */
  readonly failed: readonly Failed[];
}

/** What was removed, and what could not be. */
export interface Removed {
  readonly removed: number;
  /** Of a dry run: which of those that were asked for. */
  readonly would?: readonly number[];
  readonly failed: readonly Failed[];
}

/** What is to be removed. */
export interface Removing {
  readonly root: number;
  readonly paths: readonly string[];
  /** True where folders go only when nothing is in them: what is left in one stays, and is no failure. */
  readonly isEmptied: boolean;
}

/** What a removal works with. */
export interface RemovalParts {
  readonly around: Surroundings;
  readonly places: Places;
  readonly locks: Locks;
  readonly journal: Journal;
}

/** Removes from a tree what its source does not have. */
export class Removal {
  readonly #parts: RemovalParts;
  readonly #places: Places;
  readonly #dryRun: boolean;
  #turn = 0;

  constructor(parts: RemovalParts, dryRun: boolean) {
    this.#parts = parts;
    this.#places = parts.places;
    this.#dryRun = dryRun;
  }

  /** A page of a folder's names. @throws {LoopsyError} where it can't be read, or is a disk that is not to be emptied. */
  async extra(root: number, path: string, asked: ExtraAsked = {}): Promise<Extra> {
    const { after, isJudged = false, isGone = false } = asked;
    await this.#places.judge([root]);
    const folder = this.#places.folderAt(root, path);
    // In a dry run it may be one that would have been made.
    if (folder === undefined) return { names: [], failed: [] };
    if (isGone) this.#needSameDisk(root, path);
    try {
      const { names, hasMore, unreadable } = await listNames(folder.hold(), this.#parts.around.platform, {
        after,
        most: PAGE_NAMES,
      });
      const last = names.at(-1);
      const judged = isJudged ? names : [];
      return {
        names: names.map((name) => [name, isFolderIn(folder, name)] as const),
        ...(hasMore && last !== undefined ? { next: last } : {}),
        failed: [
          ...unreadable.map((name) => this.#unreadable(root, below(path, name))),
          ...judged.flatMap((name) => this.#judge(root, below(path, name))),
        ],
      };
    } catch (thrown) {
      throw fileFault(thrown, this.#places.shown(root, path));
    } finally {
      folder.release();
    }
  }

  /** @throws {LoopsyError} for a folder on which another disk is mounted: that was never copied, and is not removed. */
  #needSameDisk(root: number, path: string): void {
    const disk = this.#places.folderAt(root, path)?.disk;
    if (disk === undefined || disk === this.#places.folderAt(root, above(path))?.disk) return;
    throw fileError('wrong_type', this.#places.shown(root, path), [
      'is mounted there as a disk of its own, and stays with all that is on it',
      { hint: 'take that disk away there, or leave its folder out with --exclude' },
    ]);
  }

  #unreadable(root: number, path: string): Failed {
    const shown = this.#places.shown(root, path);
    const hint = 'rename or remove it there, or leave out the folder that it is in with --exclude';
    return failedOf(
      shown,
      fileError('name_unusable', shown, ['has a name that is no UTF-8, and is not removed', { hint }]),
    );
  }

  /** Why the rules let nobody remove it; none where they do. */
  #judge(root: number, path: string): Failed[] {
    const failed: Failed[] = [];
    try {
      this.#places.checkRules(root, path);
    } catch (thrown) {
      this.#fail(failed, [root, path], thrown);
    }
    return failed;
  }

  /** Removes what the source does not have: name by name, so that what may not be written is not removed either. */
  async remove({ root, paths, isEmptied }: Removing): Promise<Removed> {
    await this.#places.judge([root]);
    const failed: Failed[] = [];
    const removed: number[] = [];
    const times = new Map<string, number | undefined>();
    for (const [index, path] of paths.entries()) {
      const folder = above(path);
      if (!times.has(folder)) times.set(folder, this.#timeOf(root, folder));
      const failedHere = failed.length;
      if (path === '') this.#fail(failed, [root, path], fileError('path_denied', '', 'is the tree itself'));
      else if (!isEmptied) await this.#removeAll(failed, root, path);
      const isGone = path !== '' && isEmptied ? this.#removeOne(failed, root, path) : failed.length === failedHere;
      if (isGone) removed.push(index);
      await this.#giveTurn();
    }
    for (const [folder, mtimeMs] of times) this.#giveTime(root, folder, mtimeMs);
    return { removed: removed.length, ...(this.#dryRun ? { would: removed } : {}), failed };
  }

  /** When a folder was changed last; undefined where nobody keeps that. */
  #timeOf(root: number, path: string): number | undefined {
    if (this.#dryRun || (path === '' && this.#places.isGiven)) return undefined;
    return this.#inFolder(root, path, (folder) => lstatSync(folder.path('.')).mtimeMs);
  }

  /** Folders were finished before: the time that one has is the source's, and stays when something in it goes. */
  #giveTime(root: number, path: string, mtimeMs: number | undefined): void {
    if (mtimeMs === undefined) return;
    this.#inFolder(root, path, (folder) => {
      const here = folder.path('.');
      if (!isSameTime(lstatSync(here).mtimeMs, mtimeMs)) utimesSync(here, timeText(mtimeMs), timeText(mtimeMs));
    });
  }

  /** What can't be done in a folder that is gone, or is somebody else's, is no failure of the removal. */
  #inFolder<T>(root: number, path: string, work: (folder: OpenFolder) => T): T | undefined {
    try {
      const folder = this.#places.folderAt(root, path);
      return folder === undefined ? undefined : work(folder);
    } catch (thrown) {
      if (!(thrown instanceof LoopsyError) && errorCode(thrown) === undefined) throw thrown;
      return undefined;
    }
  }

  async #giveTurn(): Promise<void> {
    this.#turn += 1;
    if (this.#turn % TURN_NAMES === 0) await setImmediate();
  }

  #fail(failed: Failed[], [root, path]: readonly [number, string], thrown: unknown): void {
    const shown = this.#places.shown(root, path);
    failed.push(failedOf(shown, fileFault(thrown, shown)));
  }

  /** A file, a link or an empty folder. False where a folder stays for what is in it. */
  #removeOne(failed: Failed[], root: number, path: string): boolean {
    try {
      const place = this.#places.at(root, path);
      const stats = statAt(place);
      if (stats === undefined) return false;
      if (stats.isDirectory()) this.#needSameDisk(root, path);
      if (this.#dryRun) return true;
      if (stats.isDirectory()) this.#removeFolder(root, path);
      else removeFile(folderOf(place).path(place.name));
      return true;
    } catch (thrown) {
      if (!isNotEmpty(thrown)) this.#fail(failed, [root, path], thrown);
      return false;
    }
  }

  #removeFolder(root: number, path: string): void {
    const remove = (): void => {
      const place = this.#places.at(root, path);
      rmdirSync(folderOf(place).path(place.name));
    };
    try {
      remove();
    } catch (thrown) {
      if (!isNotEmpty(thrown) || !this.#removeDrafts(root, path)) throw thrown;
      remove();
    }
  }

  /** What was cut off in a folder that goes is not gone on with. @returns true where nothing else was in it. */
  #removeDrafts(root: number, path: string): boolean {
    const { around, locks, journal } = this.#parts;
    const folder = this.#places.folderAt(root, path)?.hold();
    if (folder === undefined) return false;
    try {
      const drafts = draftsAlone(folder, around.platform);
      if (drafts.some((name) => locks.isHeld(folder.realOf(name)))) return false;
      for (const name of drafts) {
        removeFile(folder.path(name));
        journal.settleLarge(folder.realOf(name));
      }
      return drafts.length > 0;
    } finally {
      folder.release();
    }
  }

  /** Everything below a name, what is deepest first. What can't go is named, and what it lies in stays. */
  async #removeAll(failed: Failed[], root: number, path: string): Promise<void> {
    const before = failed.length;
    try {
      const place = this.#places.at(root, path);
      if (statAt(place)?.isDirectory() === true) await this.#removeIn(failed, root, path);
      if (failed.length > before || this.#dryRun) return;
      const file = folderOf(this.#places.at(root, path)).path(place.name);
      const stats = lstatSync(file, { throwIfNoEntry: false });
      if (stats?.isDirectory() === true) this.#removeFolder(root, path);
      else if (stats !== undefined) removeFile(file);
    } catch (thrown) {
      this.#fail(failed, [root, path], thrown);
    }
    await this.#giveTurn();
  }

  async #removeIn(failed: Failed[], root: number, path: string): Promise<void> {
    let after: string | undefined;
    do {
      const { names, next, failed: unreadable } = await this.extra(root, path, { after, isGone: true });
      failed.push(...unreadable);
      for (const [name] of names) await this.#removeAll(failed, root, `${path}/${name}`);
      after = next;
    } while (after !== undefined);
  }
}

/** The folder that a path of the tree lies in. */
const above = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));

const below = (folder: string, name: string): string => (folder === '' ? name : `${folder}/${name}`);

const isNotEmpty = (thrown: unknown): boolean => ['ENOTEMPTY', 'EEXIST'].includes(errorCode(thrown) ?? '');
