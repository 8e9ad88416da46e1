import { lstatSync, readlinkSync, type Dir, type Stats } from 'node:fs';

import type { LoopsyError } from '../../../protocol/errors.ts';
import { staysInTree } from '../../../trust/link-guard.ts';
import { nameFault } from '../../../trust/native-path.ts';
import { ENTRY, shownPath, type Entry } from '../format.ts';
import { isDraftName } from './draft-names.ts';
import { fileError, fileFault, quoted, tooLarge } from './faults.ts';
import { OpenFolder } from './folders.ts';
import type { Ignored } from './ignored.ts';
import { openNames, readName } from './listing.ts';

/** What a walk meets: an entry, why there is none, a draft of loopsy, or for long nothing worth a word. */
export type Met =
  | { readonly entry: Entry }
  | { readonly path: string; readonly error: LoopsyError }
  | { readonly isDraft: true }
  | { readonly isPause: true };

/** How a tree is walked. */
export interface WalkOptions {
  /** The root's number in the manifest. */
  readonly root: number;
  /** Its real path. */
  readonly real: string;
  /** What people call it. */
  readonly name: string;
  readonly platform: NodeJS.Platform;
  readonly ignored?: Ignored | undefined;
  readonly maxFileSize: number;
  /** Told of each folder that lies on another disk than what it is in. */
  readonly onDisk?: (path: string, dev: number) => void;
}

/** The permission bits that travel: never setuid, setgid or sticky. Windows has none. */
export const modeOf = (stats: Stats, platform: NodeJS.Platform): number =>
  platform === 'win32' ? -1 : stats.mode & 0o777;

interface Level {
  readonly path: string;
  readonly folder: OpenFolder;
  readonly depth: number;
  readonly stats: Stats;
  readonly dir: Dir;
  readonly ignored: Ignored | undefined;
}

interface Found {
  readonly path: string;
  readonly depth: number;
  readonly stats: Stats;
}

/** Names in a row that are left out, after which others get a turn. */
const SILENT_NAMES = 1000;

/** Walks a tree, a folder before what is in it, and `end` behind it. Never follows a link; holds one folder a level. */
export class Walk {
  readonly #options: WalkOptions;
  readonly #stack: Level[] = [];
  #begun = false;
  /** Why a real path may not be read, by the rules of the moment; undefined where it may. */
  refuse: ((real: string) => LoopsyError | undefined) | undefined;

  constructor(options: WalkOptions) {
    this.#options = options;
  }

  /** The next thing that it meets; undefined at the end. */
  next(): Met | undefined {
    if (!this.#begun) {
      this.#begun = true;
      const { real, name } = this.#options;
      try {
        return this.#enter(real, { path: '', depth: 0, stats: lstatSync(real) });
      } catch (thrown) {
        return { path: '', error: fileFault(thrown, name) };
      }
    }
    for (let silent = 0; silent < SILENT_NAMES; silent += 1) {
      const level = this.#stack.at(-1);
      if (level === undefined) return undefined;
      const met = this.#step(level);
      if (met !== undefined) return met;
    }
    return { isPause: true };
  }

  /** Lets go of what is open. */
  close(): void {
    for (const level of this.#stack.splice(0)) closeLevel(level);
  }

  /** Undefined where there is nothing to say of the next name. */
  #step(level: Level): Met | undefined {
    let path = level.path;
    try {
      const found = level.dir.readSync();
      if (found === null) return this.#leave(level);
      const { name, isText } = readName(found.name);
      path = level.path === '' ? name : `${level.path}/${name}`;
      if (!isText) return this.#refuseName(level, path, found.isDirectory());
      if (!isDraftName(name)) return this.#meet(level, name, path);
      // It may be gone in a moment: nothing more is asked of it.
      return level.ignored?.has(path, false) === true ? undefined : { isDraft: true };
    } catch (thrown) {
      // A folder that can't be read on has no end either.
      if (path === level.path) closeLevel(this.#stack.pop() ?? level);
      return { path, error: fileFault(thrown, this.#shown(path)) };
    }
  }

  #leave(level: Level): Met {
    closeLevel(level);
    this.#stack.pop();
    const { root, platform } = this.#options;
    const { path, stats } = level;
    return { entry: [ENTRY.end, root, path, 0, stats.mtimeMs, modeOf(stats, platform)] };
  }

  /** A name that can't be said can be left out all the same, by how it is shown. */
  #refuseName({ ignored }: Level, path: string, isFolder: boolean): undefined {
    if (ignored?.has(path, isFolder) === true) return undefined;
    throw fileError('name_unusable', this.#shown(path), [
      'has a name that is no UTF-8, and can not be sent',
      { hint: 'rename it, or leave it out with --exclude: there a * stands for what can not be shown, too' },
    ]);
  }

