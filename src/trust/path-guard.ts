import { lstat, realpath, stat } from 'node:fs/promises';
import { posix } from 'node:path';

import { errorCode } from '../kernel/atomic-file.ts';
import type { Clock } from '../kernel/clock.ts';
import type { LoopsyError } from '../protocol/errors.ts';
import { pathDenied, toNativePath, type PathPlace } from './native-path.ts';

declare const checked: unique symbol;

/** The real path of something that may be used: absolute, without links. Only a guard makes one. */
export type SafePath = string & { readonly [checked]: true };

/** Which folders are open. Entries may be written as in the config (`~/x`, `C:/x`). */
export interface PathRules extends PathPlace {
  /** `transfer.allowedPaths`. */
  readonly allowed: readonly string[];
  /** `transfer.deniedPaths`. */
  readonly denied: readonly string[];
  /** Never open, whatever the config says: the data folders of this machine's nodes. */
  readonly alwaysDenied: readonly string[];
}

/** How what a rule closes can be opened. */
const OPENED_BY = {
  'transfer.allowedPaths': 'transfer.allowedPaths in its config.yaml',
  'transfer.deniedPaths': 'transfer.deniedPaths in its config.yaml',
  'grant.folders': 'it with `loopsy peers grant … --folder <path>` or `loopsy key grant … --folder <path>`',
} as const;

/** Nothing opens these. */
const NEVER_OPEN = "is loopsy's own or the system's, and never open";

/** A path as it was asked for, and as the system would write it. */
interface Asked {
  readonly given: string;
  readonly native: string;
}

/** What narrows a request further. */
export interface PathLimits {
  /** The folders of the caller's grant; the path must be in one of them too. */
  readonly folders?: readonly string[] | undefined;
}

/** The questions that the guard asks the file system. */
export interface PathFiles {
  realpath(path: string): Promise<string>;
  lstat(path: string): Promise<unknown>;
  stat(path: string): Promise<{ readonly dev: number | bigint; readonly ino: number | bigint }>;
}

const REAL_FILES: PathFiles = {
  realpath: (path) => realpath(path),
  lstat: (path) => lstat(path),
  stat: (path) => stat(path, { bigint: true }),
};

/** Where the kernel shows processes and devices as files: other ways to the same secrets. */
const KERNEL_FOLDERS: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  linux: ['/proc', '/sys'],
  darwin: ['/.vol'],
};

/** How long resolved folders are believed; links in the config's folders change rarely. */
const ROOTS_MS = 1000;

interface Root {
  /** As it was written. */
  readonly text: string;
  /** Absolute paths that it stands for. */
  readonly forms: readonly string[];
  readonly foldsCase: boolean;
}

interface Roots {
  readonly allowed: readonly Root[];
  readonly denied: readonly Root[];
  readonly always: readonly Root[];
}

/** For folders that are open: no wider than the file systems themselves. */
const foldNarrow = (path: string): string => path.normalize('NFC').toLowerCase();
/** For folders that are closed: so wide that no spelling gets around it. */
const foldWide = (path: string): string => path.normalize('NFKC').toUpperCase().toLowerCase().normalize('NFC');

/** By whole segments: `/tmp` does not hold `/tmpfoo`. */
const holds = (folder: string, path: string, separator: string): boolean =>
  path === folder || path.startsWith(folder.endsWith(separator) ? folder : folder + separator);

