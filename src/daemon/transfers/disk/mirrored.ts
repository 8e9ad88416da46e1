import { lstatSync, type Stats } from 'node:fs';

import { LoopsyError } from '../../../protocol/errors.ts';
import { fileError } from './faults.ts';
import type { SourceRoot } from './sources.ts';

/** So far the clock of a disk in the network may be ahead. */
const SKEW_MS = 300_000;
/** Folders on other disks of which is remembered which disk that was; below further ones nothing is removed. */
const MAX_DISKS = 10_000;

/**
 * What a source was when it was opened. What is missing in a mirrored folder is removed at the target: so it has to be
 * missing in the folder that was read, and not because that was taken away, or is being worked in, since.
 */
export class Mirrored {
  readonly #roots: readonly SourceRoot[];
  readonly #openedAtMs = Date.now();
  /** By root and path: the disks that are not that of the folder above. */
  readonly #disks = new Map<string, number>();

  constructor(roots: readonly SourceRoot[]) {
    this.#roots = roots;
  }

  /** A folder lies on another disk than what it is in. */
  onDisk(root: number, path: string, dev: number): void {
    if (this.#disks.size < MAX_DISKS) this.#disks.set(keyOf(root, path), dev);
  }

  /** True where another disk begins. */
  isDisk(root: number, path: string): boolean {
    return this.#disks.has(keyOf(root, path));
  }

  folder(root: number, path: string): MirroredFolder {
    const at = this.#roots[root];
    if (at === undefined) throw new LoopsyError('invalid_request', { message: `there is no root ${root}` });
    return new MirroredFolder(at, this.#diskOf(root, path) ?? at.identity.dev, this.#openedAtMs);
  }

  #diskOf(root: number, path: string): number | undefined {
    for (let folder = path; folder !== ''; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/')))) {
      const dev = this.#disks.get(keyOf(root, folder));
      if (dev !== undefined) return dev;
    }
    return undefined;
  }
}

/** One folder of a root. */
export class MirroredFolder {
  readonly #root: SourceRoot;
  readonly #dev: number;
  readonly #openedAtMs: number;

  constructor(root: SourceRoot, dev: number, openedAtMs: number) {
    this.#root = root;
    this.#dev = dev;
    this.#openedAtMs = openedAtMs;
  }

  /** @throws {LoopsyError} `source_changed` where another folder, or none, lies where the root was. */
  needRoot(): void {
    const { real, name, identity } = this.#root;
    const now = lstatSync(real, { throwIfNoEntry: false });
    if (now?.dev === identity.dev && now.ino === identity.ino) return;
    throw fileError('source_changed', name, [
      'is not the folder any more that was read: nothing was removed for it',
      { hint: 'see that it is there, and the disk that it is on; then run the same command again' },
    ]);
  }

  /** @throws {LoopsyError} `source_changed` where the folder is another one than was read. */
  needDisk(stats: Stats, shown: string): void {
    if (stats.dev !== this.#dev) throw sourceChanged(shown);
  }

  /**
   * True where something may have been made, renamed or removed there since the root was opened. Anybody can give a
   * folder another mtime, nobody another ctime: one far ahead was given before this clock was set back.
   */
  hasChanged({ ctimeMs }: Stats): boolean {
    return ctimeMs >= this.#openedAtMs && ctimeMs <= Date.now() + SKEW_MS;
  }
}

/** Says of a folder that nothing was removed for it. */
export const sourceChanged = (shown: string): LoopsyError =>
  fileError('source_changed', shown, [
    'changed while it was mirrored: nothing was removed for it',
    { hint: 'run the same command again' },
  ]);

const keyOf = (root: number, path: string): string => `${root}/${path}`;
