import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  symlinkSync,
  utimesSync,
  chmodSync,
  unlinkSync,
  rmdirSync,
  type Stats,
} from 'node:fs';
import { basename, dirname, sep } from 'node:path';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import type { SafePath, PathLimits } from '../../../trust/path-guard.ts';
import { staysInTree } from '../../../trust/link-guard.ts';
import { runningNameIn } from '../../../trust/running-files.ts';
import { ENTRY, SMALL_BYTES, shownPath, type Entry, type Failed, type Plan } from '../format.ts';
import { Draft, syncDir, type Wanted } from './draft.ts';
import { draftNameOf, isDraftName } from './draft-names.ts';
import { fileError, fileFault } from './faults.ts';
import type { Journal } from './journal.ts';
import type { Locks } from './locks.ts';
import type { Surroundings } from './surroundings.ts';
import { tooLarge } from './walk.ts';

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
  readonly digest: boolean;
  /** True where the destination is the file itself, and never a folder that it goes into. */
  readonly isExact?: boolean;
}

/** What targets share. */
export interface TargetParts {
  readonly around: Surroundings;
  readonly locks: Locks;
  readonly journal: Journal;
}

type Refuse = ((real: string) => LoopsyError | undefined) | undefined;

/** A file as a batch's header, and `prepare`, name it: root, path below it, size, mtime (ms), mode. */
export type WantedFile = readonly [root: number, path: string, size: number, mtimeMs: number, mode: number];

/** Times of two systems are the same file's where they differ by less than what either can keep. */
const SAME_TIME_MS = 0.002;
/** Folders that are known to be real ones: so many are remembered. */
const MAX_FOLDERS = 10_000;
const NEW_FILE_MODE = 0o644;
const NEW_FOLDER_MODE = 0o755;
const EXTRA_PAGE = 1000;

/** A tree, or a file, that is written for somebody. */
export class Target {
  readonly #around: Surroundings;
  readonly #locks: Locks;
  readonly #journal: Journal;
  readonly #options: TargetOptions;
  #roots: readonly SafePath[] = [];
  #refuse: Refuse[] = [];
  readonly #folders = new Set<string>();
  readonly #open = new Map<number, Draft>();
  #lastFile = 0;
  #foldsCase = false;

  constructor(parts: TargetParts, options: TargetOptions) {
    this.#around = parts.around;
    this.#locks = parts.locks;
    this.#journal = parts.journal;
    this.#options = options;
  }

  /** Decides where the roots go, as `cp -r` does. @returns their real paths. */
  async open(): Promise<readonly string[]> {
    const { roots } = this.#options;
    const given = this.#journal.paths?.length === roots.length ? this.#journal.paths : await this.#destinations();
    const real: SafePath[] = [];
    for (const path of given) real.push(await this.#check(path));
    this.#roots = real;
    const [first] = real;
    if (first !== undefined) this.#foldsCase = foldsCase(dirname(first));
    if (!this.#options.dryRun && this.#options.isExact !== true) this.#journal.begin(real);
    return real;
  }

  /** Lets go of all that is open; what can be gone on with stays. */
  close(isDone: boolean): void {
    for (const draft of this.#open.values()) this.#let(draft);
    this.#open.clear();
    if (isDone) this.#journal.end();
  }

  // ── where things go ───────────────────────────────────────────────────────────────────────────────────────────────

  async #check(path: string): Promise<SafePath> {
    const real = await this.#around.guard.check(path, this.#options.limits);
    const running = this.#options.mayWriteRunning ? undefined : runningNameIn(real);
    if (running !== undefined) throw this.#running(path, running);
    return real;
  }

  #running(path: string, name: string): LoopsyError {
    return fileError(
      'path_denied',
      path,
      `is not written below the level full: programs run what lies in ${JSON.stringify(name)} by themselves`,
      { name },
    );
  }

  /** Into the destination where it is a folder or ends in a separator, else as it. */
  async #destinations(): Promise<string[]> {
    const { dest, roots, isExact } = this.#options;
    const real = await this.#check(dest);
    const stats = lstatSync(real, { throwIfNoEntry: false });
    if (isExact === true) {
      if (stats?.isDirectory() === true || /[\\/]$/.test(dest)) throw fileError('wrong_type', dest, 'is a folder');
      this.#needFolder(dirname(real), dest);
      return [real];
    }
    const isInto = stats?.isDirectory() === true || /[\\/]$/.test(dest) || ['~', '.', '..'].includes(dest);
    if (stats !== undefined && !stats.isDirectory() && (isInto || roots.length > 1))
      throw fileError('wrong_type', dest, 'is no folder');
    if (!isInto && roots.length > 1)
      throw fileError('file_not_found', dest, 'is no folder: several things go into one', { hint: 'mkdir' });
    if (!isInto) {
      this.#needFolder(dirname(real), dest);
      return [real];
    }
    if (stats === undefined) this.#makeInto(real, dest);
    const names = new Set<string>();
    for (const { name } of roots) {
      if (names.has(name)) throw fileError('name_unusable', name, 'is the name of two of the sources');
      names.add(name);
    }
    return roots.map(({ name }) => this.#around.join(real, name));
  }

  /** `dest/` is made where only it is missing. */
  #makeInto(real: string, dest: string): void {
    this.#needFolder(dirname(real), dest);
    if (this.#options.dryRun) return;
    try {
      mkdirSync(real, { mode: NEW_FOLDER_MODE });
    } catch (thrown) {
      throw fileFault(thrown, dest);
    }
  }

  #needFolder(folder: string, dest: string): void {
    const stats = lstatSync(folder, { throwIfNoEntry: false });
    if (stats === undefined)
      throw fileError('file_not_found', dest, 'can not be made: the folder above it is not there');
    if (!stats.isDirectory()) throw fileError('wrong_type', dest, 'lies below something that is no folder');
  }