/** Not there, or below a file, where nothing can be. */
const isMissing = (error: unknown): boolean => ['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? '');

const swapCase = (text: string): string =>
  text.replaceAll(/\p{L}/gu, (letter) =>
    letter === letter.toUpperCase() ? letter.toLowerCase() : letter.toUpperCase(),
  );

/** Decides which paths may be read or written. Fails closed; the only maker of `SafePath`. */
export class PathGuard {
  readonly #rules: PathRules;
  readonly #clock: Clock;
  readonly #files: PathFiles;
  readonly #separator: string;
  readonly #folders = new Map<string, Root>();
  #roots: Promise<Roots> | undefined;
  #rootsAt = 0;

  constructor(rules: PathRules, clock: Clock, files: PathFiles = REAL_FILES) {
    this.#rules = rules;
    this.#clock = clock;
    this.#files = files;
    this.#separator = rules.platform === 'win32' ? '\\' : '/';
  }

  /**
   * The real path of what `given` names, or would name: links are followed first, then every rule holds. What does
   * not exist yet is judged by its nearest existing folder.
   * @throws {LoopsyError} `path_denied`, with the key of the config that says so.
   */
  async check(given: string, limits: PathLimits = {}): Promise<SafePath> {
    const native = toNativePath(given, this.#rules);
    let real: string;
    try {
      real = await this.#resolve(native);
    } catch (error) {
      // What lies outside is outside, whatever is there: nobody finds out by asking.
      await this.#judge(native, { given, native }, limits);
      const reason = errorCode(error) ?? 'link';
      const isLong = reason === 'ENAMETOOLONG';
      const why = isLong ? 'is too long for this system, or one of its names is' : 'can not be followed to its end';
      throw pathDenied(given, why, { reason });
    }
    return this.#judge(real, { given, native }, limits);
  }

  /**
   * The second check, of an object that was opened: `realPath` is where it really lies, whatever the first check saw.
   * @throws {LoopsyError} `path_denied`.
   */
  recheck(realPath: string, limits: PathLimits = {}): Promise<SafePath> {
    return this.#judge(realPath, { given: realPath, native: realPath }, limits);
  }

  /**
   * What of an open folder's tree is closed: judges real paths below `folder`, which was checked itself, by the rules of
   * this moment. Undefined where nothing below it is closed, so that nothing needs to be asked.
   */
  async closedBelow(folder: SafePath): Promise<((real: string) => LoopsyError | undefined) | undefined> {
    const { denied, always } = await this.#currentRoots();
    const closed = [...denied, ...always].filter(({ forms, foldsCase }) => {
      const same = foldsCase ? foldWide : (text: string): string => text;
      return forms.some((form) => holds(same(folder), same(form), this.#separator));
    });
    if (closed.length === 0) return undefined;
    return (real) => {
      const isClosed = (root: Root): boolean => this.#isIn(root, real, foldWide);
      if (always.some(isClosed)) return pathDenied(real, NEVER_OPEN);
      const root = denied.find(isClosed);
      if (root === undefined) return undefined;
      return this.#denied(real, `is denied by transfer.deniedPaths (${root.text})`, 'transfer.deniedPaths');
    };
  }

  async #judge(real: string, { given, native }: Asked, { folders }: PathLimits): Promise<SafePath> {
    const { allowed, denied, always } = await this.#currentRoots();
    const isClosed = (root: Root): boolean => this.#isIn(root, real, foldWide);
    if (always.some(isClosed)) throw pathDenied(given, NEVER_OPEN);
    const closed = denied.find(isClosed);
    // As it is written it may be open: then who reads `is outside` would not believe it. `..` alone is no link.
    const written = this.#separator === '/' ? posix.normalize(native) : native;
    const isAlright = (roots: readonly Root[]): boolean =>
      real !== written && roots.some((root) => this.#isIn(root, written, foldNarrow));
    if (closed !== undefined) {
      const why = `denied by transfer.deniedPaths (${closed.text})`;
      const isBehindLink = isAlright(allowed) && !this.#isIn(closed, written, foldWide);
      throw this.#denied(
        given,
        isBehindLink ? `leads by a link to what is ${why}` : `is ${why}`,
        'transfer.deniedPaths',
      );
    }
    const isOpen = (root: Root): boolean => this.#isIn(root, real, foldNarrow);
    const whereIs = (roots: readonly Root[]): string => (isAlright(roots) ? 'leads by a link' : 'is');
    if (!allowed.some(isOpen))
      throw this.#denied(given, `${whereIs(allowed)} outside transfer.allowedPaths`, 'transfer.allowedPaths');
    const granted = folders === undefined ? undefined : await this.#limitsOf(folders);
    if (granted?.length === 0)
      throw this.#denied(given, 'is closed to you: your grant lists no folder', 'grant.folders');
    if (granted !== undefined && !granted.some(isOpen))
      throw this.#denied(given, `${whereIs(granted)} outside the folders that you were granted`, 'grant.folders');
    // The one place where a checked path is made.
    return real as SafePath;
  }

  #denied(given: string, why: string, key: keyof typeof OPENED_BY): LoopsyError {
    return pathDenied(given, why, { key, hint: `the owner of that node can change ${OPENED_BY[key]}` });
  }

  #isIn({ forms, foldsCase }: Root, path: string, fold: (text: string) => string): boolean {
    const same = foldsCase ? fold : (text: string): string => text;
    return forms.some((form) => holds(same(form), same(path), this.#separator));
  }

  /** Follows links from the top; what is missing must be missing, also below a file, and no link into nowhere. */
  async #resolve(native: string): Promise<string> {
    let head = native;
    const missing: string[] = [];
    for (;;) {
      try {
        const real = await this.#files.realpath(head);
        return this.#join(real, missing.reverse());
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
      if (await this.#isThere(head)) throw new Error('a link that leads nowhere');
      const at = head.lastIndexOf(this.#separator);
      const name = head.slice(at + 1);
      if (at < 0 || name === '' || name === '..') throw new Error('nothing there');
      missing.push(name);
      // `/` and `C:\` keep their separator; elsewhere a colon is a character of a name.
      const isRoot = at === 0 || (this.#separator === '\\' && head.charAt(at - 1) === ':');
      head = isRoot ? head.slice(0, at + 1) : head.slice(0, at);
    }
  }

  #join(folder: string, names: readonly string[]): string {
    const start = folder.endsWith(this.#separator) ? folder.slice(0, -1) : folder;
    return names.length === 0 ? folder : [start, ...names].join(this.#separator);
  }

  async #isThere(path: string): Promise<boolean> {
    try {
      await this.#files.lstat(path);
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  #currentRoots(): Promise<Roots> {
    const now = this.#clock.monotonicMs();
    if (this.#roots === undefined || now - this.#rootsAt >= ROOTS_MS) {
      this.#folders.clear();
      this.#rootsAt = now;
      this.#roots = this.#resolveRoots();
    }
    return this.#roots;
  }

  async #resolveRoots(): Promise<Roots> {
    const { allowed, denied, alwaysDenied, platform } = this.#rules;
    const never = [...alwaysDenied, ...(KERNEL_FOLDERS[platform] ?? [])];
    const close = (texts: readonly string[]): Promise<Root[]> =>
      Promise.all(texts.map((text) => this.#closedRoot(text)));
    const open = Promise.all(allowed.map((text) => this.#openRoot(text)));
    return { allowed: await open, denied: await close(denied), always: await close(never) };
  }

  async #limitsOf(folders: readonly string[]): Promise<Root[]> {
    const roots: Root[] = [];
    for (const text of folders) {
      const root = this.#folders.get(text) ?? (await this.#openRoot(text));
      this.#folders.set(text, root);
      roots.push(root);
    }
    return roots;
  }

  /** A folder that is open counts only where it can be resolved: else it opens nothing. */
  async #openRoot(text: string): Promise<Root> {
    try {
      const real = await this.#resolve(toNativePath(text, this.#rules));
      return { text, forms: [real], foldsCase: await this.#ignoresCase(real) };
    } catch {
      return { text, forms: [], foldsCase: false };
    }
  }

  /** A folder that is closed counts as it is written too, whatever stands there now. */
  async #closedRoot(text: string): Promise<Root> {
    const native = toNativePath(text, this.#rules);
    const foldsAlways = this.#rules.platform === 'win32' || this.#rules.platform === 'darwin';
    try {
      const real = await this.#resolve(native);
      return { text, forms: [native, real], foldsCase: foldsAlways || (await this.#ignoresCase(real)) };
    } catch {
      return { text, forms: [native], foldsCase: foldsAlways };
    }
  }

  /** Whether the file system takes another spelling of the nearest existing folder for the same one. */
  async #ignoresCase(path: string): Promise<boolean> {
    const at = path.search(/[^\\/]*\p{L}[^\\/]*$/u);
    const other = at < 0 ? path : path.slice(0, at) + swapCase(path.slice(at));
    if (other === path) return this.#rules.platform === 'win32';
    try {
      const [one, two] = await Promise.all([this.#files.stat(path), this.#files.stat(other)]);
      return one.dev === two.dev && one.ino === two.ino;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') return false;
    }
    const parent = path.slice(0, Math.max(0, path.lastIndexOf(this.#separator)));
    return (await this.#isThere(path)) || parent === '' ? false : this.#ignoresCase(parent);
  }
}
