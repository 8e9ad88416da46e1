import { lstatSync, opendirSync, readlinkSync, type Dir, type Stats } from 'node:fs';

import type { LoopsyError } from '../../../protocol/errors.ts';
import { staysInTree } from '../../../trust/link-guard.ts';
import { nameFault } from '../../../trust/native-path.ts';
import { ENTRY, type Entry } from '../format.ts';
import { isDraftName } from './draft-names.ts';
import { fileError, fileFault } from './faults.ts';
import type { Ignored } from './ignored.ts';

/** What a walk meets: an entry, or why there is none. */
export type Met =
  | { readonly entry: Entry }
  | { readonly entry?: undefined; readonly path: string; readonly error: LoopsyError };

/** How a tree is walked. */
export interface WalkOptions {
  /** The root's number in the manifest. */
  readonly root: number;
  /** Its real path. */
  readonly real: string;
  readonly platform: NodeJS.Platform;
  readonly ignored?: Ignored | undefined;
  /** Why a real path may not be read; undefined where it may. */
  readonly refuse?: ((real: string) => LoopsyError | undefined) | undefined;
  readonly maxFileSize: number;
}

/** The permission bits that travel: never setuid, setgid or sticky. Windows has none. */
export const modeOf = (stats: Stats, platform: NodeJS.Platform): number =>
  platform === 'win32' ? -1 : stats.mode & 0o777;

interface Folder {
  readonly path: string;
  readonly real: string;
  readonly depth: number;
  readonly stats: Stats;
  readonly dir: Dir;
  readonly ignored: Ignored | undefined;
}

interface Place {
  readonly path: string;
  readonly real: string;
  readonly depth: number;
  readonly stats: Stats;
}

const READ_AHEAD = 512;

/** Walks a tree, a folder before what is in it, and `end` behind it. Never follows a link; holds one folder a level. */
export class Walk {
  readonly #options: WalkOptions;
  readonly #separator: string;
  readonly #stack: Folder[] = [];
  #begun = false;

  constructor(options: WalkOptions) {
    this.#options = options;
    this.#separator = options.platform === 'win32' ? '\\' : '/';
  }

  /** The next thing that it meets; undefined at the end. @throws the system's error where the root can't be read. */
  next(): Met | undefined {
    if (!this.#begun) {
      this.#begun = true;
      const { real } = this.#options;
      return this.#enter({ path: '', real, depth: 0, stats: lstatSync(real) });
    }
    for (let folder = this.#stack.at(-1); folder !== undefined; folder = this.#stack.at(-1)) {
      const met = this.#step(folder);
      if (met !== undefined) return met;
    }
    return undefined;
  }

  /** Lets go of what is open. */
  close(): void {
    for (const { dir } of this.#stack.splice(0)) dir.closeSync();
  }

  /** Undefined where there is nothing to say of the next name. */
  #step(folder: Folder): Met | undefined {
    const found = folder.dir.readSync();
    if (found === null) return this.#leave(folder);
    // Read as bytes where the system has bytes: what is no UTF-8 would become another name.
    const bytes: unknown = found.name;
    const name = Buffer.isBuffer(bytes) ? bytes.toString() : found.name;
    const path = folder.path === '' ? name : `${folder.path}/${name}`;
    if (Buffer.isBuffer(bytes) && name.includes('\uFFFD') && !Buffer.from(name).equals(bytes))
      return { path, error: fileError('name_unusable', path, 'has a name that is no UTF-8, and can not be sent') };
    if (isDraftName(name)) return undefined;
    try {
      return this.#meet(folder, name, path);
    } catch (thrown) {
      return { path, error: fileFault(thrown, path) };
    }
  }

  #leave({ dir, path, stats }: Folder): Met {
    dir.closeSync();
    this.#stack.pop();
    const { root, platform } = this.#options;
    return { entry: [ENTRY.end, root, path, 0, stats.mtimeMs, modeOf(stats, platform)] };
  }

  #meet(folder: Folder, name: string, path: string): Met | undefined {
    const { platform, refuse } = this.#options;
    const fault = nameFault(name, platform);
    if (fault !== undefined) throw fileError('name_unusable', path, fault);
    const real = folder.real.endsWith(this.#separator) ? folder.real + name : folder.real + this.#separator + name;
    const stats = lstatSync(real);
    const isFolder = stats.isDirectory();
    if (folder.ignored?.has(path, isFolder) === true) return undefined;
    const refused = refuse?.(real);
    if (refused !== undefined) throw refused;
    if (isFolder) return this.#enter({ path, real, depth: folder.depth + 1, stats });
    return { entry: stats.isSymbolicLink() ? this.#link(folder, { path, real, stats }) : this.#file(path, stats) };
  }

  #enter({ path, real, depth, stats }: Place): Met {
    const { root, platform, ignored } = this.#options;
    let dir: Dir;
    try {
      // The types know no `buffer`; Node does.
      const encoding = 'buffer' as BufferEncoding;
      dir = opendirSync(real, { bufferSize: READ_AHEAD, ...(platform === 'win32' ? {} : { encoding }) });
    } catch (thrown) {
      return { path, error: fileFault(thrown, path === '' ? real : path) };
    }
    const rules = (this.#stack.at(-1)?.ignored ?? ignored)?.inFolder(path, real);
    this.#stack.push({ path, real, depth, stats, dir, ignored: rules });
    return { entry: [ENTRY.folder, root, path, 0, stats.mtimeMs, modeOf(stats, platform)] };
  }

  #link({ depth }: Folder, { path, real, stats }: Omit<Place, 'depth'>): Entry {
    const { root, platform } = this.#options;
    const said = readlinkSync(real);
    const link = platform === 'win32' ? said.replaceAll('\\', '/') : said;
    if (!staysInTree(link, depth, platform))
      throw fileError('path_denied', path, `is a link that leads out of the tree (to ${JSON.stringify(said)})`);
    return [ENTRY.link, root, path, 0, stats.mtimeMs, modeOf(stats, platform), link];
  }

  #file(path: string, stats: Stats): Entry {
    return fileEntry(this.#options, path, stats);
  }
}

/** @throws {LoopsyError} for a device, a socket, a pipe, and for a file that is too large. */
export const fileEntry = (
  { root, platform, maxFileSize }: Pick<WalkOptions, 'root' | 'platform' | 'maxFileSize'>,
  path: string,
  stats: Stats,
): Entry => {
  if (!stats.isFile()) throw fileError('wrong_type', path, 'is neither a file nor a folder nor a link');
  if (stats.size > maxFileSize) throw tooLarge(path, stats.size, maxFileSize);
  return [ENTRY.file, root, path, stats.size, stats.mtimeMs, modeOf(stats, platform)];
};

/** What `transfer.maxFileSize` says. */
export const tooLarge = (path: string, size: number, most: number): LoopsyError =>
  fileError('file_too_large', path, `has ${size} bytes; at most ${most} are allowed (transfer.maxFileSize)`, {
    key: 'transfer.maxFileSize',
    size,
    most,
  });
