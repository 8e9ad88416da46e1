import type { SourceWant } from '../../protocol/transfers.ts';
import type { Entry } from './format.ts';
import type { Patience } from './patience.ts';
import type { Progress } from './progress.ts';
import { countIn, failedIn, listIn, readJson, shownIn, textIn, type NameItems, type Way } from './way.ts';

const PAGE = 1000;
const NOT_ALL = 'not everything could be read at the source or written at the destination';

/** Removes at the target what the source does not have, folder by folder. */
export class ExtraRemover {
  readonly #patience: Patience;
  readonly #progress: Progress;

  /** What is left out lies in folders that the source does not have, too: then they go only when nothing is in them. */
  readonly #isEmptied: boolean;

  /** There in a dry run: nothing is removed, and named instead. */
  readonly #name: NameItems | undefined;

  constructor(
    { patience, progress }: { readonly patience: Patience; readonly progress: Progress },
    { leavesOut, name }: { readonly leavesOut: boolean; readonly name: NameItems | undefined },
  ) {
    this.#patience = patience;
    this.#progress = progress;
    this.#isEmptied = leavesOut;
    this.#name = name;
  }

  /** Only where all of the source could be read: else what is missing may just not have been seen. */
  async run(way: Way): Promise<void> {
    if (this.#progress.hasFailed) {
      this.#progress.remark(['--delete', 'transfer_failed', `${this.#rest()} removed, because ${NOT_ALL}`]);
      return;
    }
    for (const [root, { type }] of way.opened.roots.entries())
      if (type === 'directory') await this.#removeIn(way, root, '');
  }

  /** What was in the way of something goes before all the rest. */
  #rest(): string {
    if (this.#name !== undefined) return 'nothing else would be';
    return this.#progress.removed > 0 ? 'nothing more was' : 'nothing was';
  }

  /** Makes room for what is of another kind at the source; what is left out stays, and then there is none. */
  async clear(way: Way, [, root, path]: Entry, isFolder: boolean): Promise<void> {
    if (isFolder) await this.#removeIn(way, root, path);
    // It is replaced, and counted so.
    await this.#remove(way, { root, paths: [path], emptied: true });
  }

  /** @returns true where nothing is left in it. */
  async #removeIn(way: Way, root: number, folder: string): Promise<boolean> {
    let after: string | undefined;
    let isEmpty = true;
    do {
      const asked = JSON.stringify({ root, folder, after });
      const answer = await this.#patience.persist(() => way.target.write('extra', asked));
      isEmpty = this.#remark(answer) && isEmpty;
      const names = namesIn(answer);
      for (let from = 0; from < names.length; from += PAGE)
        isEmpty = (await this.#removeOf(way, { root, folder, names: names.slice(from, from + PAGE) })) && isEmpty;
      after = textIn(answer, 'next');
    } while (after !== undefined);
    return isEmpty;
  }

  /** @returns true where none of them is left. */
  async #removeOf(way: Way, { root, folder, names }: Named): Promise<boolean> {
    const want: SourceWant = { kind: 'missing', root, folder, names };
    const gone = missingIn(await this.#patience.persist(() => readJson(way.source, want)));
    const pathOf = (name: string): string => (folder === '' ? name : `${folder}/${name}`);
    for (const [index, [name, isFolder]] of names.entries()) {
      if (!isFolder || (!this.#isEmptied && gone.has(index))) continue;
      const isEmpty = await this.#removeIn(way, root, pathOf(name));
      // Where it is really tried, the folder itself knows best.
      if (!isEmpty && this.#name !== undefined) gone.delete(index);
    }
    const extra = names.filter((_, index) => gone.has(index));
    if (extra.length === 0) return names.length === 0;
    const paths = extra.map(([name]) => pathOf(name));
    const answer = await this.#remove(way, { root, paths, emptied: this.#isEmptied });
    this.#progress.removed += countIn(answer, 'removed');
    const would = new Set(listIn(answer, 'would'));
    const shown = paths.map((path, index) => shownIn(way, root, extra[index]?.[1] === true ? `${path}/` : path));
    await this.#name?.(shown.filter((_, index) => would.has(index)).map((path) => ({ action: 'remove', path })));
    return countIn(answer, 'removed') === names.length;
  }

  async #remove({ target }: Way, asked: Asked): Promise<unknown> {
    const answer = await this.#patience.persist(() => target.write('remove', JSON.stringify(asked)));
    this.#remark(answer);
    return answer;
  }

  /** @returns true where nothing has failed. */
  #remark(answer: unknown): boolean {
    const failed = failedIn(answer);
    for (const one of failed) this.#progress.remark(one);
    return failed.length === 0;
  }
}

/** What is to be removed; with `emptied` folders go only when nothing is in them. */
interface Asked {
  readonly root: number;
  readonly paths: readonly string[];
  readonly emptied: boolean;
}

/** Names in a folder of the target. */
interface Named {
  readonly root: number;
  readonly folder: string;
  readonly names: [name: string, isFolder: boolean][];
}

const namesIn = (answer: unknown): [name: string, isFolder: boolean][] => {
  const { names } = answer as { names?: unknown };
  return Array.isArray(names) ? (names as [string, boolean][]) : [];
};

const missingIn = (answer: unknown): Set<number> => {
  const { missing } = answer as { missing?: unknown };
  return new Set(Array.isArray(missing) ? (missing as number[]) : []);
};
