import { lstatSync, mkdirSync, readlinkSync, renameSync, statfsSync, symlinkSync, type Stats } from 'node:fs';

import { errorCode } from '../../../kernel/atomic-file.ts';
import type { LoopsyError } from '../../../protocol/errors.ts';
import { staysInTree } from '../../../trust/link-guard.ts';
import { ENTRY, failedOf, isBelow, SMALL_BYTES, type Entry, type Failed, type Plan } from '../format.ts';
import { isSameTime, needsMode, setLinkTime, setMode } from './attributes.ts';
import { fileError, fileFault, tooLarge } from './faults.ts';
import type { Journal } from './journal.ts';
import { removeFile } from './opened.ts';
import { isLeft } from './own-name.ts';
import { folderOf, statAt, type Place, type Places } from './places.ts';
import type { Surroundings } from './surroundings.ts';
import type { TargetOptions } from './target.ts';

const NEW_FOLDER_MODE = 0o755;
/** What its user must be able to do in a folder that is written. */
const OWNER_BITS = 0o700;

/** `same`: nothing is to be done. `check`: only if the contents differ. `replace`: as `send`, and something is there. */
type Wants = 'same' | 'check' | 'send' | 'replace';

/** In the details of an error: of which kind what is in the way is. */
const THERE = 'there';

/** An answer that is being made. */
type Making = { -readonly [Key in 'skipped' | 'skippedBytes' | 'folders' | 'links']: number } & {
  readonly [Key in 'send' | 'compare' | 'check']: number[];
} & {
  readonly failed: Failed[];
  readonly closed: [entry: number, failed: number][];
  readonly blocked: [entry: number, isFolder: boolean][];
  readonly makes?: number[];
  readonly replaces?: number[];
};

const note = (making: Making, [index, [kind, , , size]]: readonly [number, Entry], wants: Wants): void => {
  if (kind === ENTRY.folder || kind === ENTRY.link) {
    if (wants === 'same') return;
    making[kind === ENTRY.folder ? 'folders' : 'links'] += 1;
    making.makes?.push(index);
  }
  if (wants === 'replace' || wants === 'check') making.replaces?.push(index);
  if (kind !== ENTRY.file) return;
  if (wants === 'check') making.check.push(index);
  else if (wants !== 'same') making[size > SMALL_BYTES ? 'compare' : 'send'].push(index);
  else {
    making.skipped += 1;
    making.skippedBytes += size;
  }
};

/** Bytes that are free, and how many more will be when what is planned is written. */
interface Room {
  bytes: number;
  freed: number;
}

/** What a planner works with. */
export interface PlannerParts {
  readonly around: Surroundings;
  readonly places: Places;
  readonly journal: Journal;
  readonly options: TargetOptions;
  /** True where what is of another kind than at the source can be removed. */
  readonly mayRemove: () => boolean;
}

/** Makes folders and links, and says which files are wanted. */
export class Planner {
  readonly #parts: PlannerParts;
  readonly #platform: NodeJS.Platform;
  readonly #dryRun: boolean;
  /** Of a dry run, which writes nothing: what the last group would leave. */
  #left: Room | undefined;

  constructor(parts: PlannerParts) {
    this.#parts = parts;
    this.#platform = parts.around.platform;
    this.#dryRun = parts.options.dryRun;
  }

  /** What of these entries is to be sent. The places have been judged. */
  plan(entries: readonly Entry[]): Plan {
    const lists = { send: [], compare: [], check: [], failed: [], closed: [], blocked: [] };
    const named = this.#dryRun ? { makes: [], replaces: [] } : {};
    const making: Making = { ...lists, ...named, skipped: 0, skippedBytes: 0, folders: 0, links: 0 };
    const room = this.#room();
    const lot = this.#announceLinks(entries);
    let closed: Entry | undefined;
    for (const [index, entry] of entries.entries()) {
      // Said with the folder.
      if (closed !== undefined && isBelow(closed, entry)) continue;
      try {
        note(making, [index, entry], this.#take(entry, room));
      } catch (thrown) {
        if (!this.#refuse(making, [index, entry], thrown) && entry[0] === ENTRY.folder) closed = entry;
      }
    }
    if (lot !== undefined) this.#parts.journal.settleSmall(lot);
    return making;
  }

  #take(entry: Entry, room: Room): Wants {
    switch (entry[0]) {
      case ENTRY.file:
        return this.#wants(entry, room);
      case ENTRY.folder:
        return this.#makeFolder(entry) ? 'send' : 'same';
      case ENTRY.link:
        return this.#makeLink(entry);
      default:
        return 'same';
    }
  }

  /** @returns true where a dry run goes on as if what is of another kind were removed. */
  #refuse(making: Making, [index, entry]: readonly [number, Entry], thrown: unknown): boolean {
    const { options, mayRemove } = this.#parts;
    const [kind, root, path] = entry;
    const shown = this.#parts.places.shown(root, path);
    const fault = fileFault(thrown, shown);
    const { details } = fault;
    // What was named itself is never removed.
    const isBlocked = details?.[THERE] !== undefined && path !== '' && mayRemove() && !options.noClobber;
    if (isBlocked) making.blocked.push([index, details[THERE] === 'folder']);
    if (isBlocked && this.#dryRun) {
      note(making, [index, entry], 'replace');
      return true;
    }
    if (kind === ENTRY.folder) making.closed.push([index, making.failed.length]);
    making.failed.push(failedOf(shown, fault));
    return false;
  }

