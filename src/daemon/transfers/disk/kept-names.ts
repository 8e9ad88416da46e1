import { lstatSync } from 'node:fs';

import type { Clock, Timer } from '../../../kernel/clock.ts';
import type { OpenFolder } from './folders.ts';
import { listNames, type NamesFound, type NamesWanted } from './listing.ts';

/** Who reads page by page comes again within this. */
const KEEP_MS = 10_000;
/** A larger folder is read once for each so many names: to sort more at once would keep others waiting. */
const MAX_NAMES = 16_384;
const MAX_FOLDERS = 4;

/** Names of a folder, in their order, without a gap. */
interface Kept {
  /** Which folder it is, and since when it has not changed. */
  readonly mark: string;
  /** They are those behind this one. */
  readonly after: string | undefined;
  readonly names: readonly string[];
  readonly hasMore: boolean;
  readonly timer: Timer;
}

/** Names of the folders that were listed last: the page that follows is taken from them, and reads no folder anew. */
export class KeptNames {
  readonly #clock: Clock;
  readonly #kept = new Map<string, Kept>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** As `listNames`. What begins at the begin always reads the folder itself. */
  async list(folder: OpenFolder, platform: NodeJS.Platform, wanted: NamesWanted): Promise<NamesFound> {
    const mark = markOf(folder);
    const known = this.#take(folder.real);
    const page = known?.mark === mark ? pageIn(known, wanted) : undefined;
    if (known !== undefined && page !== undefined) {
      if (page.hasMore) this.#keep(folder.real, known);
      return page;
    }
    const { after, most } = wanted;
    const read = await listNames(folder, platform, { after, most: Math.max(most, MAX_NAMES) });
    const hasMore = read.hasMore || read.names.length > most;
    if (hasMore) this.#keep(folder.real, { mark, after, names: read.names, hasMore: read.hasMore });
    return { ...read, names: read.names.slice(0, most), hasMore };
  }

  #take(real: string): Kept | undefined {
    const known = this.#kept.get(real);
    known?.timer.cancel();
    this.#kept.delete(real);
    return known;
  }

  #keep(real: string, kept: Omit<Kept, 'timer'>): void {
    this.#take(real);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size < MAX_FOLDERS) break;
      this.#take(oldest);
    }
    const timer = this.#clock.after(KEEP_MS, () => this.#kept.delete(real));
    this.#kept.set(real, { ...kept, timer });
  }
}

/** Undefined where they are not known, or not all of them. */
const pageIn = ({ names, hasMore, ...kept }: Kept, { after, most }: NamesWanted): NamesFound | undefined => {
  if (after === undefined || (kept.after !== undefined && after < kept.after)) return undefined;
  const from = firstBehind(names, after);
  if (hasMore && names.length - from < most) return undefined;
  const page = names.slice(from, from + most);
  return { names: page, hasMore: hasMore || from + most < names.length, unreadable: [], unreadableCount: 0 };
};

const firstBehind = (names: readonly string[], after: string): number => {
  let [from, to] = [0, names.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((names[middle] ?? '') > after) to = middle;
    else from = middle + 1;
  }
  return from;
};

const markOf = (folder: OpenFolder): string => {
  const { dev, ino, mtimeNs, ctimeNs } = lstatSync(folder.path('.'), { bigint: true });
  return [dev, ino, mtimeNs, ctimeNs].join(' ');
};
