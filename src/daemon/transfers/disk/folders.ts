import { closeSync, fsyncSync, lstatSync, openSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { fileError } from './faults.ts';
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY } from './open-flags.ts';

/** On Linux an open folder has a name of its own, which leads to it wherever it is moved to. */
const isLinux = process.platform === 'linux';
const separator = process.platform === 'win32' ? '\\' : '/';
/** So many are kept open; each is a file descriptor. */
const MAX_OPEN = 64;

/**
 * A folder of a tree, held open. On Linux names in it are looked up in this very folder, so that nobody can put a link
 * in its way between a check and a use; elsewhere its real path is looked at again before each use.
 */
export class OpenFolder {
  readonly real: string;
  readonly #fd: number | undefined;
  #holders = 0;
  #isDropped = false;
  #isClosed = false;

  private constructor(real: string, fd: number | undefined) {
    this.real = real;
    this.#fd = fd;
  }

  /** @throws {LoopsyError} `path_denied` where a link is on the way; the system's error. */
  static open(real: string, shown: string): OpenFolder {
    // What is not there at all, or no folder, is another thing than what lies behind a link.
    const isLink = lstatSync(real).isSymbolicLink();
    const fd = isLinux && !isLink ? openSync(real, O_PATH | O_DIRECTORY | O_NOFOLLOW) : undefined;
    const folder = new OpenFolder(real, fd);
    if (!isLink && folder.isThere) return folder;
    folder.drop();
    throw fileError('path_denied', shown, 'lies behind a link, or under another spelling of a name that is there');
  }

  /** True while it lies where it lay. */
  get isThere(): boolean {
    try {
      if (this.#fd !== undefined) return readlinkSync(`/proc/self/fd/${this.#fd}`) === this.real;
      return realpathSync.native(this.real) === this.real && lstatSync(this.real).isDirectory();
    } catch (thrown) {
      if (errorCode(thrown) === undefined) throw thrown;
      return false;
    }
  }

  /** True where its names lead into this very folder: on Linux also where it has been moved. */
  get leads(): boolean {
    return this.#fd !== undefined || this.isThere;
  }

  /** Which disk it is on; on Linux also by which mount: what is bound there is on the same disk as what it lies in. */
  get disk(): string {
    const mount = this.#fd === undefined ? '' : readFileSync(`/proc/self/fdinfo/${this.#fd}`, 'utf8');
    return `${lstatSync(this.path('.')).dev} ${/mnt_id:\s*(\d+)/.exec(mount)?.[1] ?? ''}`;
  }

  /** What a system call is given for a name in it, at once: good only as long as it is held. */
  path(name: string): string {
    return this.#fd === undefined ? this.realOf(name) : `/proc/self/fd/${this.#fd}/${name}`;
  }

  /** The real path of a name in it. */
  realOf(name: string): string {
    return this.real.endsWith(separator) ? this.real + name : this.real + separator + name;
  }

  /** Keeps it open, also when it is dropped. */
  hold(): this {
    this.#holders += 1;
    return this;
  }

  release(): void {
    this.#holders -= 1;
    this.#closeUnused();
  }

  /** It is not used any more, but by those who hold it. */
  drop(): void {
    this.#isDropped = true;
    this.#closeUnused();
  }

  /** Makes names in it durable. Windows does that by itself. */
  sync(): void {
    if (process.platform === 'win32') return;
    const fd = openSync(this.path('.'), O_RDONLY | O_DIRECTORY);
    try {
      fsyncSync(fd);
    } catch (thrown) {
      // Some file systems of networks have no such thing for folders.
      if (errorCode(thrown) !== 'EINVAL') throw thrown;
    } finally {
      closeSync(fd);
    }
  }

  #closeUnused(): void {
    if (!this.#isDropped || this.#holders > 0 || this.#fd === undefined || this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#fd);
  }
}

/** The folders that one tree's writing has to do with: the last ones stay open. */
export class Folders {
  readonly #open = new Map<string, OpenFolder>();

  /** The folder of this real path, where it is one at this moment. @throws as `OpenFolder.open`. */
  at(real: string, shown: string): OpenFolder {
    const known = this.#open.get(real);
    if (known?.isThere === true) return known;
    this.forget(real);
    const folder = OpenFolder.open(real, shown);
    for (const oldest of this.#open.keys()) {
      if (this.#open.size < MAX_OPEN) break;
      this.forget(oldest);
    }
    this.#open.set(real, folder);
    return folder;
  }

  forget(real: string): void {
    this.#open.get(real)?.drop();
    this.#open.delete(real);
  }

  close(): void {
    for (const folder of this.#open.values()) folder.drop();
    this.#open.clear();
  }
}
