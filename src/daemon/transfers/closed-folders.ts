import type { TransferFailure } from '../../protocol/transfers.ts';
import { ENTRY, isBelow, type Entry, type Plan } from './format.ts';
import type { Progress } from './progress.ts';
import { failedIn } from './way.ts';

/** A folder that the target does not have. */
interface Closed {
  readonly entry: Entry;
  readonly failure: TransferFailure;
}

/**
 * Folders that a target can not make: what is in them is not asked for, and is counted with them. A manifest has what is
 * in a folder right behind it, so that there is never more than one to think of.
 */
export class ClosedFolders {
  readonly #progress: Progress;
  #last: Closed | undefined;

  constructor(progress: Progress) {
    this.#progress = progress;
  }

  /** The next entries, as far as they are to be asked about. */
  openIn(entries: readonly Entry[]): readonly Entry[] {
    const last = this.#last;
    return last === undefined ? entries : entries.slice(this.#pass(last, entries, 0));
  }

  /** Takes the target's answer about entries. @returns those that are in no closed folder. */
  take(entries: readonly Entry[], plan: Plan): readonly Entry[] {
    const { closed = [] } = plan;
    if (closed.length === 0) return entries;
    const failed = failedIn(plan);
    const open: Entry[] = [];
    let from = 0;
    for (const [index, failedAt] of closed) {
      const [entry, why] = [entries[index], failed[failedAt]];
      if (entry === undefined || why === undefined) continue;
      open.push(...entries.slice(from, index));
      from = this.#pass({ entry, failure: this.#progress.remark(why) }, entries, index + 1);
    }
    return [...open, ...entries.slice(from)];
  }

  /** Counts what is in it. @returns where what is not in it begins. */
  #pass(closed: Closed, entries: readonly Entry[], from: number): number {
    const isOutside = (entry: Entry, index: number): boolean => index >= from && !isBelow(closed.entry, entry);
    const found = entries.findIndex(isOutside);
    const to = found === -1 ? entries.length : found;
    const files = entries.slice(from, to).filter(([kind]) => kind === ENTRY.file).length;
    closed.failure.files = (closed.failure.files ?? 0) + files;
    this.#progress.files.failed += files;
    this.#last = found === -1 ? closed : undefined;
    return to;
  }
}