  #meet(level: Level, name: string, path: string): Met | undefined {
    const { platform } = this.#options;
    const { folder, ignored } = level;
    const stats = lstatSync(folder.path(name));
    const isFolder = stats.isDirectory();
    if (ignored?.has(path, isFolder) === true) return undefined;
    const fault = nameFault(name, platform);
    if (fault !== undefined) throw fileError('name_unusable', this.#shown(path), fault);
    const refused = this.refuse?.(folder.realOf(name));
    if (refused !== undefined) throw refused;
    const found = { path, depth: level.depth, stats };
    if (isFolder) return this.#enter(folder.realOf(name), { ...found, depth: level.depth + 1 });
    if (stats.isSymbolicLink()) return { entry: this.#link(folder.path(name), found) };
    return { entry: fileEntry(this.#options, path, stats) };
  }

  #enter(real: string, { path, depth, stats }: Found): Met {
    const { root, platform, ignored } = this.#options;
    const shown = this.#shown(path);
    let folder: OpenFolder | undefined;
    try {
      folder = OpenFolder.open(real, shown);
      const above = this.#stack.at(-1);
      const rules = (above === undefined ? ignored : above.ignored)?.inFolder(path, folder.realOf('.gitignore'));
      const dir = openNames(folder, platform);
      if (above !== undefined && above.stats.dev !== stats.dev) this.#options.onDisk?.(path, stats.dev);
      this.#stack.push({ path, folder, depth, stats, dir, ignored: rules });
    } catch (thrown) {
      folder?.drop();
      return { path, error: fileFault(thrown, shown) };
    }
    return { entry: [ENTRY.folder, root, path, 0, stats.mtimeMs, modeOf(stats, platform)] };
  }

  #shown(path: string): string {
    return shownPath(this.#options.name, path);
  }

  #link(file: string, { path, depth, stats }: Found): Entry {
    const { root, platform } = this.#options;
    const { name: said, isText } = readName(platform === 'win32' ? readlinkSync(file) : readlinkSync(file, 'buffer'));
    const shown = this.#shown(path);
    if (!isText) throw fileError('name_unusable', shown, 'is a link to a name that is no UTF-8, and can not be sent');
    const link = platform === 'win32' ? said.replaceAll('\\', '/') : said;
    if (!staysInTree(link, depth, platform))
      throw fileError('path_denied', shown, [
        `is a link that leads out of the tree (to ${quoted(said)})`,
        { hint: 'name what it leads to as well, or leave the link out with --exclude' },
      ]);
    return [ENTRY.link, root, path, 0, stats.mtimeMs, modeOf(stats, platform), link];
  }
}

const closeLevel = ({ dir, folder }: Level): void => {
  dir.closeSync();
  folder.drop();
};

/** @throws {LoopsyError} for a device, a socket, a pipe, and for a file that is too large. */
export const fileEntry = (
  { root, name, platform, maxFileSize }: Pick<WalkOptions, 'root' | 'name' | 'platform' | 'maxFileSize'>,
  path: string,
  stats: Stats,
): Entry => {
  const shown = shownPath(name, path);
  if (!stats.isFile())
    throw fileError('wrong_type', shown, [
      'is neither a file nor a folder nor a link',
      { hint: 'only those can be sent; leave it out with --exclude' },
    ]);
  if (stats.size > maxFileSize) throw tooLarge(shown, stats.size, maxFileSize);
  return [ENTRY.file, root, path, stats.size, stats.mtimeMs, modeOf(stats, platform)];
};
