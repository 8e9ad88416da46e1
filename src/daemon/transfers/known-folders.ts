import { LoopsyError } from '../../protocol/errors.ts';

/** By path: which folder it is. What is no source itself has in front of it what it is. */
export type Marks = Readonly<Record<string, string>>;

/** `disk`: a folder below a source where another disk begins. `target`: where a source goes, and what that lies in. */
type Role = 'source' | 'disk' | 'target';

/** A folder as it is met; no mark: there is none, or none with a disk of its own. */
type Met = readonly [path: string, mark: string | undefined];

/** Told all marks when there are more of them; nothing is moved before they have been written down. */
export type KeepMarks = (marks: Marks) => Promise<void>;

/**
 * The folders that a movement began with, over all of its attempts: it goes on with no others, for under the mount point
 * of a disk that was taken away there is another folder.
 */
export class KnownFolders {
  readonly #marks: Map<string, string>;
  readonly #keep: KeepMarks | undefined;
  /** In this attempt. */
  readonly #met = new Set<string>();

  constructor(marks: Marks = {}, keep?: KeepMarks) {
    this.#marks = new Map(Object.entries(marks));
    this.#keep = keep;
  }

  /** An attempt begins. */
  begin(): void {
    this.#met.clear();
  }

  /** Takes note of those that are new. @throws {LoopsyError} where one is another folder than before. */
  async meet(role: Role, folders: readonly Met[]): Promise<void> {
    const { size } = this.#marks;
    for (const [path, mark] of folders) {
      const key = keyOf(role, path);
      const known = this.#marks.get(key) ?? mark;
      if (known === undefined) continue;
      if (known !== mark) throw another(role, path);
      this.#marks.set(key, known);
      this.#met.add(key);
    }
    if (this.#marks.size > size) await this.#keep?.(Object.fromEntries(this.#marks));
  }

  /** @throws {LoopsyError} where an earlier attempt has met a disk below a source, and this one has not. */
  needDisks(): void {
    const start = keyOf('disk', '');
    for (const key of this.#marks.keys())
      if (key.startsWith(start) && !this.#met.has(key)) throw another('disk', key.slice(start.length));
  }
}

const keyOf = (role: Role, path: string): string => (role === 'source' ? path : `${role} ${path}`);

const another = (role: Role, path: string): LoopsyError =>
  new LoopsyError(role === 'target' ? 'file_not_found' : 'source_changed', {
    message: `${JSON.stringify(path)} is another folder than when this transfer began: it was not gone on with`,
    hint: 'see that the disk that it is on is there; then run the same command again',
    details: { path, at: role === 'target' ? 'target' : 'source' },
  });