  #root(index: number): SafePath {
    const root = this.#roots[index];
    if (root === undefined) throw new LoopsyError('invalid_request', { message: `there is no root ${index}` });
    return root;
  }

  #shown(root: number, path: string): string {
    return shownPath(this.#options.roots[root]?.name ?? '', path);
  }

  /** Takes the rules of this moment: what follows is judged by them. */
  async refresh(): Promise<void> {
    const { guard } = this.#around;
    const judges: Refuse[] = [];
    for (const root of this.#roots)
      judges.push(await guard.closedBelow(await guard.recheck(root, this.#options.limits)));
    this.#refuse = judges;
  }

  /**
   * The real path of an entry: allowed, in a real folder of the tree.
   * @throws {LoopsyError} where it may not be written, or lies behind a link.
   */
  #place(root: number, path: string): string {
    const shown = this.#shown(root, path);
    const base = this.#root(root);
    const real = this.#around.join(base, path);
    const refused = this.#refuse[root]?.(real);
    if (refused !== undefined) throw refused;
    const running = this.#options.mayWriteRunning ? undefined : runningNameIn(path);
    if (running !== undefined) throw this.#running(shown, running);
    if (isDraftName(basename(real))) throw fileError('name_unusable', shown, 'has a name that loopsy keeps for itself');
    this.#checkFolder(dirname(real), shown);
    return real;
  }

  #checkFolder(folder: string, shown: string): void {
    if (this.#folders.has(folder)) return;
    let real: string;
    try {
      real = realpathSync.native(folder);
    } catch (thrown) {
      if (errorCode(thrown) !== 'ENOENT' || !this.#options.dryRun) throw fileFault(thrown, shown);
      return;
    }
    if (real !== folder)
      throw fileError('path_denied', shown, 'lies behind a link, or under another spelling of a name that is there');
    if (this.#folders.size >= MAX_FOLDERS) this.#folders.clear();
    this.#folders.add(folder);
  }

  // ── what is there already ─────────────────────────────────────────────────────────────────────────────────────────

  /** Makes folders and links, and says which files are wanted. */
  async plan(entries: readonly Entry[]): Promise<Plan> {
    await this.refresh();
    const send: number[] = [];
    const compare: number[] = [];
    const failed: Failed[] = [];
    const counts = { skipped: 0, skippedBytes: 0, folders: 0, links: 0 };
    let free = this.#freeBytes();
    entries.forEach((entry, index) => {
      const [kind, root, path, size] = entry;
      try {
        if (kind === ENTRY.folder && this.#makeFolder(entry)) counts.folders += 1;
        if (kind === ENTRY.link && this.#makeLink(entry)) counts.links += 1;
        if (kind !== ENTRY.file) return;
        const there = this.#wants(entry);
        if (there === 'same') {
          counts.skipped += 1;
          counts.skippedBytes += size;
          return;
        }
        if (size > free + there)
          throw fileError(
            'disk_full',
            this.#shown(root, path),
            `does not fit: ${size} bytes, and ${Math.max(0, free)} are free`,
          );
        free -= Math.max(0, size - there);
        if (size > SMALL_BYTES) compare.push(index);
        else send.push(index);
      } catch (thrown) {
        const shown = this.#shown(root, path);
        const { error, message } = fileFault(thrown, shown);
        failed.push([shown, error, message]);
      }
    });
    return { send, compare, failed, ...counts };
  }

  #freeBytes(): number {
    const [first] = this.#roots;
    if (first === undefined || this.#options.dryRun) return Number.POSITIVE_INFINITY;
    for (let folder: string = first; ; folder = dirname(folder)) {
      try {
        const { bavail, bsize } = statfsSync(folder);
        return bavail * bsize;
      } catch (thrown) {
        // Not there yet: its parent is on the same disk.
        if (errorCode(thrown) !== 'ENOENT' || dirname(folder) === folder) return Number.POSITIVE_INFINITY;
      }
    }
  }

  /** `same` where nothing is to be done; else how many bytes lie there that a copy may use. */
  #wants([, root, path, size, mtimeMs, mode]: Entry): number | 'same' {
    const { maxFileSize } = this.#around;
    const shown = this.#shown(root, path);
    if (size > maxFileSize) throw tooLarge(shown, size, maxFileSize);
    const real = this.#place(root, path);
    const stats = lstatSync(real, { throwIfNoEntry: false });
    if (stats === undefined) return 0;
    if (stats.isDirectory()) throw fileError('wrong_type', shown, 'is a folder there');
    this.#checkSpelling(real, shown);
    if (!stats.isFile()) return 0;
    const { checksum, update, noClobber } = this.#options;
    if (noClobber || (update && stats.mtimeMs > mtimeMs + SAME_TIME_MS)) return 'same';
    const isSame = !checksum && stats.size === size && Math.abs(stats.mtimeMs - mtimeMs) <= SAME_TIME_MS;
    if (!isSame) return 0;
    this.#keepMode(real, stats, mode);
    return 'same';
  }

  #keepMode(real: string, stats: Stats, mode: number): void {
    if (mode < 0 || process.platform === 'win32' || (stats.mode & 0o777) === mode || this.#options.dryRun) return;
    chmodSync(real, mode);
  }

  /** Where a system takes two spellings for one name, the other one is somebody else's file. */
  #checkSpelling(real: string, shown: string): void {
    if (!this.#foldsCase) return;
    const found = realpathSync.native(real);
    if (basename(found) !== basename(real))
      throw fileError(
        'name_unusable',
        shown,
        `would replace ${JSON.stringify(basename(found))}, which this system takes for the same name`,
      );
  }

  // ── folders and links ─────────────────────────────────────────────────────────────────────────────────────────────

  /** @returns true where it was made. */
  #makeFolder([, root, path, , , mode]: Entry): boolean {
    const real = this.#place(root, path);
    const stats = lstatSync(real, { throwIfNoEntry: false });
    if (stats?.isDirectory() === true) {
      this.#checkSpelling(real, this.#shown(root, path));
      return false;
    }
    if (stats !== undefined) throw fileError('wrong_type', this.#shown(root, path), 'is no folder there');
    if (this.#options.dryRun) return true;
    mkdirSync(real, { mode: (mode < 0 ? NEW_FOLDER_MODE : mode) | 0o700 });
    return true;
  }

  #makeLink([, root, path, , , , link = '']: Entry): boolean {
    const shown = this.#shown(root, path);
    if (path === '' || !staysInTree(link, path.split('/').length - 1, this.#around.platform))
      throw fileError('path_denied', shown, 'is a link that leads out of the tree');
    const running = this.#options.mayWriteRunning ? undefined : runningNameIn(link);
    if (running !== undefined) throw this.#running(shown, running);
    const real = this.#place(root, path);
    const stats = lstatSync(real, { throwIfNoEntry: false });
    if (stats?.isDirectory() === true) throw fileError('wrong_type', shown, 'is a folder there');
    if (stats !== undefined) this.#checkSpelling(real, shown);
    const text = sep === '\\' ? link.replaceAll('/', '\\') : link;
    if (stats?.isSymbolicLink() === true && readlinkSync(real) === text) return false;
    if (stats !== undefined && this.#options.noClobber) return false;
    if (this.#options.dryRun) return true;
    const draft = this.#draftOf(real);
    rmSync(draft, { force: true });
    symlinkSync(text, draft);
    renameSync(draft, real);
    return true;
  }

  /** Gives folders what they are to have, when everything in them is done, and makes their names durable. */
  async finish(entries: readonly Entry[]): Promise<{ readonly failed: Failed[] }> {
    const failed: Failed[] = [];
    if (this.#options.dryRun) return { failed };
    await this.refresh();
    for (const [, root, path, , mtimeMs, mode] of entries) {
      const shown = this.#shown(root, path);
      try {
        const real = this.#place(root, path);
        const stats = lstatSync(real);
        if (!stats.isDirectory()) throw fileError('wrong_type', shown, 'is no folder any more');
        const hasMode = mode < 0 || process.platform === 'win32' || (stats.mode & 0o777) === mode;
        if (hasMode && Math.abs(stats.mtimeMs - mtimeMs) <= SAME_TIME_MS) continue;
        syncDir(real);
        if (mode >= 0 && process.platform !== 'win32' && (lstatSync(real).mode & 0o777) !== mode) chmodSync(real, mode);
        utimesSync(real, mtimeMs / 1000, mtimeMs / 1000);
      } catch (thrown) {
        const { error, message } = fileFault(thrown, shown);
        failed.push([shown, error, message]);
      }
    }
    return { failed };
  }

  // ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #draftOf(real: string): string {
    return this.#around.join(dirname(real), draftNameOf(basename(real), this.#around.nodeId));
  }

  /** What a file is to be, with the lock on it. @throws {LoopsyError} `target_busy` where another transfer has that. */
  #wanted([root, path, size, mtimeMs, mode]: WantedFile): Wanted {
    const { maxFileSize } = this.#around;
    const shown = this.#shown(root, path);
    if (size > maxFileSize) throw tooLarge(shown, size, maxFileSize);
    const real = this.#place(root, path);
    const guessesMode = mode < 0;
    const wanted = {
      shown,
      draft: this.#draftOf(real),
      real,
      size,
      mtimeMs,
      mode: guessesMode ? oldMode(real) : mode,
      guessesMode,
    };
    const holder = this.#locks.take(this.#lockKey(real), this);
    if (holder === this)
      throw fileError('name_unusable', shown, 'is written twice: this system takes two names for one');
    if (holder !== undefined) throw fileError('target_busy', shown, 'is being written by another transfer');
    return wanted;
  }

  #lockKey(real: string): string {
    return this.#foldsCase ? real.normalize('NFC').toUpperCase().toLowerCase() : real;
  }

  /** The draft's files are closed, and its name is free for others. */
  #let(draft: Draft): void {
    draft.close();
    this.#locks.release(this.#lockKey(draft.wanted.real));
  }

  /** Begins a file; `isOpenEnded`: nobody has said its size. */
  create(file: WantedFile, isOpenEnded = false): Draft {
    const found = this.#wanted(file);
    const wanted = isOpenEnded ? { ...found, size: Number.POSITIVE_INFINITY } : found;
    try {
      return Draft.create(wanted, this.#options.digest);
    } catch (thrown) {
      this.#locks.release(this.#lockKey(wanted.real));
      throw fileFault(thrown, wanted.shown);
    }
  }

  /** Where the drafts of these files will lie: written down before they are there. */
  announce(files: readonly WantedFile[]): void {
    const drafts = files.flatMap(([root, path]) => {
      try {
        return [this.#draftOf(this.#around.join(this.#root(root), path))];
      } catch {
        // It will be refused by itself.
        return [];
      }
    });
    this.#journal.drafts(drafts, false);
  }

  /** The batch that was announced is done with. */
  settled(): void {
    this.#journal.settled();
  }

  /** Gives a complete draft its own name. */
  async publish(draft: Draft): Promise<void> {
    try {
      await draft.publish();
    } catch (thrown) {
      draft.discard();
      throw fileFault(thrown, draft.wanted.shown);
    } finally {
      this.#let(draft);
    }
  }

  /** Nothing of it is left. */
  discard(draft: Draft): void {
    draft.discard();
    this.#let(draft);
  }

  // ── large files ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Opens a large file, or finds it open: `hashes` of what is there, or `at`, where it goes on. */
  async prepare(
    file: WantedFile,
  ): Promise<{ readonly file: number; readonly at?: number; readonly hashes?: readonly string[] }> {
    await this.refresh();
    for (const [number, { wanted, at }] of this.#open) {
      if (
        wanted.real === this.#around.join(this.#root(file[0]), file[1]) &&
        wanted.size === file[2] &&
        wanted.mtimeMs === file[3]
      )
        return { file: number, at };
    }
    const wanted = this.#wanted(file);
    try {
      this.#journal.drafts([wanted.draft], true);
      const { draft, hashes } = await Draft.resume(wanted, this.#options.digest);
      this.#lastFile += 1;
      this.#open.set(this.#lastFile, draft);
      return { file: this.#lastFile, hashes };
    } catch (thrown) {
      this.#locks.release(this.#lockKey(wanted.real));
      throw fileFault(thrown, wanted.shown);
    }
  }

  /** A large file that is open. */
  file(number: number): Draft {
    const draft = this.#open.get(number);
    if (draft === undefined)
      throw new LoopsyError('transfer_not_found', { message: `there is no open file ${number} here` });
    return draft;
  }

  /** Large bytes could not be written: what is no use to a repeat goes. */
  fail(number: number, thrown: unknown): LoopsyError {
    const draft = this.file(number);
    const fault = fileFault(thrown, draft.wanted.shown);
    if (fault.error === 'disk_full') this.drop(number);
    return fault;
  }

  /** All bytes are there: the file gets its name. `keep`: chunks of what was there that are right. */
  async commit(number: number, keep: readonly (readonly [number, number])[]): Promise<{ readonly checksum?: string }> {
    const draft = this.file(number);
    try {
      draft.keep(keep);
      draft.checkComplete();
      draft.finish();
      await draft.sync();
    } catch (thrown) {
      throw this.fail(number, thrown);
    }
    this.#open.delete(number);
    const checksum = draft.digest;
    await this.publish(draft);
    syncDir(dirname(draft.wanted.real));
    this.#journal.settled();
    return checksum === undefined ? {} : { checksum };
  }

  /** The file will not come: nothing of it is left. */
  drop(number: number): void {
    const draft = this.file(number);
    this.#open.delete(number);
    this.discard(draft);
    this.#journal.settled();
  }

  // ── what the source does not have ─────────────────────────────────────────────────────────────────────────────────

  /** Names in the tree, page by page, deepest last: `after` is the last one of the page before. */
  extra(root: number, folder: string): { readonly names: readonly (readonly [name: string, isFolder: boolean])[] } {
    const real = this.#around.join(this.#root(root), folder);
    const names = readdirSync(real, { withFileTypes: true })
      .filter(({ name }) => !isDraftName(name))
      .map((entry) => [entry.name, entry.isDirectory()] as const);
    return { names: names.slice(0, EXTRA_PAGE * 100) };
  }

  /** Removes what the source does not have. */
  async remove(
    root: number,
    paths: readonly string[],
  ): Promise<{ readonly removed: number; readonly failed: Failed[] }> {
    await this.refresh();
    const failed: Failed[] = [];
    let removed = 0;
    for (const path of paths) {
      const shown = this.#shown(root, path);
      try {
        if (path === '') throw fileError('path_denied', shown, 'is the tree itself');
        this.#remove(root, path);
        removed += 1;
      } catch (thrown) {
        const { error, message } = fileFault(thrown, shown);
        failed.push([shown, error, message]);
      }
    }
    return { removed, failed };
  }

  /** Name by name, so that what may not be written is not removed either. */
  #remove(root: number, path: string): void {
    const real = this.#place(root, path);
    if (lstatSync(real).isDirectory()) {
      for (const name of readdirSync(real)) this.#remove(root, `${path}/${name}`);
      if (!this.#options.dryRun) rmdirSync(real);
      return;
    }
    if (!this.#options.dryRun) unlinkSync(real);
  }
}

/** What a file from a system without such bits gets: those of the one that it replaces. */
const oldMode = (real: string): number => {
  const stats = lstatSync(real, { throwIfNoEntry: false });
  return stats?.isFile() === true ? stats.mode & 0o777 : NEW_FILE_MODE;
};

/** True where a folder's file system takes another case of a name for the same one. */
const foldsCase = (folder: string): boolean => {
  const at = folder.search(/[^\\/]*\p{L}[^\\/]*$/u);
  if (at < 0) return process.platform === 'win32';
  const name = folder.slice(at);
  const other = folder.slice(0, at) + (name === name.toUpperCase() ? name.toLowerCase() : name.toUpperCase());
  if (other === folder) return process.platform !== 'linux';
  const [one, two] = [lstatSync(folder, { throwIfNoEntry: false }), lstatSync(other, { throwIfNoEntry: false })];
  return one !== undefined && two !== undefined && one.ino === two.ino && one.dev === two.dev;
};