  /** What lies at a place is of another kind. Under another spelling it is somebody else's. */
  #otherKind(place: Place, stats: Stats, words: string): LoopsyError {
    this.#parts.places.checkSpelling(place);
    return fileError('wrong_type', place.shown, [words, { [THERE]: stats.isDirectory() ? 'folder' : 'other' }]);
  }

  /** What there is for a group. */
  #room(): Room {
    const left = this.#left;
    const room = { bytes: left === undefined ? this.#freeBytes() : left.bytes + left.freed, freed: 0 };
    if (this.#dryRun) this.#left = room;
    return room;
  }

  /** Bytes that are free where the first root goes. */
  #freeBytes(): number {
    const [first] = this.#parts.places.roots;
    if (first === undefined) return Number.POSITIVE_INFINITY;
    const { dirname } = this.#parts.around;
    for (let folder: string = first; ; folder = dirname(folder)) {
      try {
        const { bavail, bsize, blocks } = statfsSync(folder);
        // Some file systems don't know.
        return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
      } catch (thrown) {
        // Not there yet: its parent is on the same disk.
        if (errorCode(thrown) !== 'ENOENT' || dirname(folder) === folder) return Number.POSITIVE_INFINITY;
      }
    }
  }

  /** What is to be done with a file. @throws {LoopsyError} where it can't be written. */
  #wants([, root, path, size, mtimeMs, mode]: Entry, room: Room): Wants {
    const { places, around } = this.#parts;
    const place = places.at(root, path);
    if (size > around.maxFileSize) throw tooLarge(place.shown, size, around.maxFileSize);
    const stats = statAt(place);
    // What is in its way is removed only for what fits.
    if (stats?.isDirectory() === true) needRoom(place, size, room.bytes);
    const there = stats === undefined ? 'send' : this.#compare(place, stats, [size, mtimeMs, mode]);
    if (there === 'same') return there;
    const draft = size > SMALL_BYTES ? leftoverBytes(place, places.draftName(place.name)) : 0;
    needRoom(place, size, room.bytes + draft);
    room.bytes -= Math.max(0, size - draft);
    // What has the same contents is not written after all.
    room.freed += there === 'check' ? size : (stats?.blocks ?? 0) * 512;
    return there;
  }

  #compare(place: Place, stats: Stats, [size, mtimeMs, mode]: readonly [number, number, number]): Wants {
    const { options } = this.#parts;
    if (stats.isDirectory()) throw this.#otherKind(place, stats, 'is a folder there');
    this.#parts.places.checkSpelling(place);
    if (isLeft(options, stats, mtimeMs)) return 'same';
    if (!stats.isFile() && !stats.isSymbolicLink())
      throw this.#otherKind(place, stats, 'is neither a file nor a link there');
    if (!stats.isFile()) return 'replace';
    if (stats.size !== size) return 'replace';
    if (options.checksum) return 'check';
    if (!isSameTime(stats.mtimeMs, mtimeMs)) return 'replace';
    if (!this.#dryRun && needsMode(stats, mode, this.#platform)) setMode(place, mode);
    return 'same';
  }

  // ── folders and links ─────────────────────────────────────────────────────────────────────────────────────────────

  /** @returns true where it was made. */
  #makeFolder([, root, path, , , mode]: Entry): boolean {
    const place = this.#parts.places.at(root, path);
    const stats = statAt(place);
    if (stats?.isDirectory() === true) {
      this.#parts.places.checkSpelling(place);
      // One that its own user may not write is opened until it is finished.
      const isClosed = (stats.mode & OWNER_BITS) !== OWNER_BITS && !(path === '' && this.#parts.places.isGiven);
      if (isClosed && mode >= 0 && this.#platform !== 'win32' && !this.#dryRun)
        setMode(place, (stats.mode & 0o777) | OWNER_BITS);
      return false;
    }
    if (stats !== undefined) throw this.#otherKind(place, stats, 'is no folder there');
    if (!this.#dryRun)
      mkdirSync(folderOf(place).path(place.name), { mode: (mode < 0 ? NEW_FOLDER_MODE : mode) | OWNER_BITS });
    return true;
  }

  /** A sudden end leaves no draft of a link either. */
  #announceLinks(entries: readonly Entry[]): number | undefined {
    const { places, journal, around } = this.#parts;
    if (this.#dryRun) return undefined;
    const drafts = entries.flatMap(([kind, root, path]) => {
      if (kind !== ENTRY.link || path === '') return [];
      try {
        const real = places.realOf(root, path);
        return [around.join(around.dirname(real), places.draftName(around.basename(real)))];
      } catch {
        // It will be refused by itself.
        return [];
      }
    });
    return drafts.length === 0 ? undefined : journal.addSmall(drafts);
  }

  /** What was to be done with it. */
  #makeLink([, root, path, , mtimeMs, , link = '']: Entry): Wants {
    const { places, options } = this.#parts;
    const place = places.at(root, path);
    const { shown } = place;
    if (path === '' || !staysInTree(link, path.split('/').length - 1, this.#platform))
      throw fileError('path_denied', shown, 'is a link that leads out of the tree');
    places.checkRunning(link, shown);
    const text = this.#platform === 'win32' ? link.replaceAll('/', '\\') : link;
    const stats = statAt(place);
    if (stats?.isDirectory() === true) throw this.#otherKind(place, stats, 'is a folder there');
    if (stats !== undefined) {
      places.checkSpelling(place);
      if (isLeft(options, stats, mtimeMs)) return 'same';
      if (stats.isSymbolicLink() && this.#isSame(place, stats, { text, mtimeMs })) return 'same';
      if (!stats.isFile() && !stats.isSymbolicLink())
        throw this.#otherKind(place, stats, 'is neither a file nor a link there');
    }
    if (!this.#dryRun && !this.#link(place, text, mtimeMs)) return 'same';
    return stats === undefined ? 'send' : 'replace';
  }

  #isSame(place: Place, stats: Stats, { text, mtimeMs }: { text: string; mtimeMs: number }): boolean {
    const file = folderOf(place).path(place.name);
    if (readlinkSync(file) !== text) return false;
    if (!this.#dryRun && !isSameTime(stats.mtimeMs, mtimeMs)) setLinkTime(file, mtimeMs);
    return true;
  }

  /** @returns false where something has come there that is left alone. */
  #link(place: Place, text: string, mtimeMs: number): boolean {
    const { places, options } = this.#parts;
    const folder = folderOf(place);
    const own = folder.path(place.name);
    // Made under its own name it replaces nothing.
    const made = options.noClobber ? own : folder.path(places.draftName(place.name));
    if (made !== own) removeFile(made);
    try {
      symlinkSync(text, made);
    } catch (thrown) {
      if (made === own && errorCode(thrown) === 'EEXIST') return false;
      if (this.#platform === 'win32' && errorCode(thrown) === 'EPERM')
        throw fileError('transfer_failed', place.shown, 'is a link: Windows lets only developer mode make one');
      throw thrown;
    }
    try {
      setLinkTime(made, mtimeMs);
      if (made !== own) renameSync(made, own);
      return true;
    } catch (thrown) {
      removeFile(made);
      throw thrown;
    }
  }
}

/** What an earlier transfer has left of a large file takes room already. */
const leftoverBytes = ({ folder }: Place, draft: string): number => {
  const stats = folder === undefined ? undefined : lstatSync(folder.path(draft), { throwIfNoEntry: false });
  return stats?.isFile() === true ? stats.blocks * 512 : 0;
};

/** @throws {LoopsyError} `disk_full` */
const needRoom = ({ shown }: Place, size: number, free: number): void => {
  if (size <= free) return;
  throw fileError('disk_full', shown, `does not fit: it has ${size} bytes, and ${Math.max(0, free)} are free`);
};
