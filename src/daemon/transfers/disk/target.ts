import { lstatSync } from 'node:fs';

import type { PathLimits } from '../../../trust/path-guard.ts';
import { ENTRY, failedOf, isContents, type Entry, type Failed, type Plan } from '../format.ts';
import { finishFolder, isSameTime, needsMode } from './attributes.ts';
import type { BatchSink } from './batch-sink.ts';
import { findDestinations, markOf, refuseHome } from './destinations.ts';
import { fileError, fileFault, quoted } from './faults.ts';
import { FileWriter } from './file-writer.ts';
import type { Journal, MadeRoot } from './journal.ts';
import { LargeFiles, type Prepared } from './large-files.ts';
import type { Locks } from './locks.ts';
import { folderOf, Places } from './places.ts';
import { Planner } from './planner.ts';
import { Removal, type Extra, type ExtraAsked, type Removed, type Removing } from './removal.ts';
import { findSame } from './same.ts';
import type { Surroundings } from './surroundings.ts';
import type { WantedFile } from './wanted.ts';

/** What is to be written, and how. */
export interface TargetOptions {
  readonly dest: string;
  readonly roots: readonly { readonly name: string; readonly type: 'file' | 'directory' | 'symlink' }[];
  readonly sourcePlatform: NodeJS.Platform;
  readonly limits: PathLimits;
  /** False below the level full: then nobody writes what programs run by themselves. */
  readonly mayWriteRunning: boolean;
  readonly checksum: boolean;
  readonly update: boolean;
  readonly noClobber: boolean;
  readonly dryRun: boolean;
  /** True where what the source does not have is removed. */
  readonly delete?: boolean;
  readonly digest: boolean;
  /** True where more was asked for than these roots. */
  readonly several?: boolean;
  /** True where the destination is the file itself, and never a folder that it goes into. */
  readonly isExact?: boolean;
}

/** What targets share. */
export interface TargetParts {
  readonly around: Surroundings;
  readonly locks: Locks;
  readonly journal: Journal;
}

/** A tree, or a file, that is written for somebody. */
export class Target {
  readonly places: Places;
  readonly writer: FileWriter;
  readonly large: LargeFiles;
  readonly journal: Journal;
  /** Small files that are coming. */
  readonly batches = new Set<BatchSink>();
  readonly #around: Surroundings;
  readonly #options: TargetOptions;
  readonly #planner: Planner;
  readonly #removal: Removal;
  /** True where it goes on in a folder that an earlier run has made. */
  #isTakenUp = false;

  constructor({ around, locks, journal }: TargetParts, options: TargetOptions) {
    const { roots, limits, mayWriteRunning, dryRun } = options;
    this.#around = around;
    this.#options = options;
    this.journal = journal;
    this.places = new Places(around, { names: roots.map(({ name }) => name), limits, mayWriteRunning, dryRun });
    this.writer = new FileWriter({ around, locks, places: this.places }, options);
    this.large = new LargeFiles(this.writer, journal);
    const mayRemove = (): boolean => options.delete === true && !this.#isTakenUp;
    this.#planner = new Planner({ around, places: this.places, journal, options, mayRemove });
    this.#removal = new Removal({ around, places: this.places, locks, journal }, dryRun);
  }

