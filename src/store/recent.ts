import type { Change, Entry } from './store.ts';

// UTF-16 units of keys and values: of all that is held, and of one of them.
const MAX_LENGTH = 2_097_152;
const MAX_ENTRY_LENGTH = 65_536;

const lengthOf = ({ key, value }: Entry): number => key.length + value.length;

/**
 * Entries that were put or read lately: finding one in the file costs as much as answering for it. A key with a commit
 * under way is not held: what the file has at that moment is for the file to say.
 */
export class Recent {
  readonly #entries = new Map<string, Entry>();
  readonly #underWay = new Map<string, number>();
  #length = 0;

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  /** An entry as the file has it. */
  keep(entry: Entry): void {
    const length = lengthOf(entry);
    if (length > MAX_ENTRY_LENGTH || this.#underWay.has(entry.key)) return;
    this.forget(entry.key);
    this.#entries.set(entry.key, entry);
    this.#length += length;
    for (const oldest of this.#entries.keys()) {
      if (this.#length <= MAX_LENGTH) return;
      this.forget(oldest);
    }
  }

  forget(key: string): void {
    const known = this.#entries.get(key);
    if (known === undefined) return;
    this.#entries.delete(key);
    this.#length -= lengthOf(known);
  }

  clear(): void {
    this.#entries.clear();
    this.#length = 0;
  }

  /** A commit begins. */
  begin(changes: readonly Change[]): void {
    for (const change of changes) {
      const key = keyOf(change);
      this.forget(key);
      this.#underWay.set(key, (this.#underWay.get(key) ?? 0) + 1);
    }
  }

  /** It has ended: with its revision, or in vain. */
  end(changes: readonly Change[], revision?: number): void {
    for (const change of changes) {
      const key = keyOf(change);
      const left = (this.#underWay.get(key) ?? 1) - 1;
      if (left > 0) this.#underWay.set(key, left);
      else this.#underWay.delete(key);
    }
    if (revision === undefined) return;
    for (const change of changes) {
      if ('put' in change) this.keep(entryOf(change, revision));
      else this.forget(change.delete);
    }
  }
}

const keyOf = (change: Change): string => ('put' in change ? change.put : change.delete);

/** What a put has made. */
export const entryOf = (
  { put: key, value, expiresAt }: Extract<Change, { readonly put: string }>,
  revision: number,
): Entry => ({ key, value, revision, ...(expiresAt === undefined ? {} : { expiresAt }) });
