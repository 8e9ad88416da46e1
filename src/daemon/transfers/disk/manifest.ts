import { lstatSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';

import { LoopsyError } from '../../../protocol/errors.ts';
import { ENTRY, failedOf, shownPath, type Entry, type Failed, type Group } from '../format.ts';
import { fileFault } from './faults.ts';
import type { SourceRoot } from './sources.ts';
import type { Surroundings } from './surroundings.ts';
import { fileEntry, Walk, type Met } from './walk.ts';

const GROUP_ENTRIES = 1000;
const GROUP_BYTES = 262_144;
/** Groups that can be asked for again. */
const KEPT_GROUPS = 8;

/** Who is told of folders on other disks than what they are in. */
interface ManifestOptions {
  readonly onDisk?: (root: number, path: string, dev: number) => void;
}

/** A group that is being put together. */
interface Making {
  readonly entries: Entry[];
  readonly failed: Failed[];
  files: number;
  bytes: number;
  drafts: number;
  /** Characters, about: a group is as large as a message should be. */
  size: number;
}

/** What is in the roots, group by group, each looked for when it is asked for. */
export class Manifest {
  readonly #around: Surroundings;
  readonly #options: ManifestOptions;
  readonly #roots: readonly SourceRoot[];
  readonly #groups = new Map<number, Promise<Group>>();
  #at = 0;
  #walk: Walk | undefined;
  #made = 0;
  #isEnded = false;

  constructor(around: Surroundings, options: ManifestOptions, roots: readonly SourceRoot[]) {
    this.#around = around;
    this.#options = options;
    this.#roots = roots;
  }

  /** One of the last groups, or the next one. @throws {LoopsyError} `invalid_request` for any other. */
  group(at: number): Promise<Group> {
    const kept = this.#groups.get(at);
    if (kept !== undefined) return kept;
    if (at !== this.#made || this.#isEnded)
      throw new LoopsyError('invalid_request', { message: `there is no group ${at} of this manifest any more` });
    this.#made += 1;
    const before = this.#groups.get(at - 1);
    const group = this.#make(before);
    this.#groups.set(at, group);
    this.#groups.delete(at - KEPT_GROUPS);
    return group;
  }

  close(): void {
    this.#isEnded = true;
    this.#walk?.close();
    this.#walk = undefined;
    this.#groups.clear();
  }

  async #make(before: Promise<Group> | undefined): Promise<Group> {
    // Two that are asked for at once are made one behind the other.
    await before;
    const making: Making = { entries: [], failed: [], files: 0, bytes: 0, drafts: 0, size: 0 };
    await this.#judge();
    while (making.entries.length + making.failed.length < GROUP_ENTRIES && making.size < GROUP_BYTES) {
      const root = this.#roots[this.#at];
      if (root === undefined || this.#isEnded) break;
      const met = await this.#next(root);
      if (met === undefined) this.#at += 1;
      else if ('isPause' in met) await setImmediate();
      else if ('isDraft' in met) making.drafts += 1;
      else note(making, met, root);
    }
    const last = this.#roots[this.#at] === undefined;
    this.#isEnded ||= last;
    const { entries, failed, files, bytes, drafts } = making;
    return { entries, failed, files, bytes, ...(drafts === 0 ? {} : { drafts }), last };
  }

  /** The next thing of a root; undefined when there is no more. */
  async #next(root: SourceRoot): Promise<Met | undefined> {
    if (this.#walk === undefined) {
      if (root.type === 'file') {
        this.#at += 1;
        return this.#single(root, this.#at - 1);
      }
      const { platform, maxFileSize } = this.#around;
      const at = this.#at;
      const onDisk = (path: string, dev: number): void => this.#options.onDisk?.(at, path, dev);
      const { real, name, ignored } = root;
      this.#walk = new Walk({ root: at, real, name, platform, ignored, maxFileSize, onDisk });
      await this.#judge();
    }
    const met = this.#walk?.next();
    if (met === undefined) this.#walk = undefined;
    return met;
  }

  /** The rules of this moment are those of the next group. */
  async #judge(): Promise<void> {
    const root = this.#roots[this.#at];
    if (this.#walk !== undefined && root !== undefined)
      this.#walk.refuse = await this.#around.guard.closedBelow(root.real);
  }

  #single({ real, name }: SourceRoot, root: number): Met {
    const { platform, maxFileSize } = this.#around;
    try {
      return { entry: fileEntry({ root, name, platform, maxFileSize }, '', lstatSync(real)) };
    } catch (thrown) {
      return { path: '', error: fileFault(thrown, name) };
    }
  }
}

const note = (making: Making, met: Exclude<Met, { isPause: true } | { isDraft: true }>, { name }: SourceRoot): void => {
  if ('error' in met) {
    making.failed.push(failedOf(shownPath(name, met.path), met.error));
    making.size += met.path.length + met.error.message.length;
    return;
  }
  const [kind, , path, bytes, , , link = ''] = met.entry;
  making.entries.push(met.entry);
  making.size += path.length + link.length + 40;
  if (kind !== ENTRY.file) return;
  making.files += 1;
  making.bytes += bytes;
};