  /** Decides where the roots go. @returns their real paths. */
  async open(): Promise<readonly string[]> {
    const { roots } = this.#options;
    const takeUp = (path: string): boolean => {
      const made = this.#rootAt(path);
      this.#isTakenUp = made !== undefined && this.journal.hasMade(made);
      return this.#isTakenUp;
    };
    const given = await findDestinations(this.#around, this.places, { ...this.#options, takeUp });
    const real = [];
    for (const path of given) real.push(await this.places.checkIn(path));
    const [first = ''] = roots.some(({ name }) => isContents(name)) ? real : [];
    for (const [index, path] of this.#options.delete === true ? real.entries() : [])
      if (roots[index]?.type === 'directory') refuseHome(this.#around, path, given[index] ?? path);
    this.places.roots = real;
    this.places.isGiven = first !== '' && isThere(first);
    return real;
  }

  /** What the journal says of a folder that is, or may be, the only root. What is in a folder goes to one place anyway. */
  #rootAt(path: string): MadeRoot | undefined {
    const { roots, delete: mirrors = false } = this.#options;
    const [{ name } = { name: '' }] = roots;
    const mark = isContents(name) ? undefined : this.#onlyFolder(path);
    return mark === undefined ? undefined : { root: name, mark, mirrors };
  }

  /** Which folder that is, where the only source is one. */
  #onlyFolder(path: string): string | undefined {
    const [root, other] = this.#options.roots;
    return root?.type === 'directory' && other === undefined ? markOf(path, this.#around.platform) : undefined;
  }

  /** Lets go of all that is open; what can be gone on with stays. */
  async close(): Promise<void> {
    const ending: Promise<unknown>[] = [];
    for (const batch of this.batches) {
      if (batch.ending === undefined) batch.abort();
      else ending.push(batch.ending);
    }
    await Promise.allSettled(ending);
    await this.large.close();
    this.places.close();
  }

  /** Takes the rules of this moment for what these entries are in. */
  judge(entries: readonly WantedFile[]): Promise<void> {
    return this.places.judge(entries.map(([root]) => root));
  }

  /** Makes folders and links, and says which files are wanted. */
  async plan(entries: readonly Entry[]): Promise<Plan> {
    await this.places.judge(entries.map(([, root]) => root));
    const [root] = this.places.roots;
    const begins = root !== undefined && entries.some(isRoot) && !isThere(root);
    const plan = this.#planner.plan(entries);
    const mark = begins ? this.#onlyFolder(root) : undefined;
    if (root === undefined || mark === undefined) return plan;
    const made = this.#rootAt(root);
    if (made !== undefined) this.journal.made(made);
    return { ...plan, made: [root, mark] };
  }

  /** Which of these files have the contents of the source's. */
  async same(
    files: readonly WantedFile[],
    digests: readonly (string | null)[],
  ): Promise<{ readonly same: readonly number[] }> {
    await this.judge(files);
    const { dryRun } = this.#options;
    return { same: await findSame(this.places, { files, digests, platform: this.#around.platform, dryRun }) };
  }

  /** Gives folders what they are to have, when everything in them is done, and makes their names durable. */
  async finish(entries: readonly Entry[]): Promise<{ readonly failed: Failed[] }> {
    const failed: Failed[] = [];
    if (this.#options.dryRun) return { failed };
    await this.places.judge(entries.map(([, root]) => root));
    for (const entry of entries) {
      const [, root, path] = entry;
      const shown = this.places.shown(root, path);
      try {
        this.#finishOne(entry);
      } catch (thrown) {
        failed.push(failedOf(shown, fileFault(thrown, shown)));
      }
    }
    return { failed };
  }

  #finishOne([, root, path, , mtimeMs, mode]: Entry): void {
    const { platform } = this.#around;
    if (path === '' && this.places.isGiven) return;
    const place = this.places.at(root, path);
    const stats = lstatSync(folderOf(place).path(place.name));
    if (!stats.isDirectory()) throw fileError('wrong_type', place.shown, 'is no folder any more');
    if (!needsMode(stats, mode, platform) && isSameTime(stats.mtimeMs, mtimeMs)) return;
    finishFolder(place, { mtimeMs, mode, platform });
  }

  /** Where the drafts of these files will lie: written down before they are there. @returns the number of the lot. */
  announce(files: readonly WantedFile[]): number {
    const { join, dirname, basename } = this.#around;
    const drafts = files.flatMap(([root, path]) => {
      try {
        const real = this.places.realOf(root, path);
        return [join(dirname(real), this.places.draftName(basename(real)))];
      } catch {
        // It will be refused by itself.
        return [];
      }
    });
    return this.journal.addSmall(drafts);
  }

  /** Opens a large file. @returns the hashes of the chunks that are there. */
  async prepare(file: WantedFile): Promise<Prepared> {
    await this.judge([file]);
    return this.large.prepare(file);
  }

  /** A page of a folder's names. */
  extra(root: number, folder: string, asked?: ExtraAsked): Promise<Extra> {
    return this.#removal.extra(root, folder, asked);
  }

  /**
   * Removes what the source does not have. A folder that a run has made itself had nothing to remove: what is too much in
   * it came later, maybe from somebody else, and is named instead.
   */
  async remove(removing: Removing): Promise<Removed> {
    if (!this.#isTakenUp) return this.#removal.remove(removing);
    const { root, paths } = removing;
    return { removed: 0, failed: paths.map((path) => this.#spared(this.places.shown(root, path))) };
  }

  #spared(shown: string): Failed {
    const { dest, roots } = this.#options;
    const contents = quoted(`${roots[0]?.name ?? ''}/.`);
    const why = 'is not at the source, and stays: an earlier run has made this folder, and it may have come since';
    const hint = `move it away there; or, where it may go, name the source ${contents}: then ${quoted(dest)} becomes a mirror of it`;
    return failedOf(shown, fileError('transfer_failed', shown, [why, { hint }]));
  }
}

const isThere = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined;

const isRoot = ([kind, , path]: Entry): boolean => kind === ENTRY.folder && path === '';
