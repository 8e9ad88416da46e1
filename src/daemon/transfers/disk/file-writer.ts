import { Draft, type Wanted } from './draft.ts';
import { fileError, fileFault, tooLarge } from './faults.ts';
import type { Locks } from './locks.ts';
import type { Leaves } from './own-name.ts';
import { folderOf, statAt, type Place, type Places } from './places.ts';
import type { Surroundings } from './surroundings.ts';
import type { WantedFile } from './wanted.ts';

/** What a new file gets where nobody says it. */
export const NEW_FILE_MODE = 0o644;

/** Begins, publishes and discards the files of one target, each with a lock on it. */
export class FileWriter {
  readonly #around: Surroundings;
  readonly #locks: Locks;
  readonly #places: Places;
  /** By file: its lock, and its place in the tree. */
  readonly #held = new Map<Wanted, { readonly key: string; readonly root: number; readonly path: string }>();
  readonly #leaves: Leaves;
  readonly #digests: boolean;

  constructor(
    parts: { around: Surroundings; locks: Locks; places: Places },
    options: Leaves & { readonly digest: boolean },
  ) {
    this.#around = parts.around;
    this.#locks = parts.locks;
    this.#places = parts.places;
    this.#leaves = options;
    this.#digests = options.digest;
  }

  /**
   * What a file is to be, with the lock on it. `size`: where it is not known yet.
   * @throws {LoopsyError} `target_busy` where another transfer has that.
   */
  lock(file: WantedFile, size = file[2]): Wanted {
    const [root, path, announced, mtimeMs] = file;
    const { maxFileSize } = this.#around;
    const place = this.#places.at(root, path);
    const { name, shown } = place;
    if (announced > maxFileSize) throw tooLarge(shown, announced, maxFileSize);
    const mode = modeFor(place, file);
    const wanted = {
      shown,
      folder: folderOf(place),
      name,
      draft: this.#places.draftName(name),
      size,
      mtimeMs,
      ...mode,
    };
    const key = this.#places.lockKey(place);
    const holder = this.#locks.take(key, this);
    if (holder === this)
      throw fileError('name_unusable', shown, 'is written twice: this system takes two names for one');
    if (holder !== undefined) throw fileError('target_busy', shown, 'is being written by another transfer');
    // Its draft is known by its own name, too: for who removes drafts.
    this.#locks.take(wanted.folder.realOf(wanted.draft), this);
    this.#held.set(wanted, { key, root, path });
    return wanted;
  }

  unlock(wanted: Wanted): void {
    const held = this.#held.get(wanted);
    if (held === undefined) return;
    this.#locks.release(held.key);
    this.#locks.release(wanted.folder.realOf(wanted.draft));
    this.#held.delete(wanted);
  }

  /** Begins a file. */
  create(file: WantedFile, size?: number): Draft {
    const wanted = this.lock(file, size);
    try {
      const draft = Draft.create(wanted, this.#digests);
      this.#around.spelling.learn(wanted.folder, wanted.draft);
      return draft;
    } catch (thrown) {
      this.unlock(wanted);
      throw fileFault(thrown, wanted.shown);
    }
  }

  /** One that an earlier transfer began, or a copy of the old file. */
  async resume(wanted: Wanted): Promise<{ readonly draft: Draft; readonly hashes: string[] }> {
    try {
      return await Draft.resume(wanted, this.#digests);
    } catch (thrown) {
      this.unlock(wanted);
      throw fileFault(thrown, wanted.shown);
    }
  }

  /** Takes the rules of this moment for a file that is about to get its name. */
  async judge({ wanted }: Draft): Promise<void> {
    const held = this.#held.get(wanted);
    if (held !== undefined) await this.#places.judge([held.root]);
  }

  /** @throws {LoopsyError} where the rules of this moment don't let it be written any more. */
  async recheck(draft: Draft): Promise<void> {
    await this.judge(draft);
    const held = this.#held.get(draft.wanted);
    if (held !== undefined) this.#places.checkRules(held.root, held.path);
  }

  /**
   * Gives a complete draft its own name, where the rules that were judged last allow it. Nothing of it is left where that
   * fails. @returns false where what has come there since it was planned is left alone; nothing of it is left then either.
   */
  async publish(draft: Draft): Promise<boolean> {
    const { folder, name, shown } = draft.wanted;
    const held = this.#held.get(draft.wanted);
    try {
      if (held !== undefined) this.#places.checkRules(held.root, held.path);
      // What has come there since it was planned may be somebody else's; elsewhere the system refuses to replace a folder.
      if (this.#around.spelling.folds(folder)) {
        const place = { folder, name, shown, real: folder.realOf(name) };
        const there = statAt(place);
        if (there?.isDirectory() === true) throw fileError('wrong_type', shown, 'is a folder there');
        if (there !== undefined) this.#places.checkSpelling(place);
      }
      return await draft.publish(this.#leaves);
    } catch (thrown) {
      draft.discard();
      throw fileFault(thrown, shown);
    } finally {
      this.unlock(draft.wanted);
    }
  }

  /** Nothing of it is left. */
  discard(draft: Draft): void {
    try {
      draft.discard();
    } finally {
      this.unlock(draft.wanted);
    }
  }

  /** It stays, to be gone on with, where it can be found again. */
  let(draft: Draft): void {
    if (draft.wanted.folder.isThere) draft.close();
    else draft.discard();
    this.unlock(draft.wanted);
  }
}

/** A file from a system without permission bits gets those of the one that it replaces. */
const modeFor = (place: Place, [, , , , mode]: WantedFile): { mode: number; guessesMode?: boolean } => {
  if (mode >= 0) return { mode };
  const stats = statAt(place);
  return stats?.isFile() === true ? { mode: stats.mode & 0o777 } : { mode: NEW_FILE_MODE, guessesMode: true };
};
