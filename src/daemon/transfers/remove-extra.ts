import { LoopsyError } from '../../protocol/errors.ts';
import type { SourceWant, Stamp } from '../../protocol/transfers.ts';
import { ENTRY, failedOf, type Entry } from './format.ts';
import type { Patience } from './patience.ts';
import type { Progress } from './progress.ts';
import { countIn, failedIn, listIn, readJson, shownIn, textIn, type NameItems, type Way } from './way.ts';

const PAGE = 1000;
/** Failures of one file or folder alone. */
const ABOUT_ONE: ReadonlySet<string> = new Set([
  'source_changed',
  'file_not_found',
  'path_denied',
  'wrong_type',
  'file_too_large',
]);
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
      if (type === 'directory') await this.#removeIn(way, { root, folder: '', isGone: false });
  }

  /** What was in the way of something goes before all the rest. */
  #rest(): string {
    if (this.#name !== undefined) return 'nothing else would be';
    return this.#progress.removed > 0 ? 'nothing more was' : 'nothing was';
  }

  /**
   * Why there will be no room for what is of another kind at the source: it can't be read, or something in the folder in
   * its way would stay, by the rules of either end. Undefined where there is, or can be, room.
   */
  async whyNot(
    way: Way,
    [kind, root, path, size, mtimeMs]: Entry,
    isFolder: boolean,
  ): Promise<LoopsyError | undefined> {
    const file: Stamp = [root, path, size, mtimeMs];
    try {
      if (kind === ENTRY.file) await this.#patience.persist(() => readJson(way.source, { kind: 'check', file }));
      if (isFolder) await this.#needAll(way, { root, folder: path, isGone: true });
      return undefined;
    } catch (thrown) {
      if (isAboutOne(thrown)) return thrown;
      throw thrown;
    }
  }

  /** Makes room for it. */
  async clear(way: Way, [, root, path]: Entry, isFolder: boolean): Promise<void> {
    if (isFolder) await this.#removeIn(way, { root, folder: path, isGone: true });
    // It is replaced, and counted so.
    await this.#remove(way, { root, paths: [path], emptied: true });
  }

  /** @throws {LoopsyError} where something in a folder would stay. */
  async #needAll(way: Way, place: Folder): Promise<void> {
    for await (const { names, isWhole } of this.#pages(way, { ...place, isJudged: true })) {
      const { gone } = await this.#ask(way, place, names);
      if (!isWhole || gone.size < names.length) throw staysFor(shownIn(way, place.root, place.folder));
      for (const name of names) if (name[1]) await this.#needAll(way, below(place, name));
    }
  }

  /** @returns true where nothing is left in it; undefined where it could not be looked into. */
  async #removeIn(way: Way, place: Folder): Promise<boolean | undefined> {
    let isEmpty = true;
    try {
      for await (const { names, isWhole } of this.#pages(way, place))
        isEmpty = (await this.#removeOf(way, place, names)) && isWhole && isEmpty;
      return isEmpty;
    } catch (thrown) {
      if (!isAboutOne(thrown)) throw thrown;
      this.#progress.remark(failedOf(shownIn(way, place.root, place.folder), thrown));
      return undefined;
    }
  }

  /** What a target has in a folder; not whole where there is more that can't be asked about. */
  async *#pages(
    way: Way,
    { root, folder, isGone, isJudged = false }: Folder,
  ): AsyncGenerator<{ names: Name[]; isWhole: boolean }> {
    let after: string | undefined;
    do {
      const asked = JSON.stringify({ root, folder, after, gone: isGone, judge: isJudged });
      const answer = await this.#patience.persist(() => way.target.write('extra', asked));
      const isWhole = this.#remark(answer);
      const names = namesIn(answer);
      for (let from = 0; from < Math.max(1, names.length); from += PAGE)
        yield { names: names.slice(from, from + PAGE), isWhole };
      after = textIn(answer, 'next');
    } while (after !== undefined);
  }

  /** Which of these names the source does not have, which of its own are no folders as here, and which it leaves out. */
  async #ask(
    way: Way,
    { root, folder, isGone }: Folder,
    names: Name[],
  ): Promise<{ readonly gone: Set<number>; readonly others: Set<number>; readonly left: Set<number> }> {
    if (names.length === 0) return { gone: new Set(), others: new Set(), left: new Set() };
    const want: SourceWant = { kind: 'missing', root, folder, names, ...(isGone ? { gone: true } : {}) };
    const answer = await this.#patience.persist(() => readJson(way.source, want));
    const numbers = (name: string): Set<number> => new Set(listIn(answer, name) as number[]);
    return { gone: numbers('missing'), others: numbers('others'), left: numbers('left') };
  }

  /** @returns true where none of them is left. */
  async #removeOf(way: Way, place: Folder, names: Name[]): Promise<boolean> {
    const { gone, others, left } = await this.#ask(way, place, names);
    for (const [index, name] of names.entries()) {
      if (!name[1] || left.has(index) || (!this.#isEmptied && gone.has(index))) continue;
      const isGone = gone.has(index) || others.has(index);
      const isEmpty = await this.#removeIn(way, { ...below(place, name), isGone });
      // Where it is really tried, the folder itself knows best.
      if (isEmpty === undefined || (!isEmpty && this.#name !== undefined)) gone.delete(index);
    }
    const extra = names.filter((_, index) => gone.has(index));
    if (extra.length === 0) return names.length === 0;
    const { root } = place;
    const paths = extra.map((name) => below(place, name).folder);
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

type Name = [name: string, isFolder: boolean];

/** A folder of the target. */
interface Folder {
  readonly root: number;
  readonly folder: string;
  /** True where the source is known to have none there. */
  readonly isGone: boolean;
  /** True where the target says what it would not remove. */
  readonly isJudged?: boolean;
}

const below = ({ root, folder, isGone }: Folder, [name]: Name): Folder => ({
  root,
  folder: folder === '' ? name : `${folder}/${name}`,
  isGone,
});

const staysFor = (shown: string): LoopsyError =>
  new LoopsyError('wrong_type', {
    message: `${JSON.stringify(shown)} is a folder there, and in it is what --delete spares or can not remove`,
    hint: 'move that away there, or leave this out with --exclude',
  });

/** The others go on. */
const isAboutOne = (thrown: unknown): thrown is LoopsyError =>
  thrown instanceof LoopsyError && ABOUT_ONE.has(thrown.error);

const namesIn = (answer: unknown): Name[] => listIn(answer, 'names') as Name[];
