import type { SourceWant } from '../../protocol/transfers.ts';
import type { Entry } from './format.ts';
import type { Patience } from './patience.ts';
import type { Progress } from './progress.ts';
import { countIn, failedIn, readJson, textIn, type Way } from './way.ts';

const PAGE = 1000;

/** Removes at the target what the source does not have, folder by folder. */
export class ExtraRemover {
  readonly #patience: Patience;
  readonly #progress: Progress;

  /** What is left out lies in folders that the source does not have, too: then they go only when nothing is in them. */
  readonly #isEmptied: boolean;

  constructor(patience: Patience, progress: Progress, { leavesOut }: { leavesOut: boolean }) {
    this.#patience = patience;
    this.#progress = progress;
    this.#isEmptied = leavesOut;
  }

  /** Only where all of the source could be read: else what is missing may just not have been seen. */
  async run(way: Way): Promise<void> {
    if (this.#progress.hasFailed) {
      const message = 'nothing was removed, because not everything could be read at the source or written here';
      this.#progress.remark(['--delete', 'transfer_failed', message]);
      return;
    }
    for (const [root, { type }] of way.opened.roots.entries())
      if (type === 'directory') await this.#removeIn(way, root, '');
  }

  /** Makes room for what is of another kind at the source; what is left out stays, and then there is none. */
  async clear(way: Way, [, root, path]: Entry, isFolder: boolean): Promise<void> {
    if (isFolder) await this.#removeIn(way, root, path);
    await this.#remove(way, { root, paths: [path], emptied: true });
  }

  async #removeIn(way: Way, root: number, folder: string): Promise<void> {
    let after: string | undefined;
    do {
      const asked = JSON.stringify({ root, folder, after });
      const answer = await this.#patience.persist(() => way.target.write('extra', asked));
      failedIn(answer).forEach((failed) => this.#progress.remark(failed));
      const names = namesIn(answer);
      for (let from = 0; from < names.length; from += PAGE)
        await this.#removeOf(way, { root, folder, names: names.slice(from, from + PAGE) });
      after = textIn(answer, 'next');
    } while (after !== undefined);
  }

  async #removeOf(way: Way, { root, folder, names }: Named): Promise<void> {
    const want: SourceWant = { kind: 'missing', root, folder, names };
    const gone = missingIn(await this.#patience.persist(() => readJson(way.source, want)));
    const pathOf = (name: string): string => (folder === '' ? name : `${folder}/${name}`);
    for (const [index, [name, isFolder]] of names.entries())
      if (isFolder && (this.#isEmptied || !gone.has(index))) await this.#removeIn(way, root, pathOf(name));
    const paths = names.filter((_, index) => gone.has(index)).map(([name]) => pathOf(name));
    if (paths.length > 0) await this.#remove(way, { root, paths, emptied: this.#isEmptied });
  }

  async #remove({ target }: Way, asked: Asked): Promise<void> {
    const answer = await this.#patience.persist(() => target.write('remove', JSON.stringify(asked)));
    this.#progress.removed += countIn(answer, 'removed');
    failedIn(answer).forEach((failed) => this.#progress.remark(failed));
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

const missingIn = (answer: unknown): ReadonlySet<number> => {
  const { missing } = answer as { missing?: unknown };
  return new Set(Array.isArray(missing) ? (missing as number[]) : []);
};
