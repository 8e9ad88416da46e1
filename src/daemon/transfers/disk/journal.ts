import { createHash } from 'node:crypto';
import { appendFileSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { isRecord } from '../../../protocol/record.ts';
import { isDraftName } from './draft-names.ts';

/** What was cut off can be gone on with for so long. */
export const KEEP_MS = 7 * 86_400_000;

/**
 * What a sudden end of one tree's writing would leave, written down before it is there: where the tree goes, and the
 * drafts in it. A process's end loses nothing of it; after a loss of power at the worst a draft stays.
 */
export class Journal {
  readonly #file: string;
  #paths: readonly string[] | undefined;
  #isThere: boolean;
  #open = 0;

  /** `key` tells who moves what to where: a repeat of the same has the same. */
  constructor(dir: string, key: string) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.#file = join(dir, `${createHash('sha256').update(key).digest('hex').slice(0, 32)}.jsonl`);
    const [head] = readLines(this.#file);
    this.#isThere = head !== undefined;
    const paths = isRecord(head) ? head['paths'] : undefined;
    this.#paths = Array.isArray(paths) && paths.every((path) => typeof path === 'string') ? paths : undefined;
  }

  /** Where the roots go, by what was decided when this was begun; undefined where it is new. */
  get paths(): readonly string[] | undefined {
    return this.#paths;
  }

  /** From here on a repeat goes to the same places. */
  begin(paths: readonly string[]): void {
    if (this.#isThere) return;
    this.#paths = paths;
    this.#isThere = true;
    this.#append({ paths });
  }

  /** These drafts are about to be there; `isLarge`: worth keeping. */
  drafts(drafts: readonly string[], isLarge: boolean): void {
    this.#open += 1;
    this.#append(isLarge ? { large: drafts } : { small: drafts });
  }

  /** One lot of them is gone. */
  settled(): void {
    this.#open -= 1;
  }

  /** Everything has arrived: there is nothing to go on with. */
  end(): void {
    if (this.#open === 0) rmSync(this.#file, { force: true });
  }

  #append(value: unknown): void {
    appendFileSync(this.#file, `${JSON.stringify(value)}\n`, { mode: 0o600 });
  }
}

/** Removes what sudden ends have left: small drafts at once, large ones, which can be gone on with, after a week. */
export const sweepJournals = (dir: string, now: number): void => {
  for (const name of namesIn(dir)) {
    const file = join(dir, name);
    const lines = readLines(file).filter(isRecord);
    const isOver = now - mtimeOf(file) > KEEP_MS;
    for (const line of lines) removeDrafts(line['small']);
    if (!isOver) continue;
    for (const line of lines) removeDrafts(line['large']);
    rmSync(file, { force: true });
  }
};

const removeDrafts = (drafts: unknown): void => {
  if (!Array.isArray(drafts)) return;
  for (const draft of drafts) {
    if (typeof draft !== 'string' || !isDraftName(basename(draft))) continue;
    try {
      if (lstatSync(draft).isFile()) rmSync(draft, { force: true });
    } catch (thrown) {
      // Gone, or out of reach: nothing of it is ours to force.
      if (errorCode(thrown) === undefined) throw thrown;
    }
  }
};

const namesIn = (dir: string): string[] => {
  try {
    return readdirSync(dir).filter((name) => /^[0-9a-f]{32}\.jsonl$/.test(name));
  } catch (thrown) {
    if (errorCode(thrown) === undefined) throw thrown;
    return [];
  }
};

const mtimeOf = (file: string): number => lstatSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

const readLines = (file: string): unknown[] => {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (thrown) {
    if (errorCode(thrown) !== 'ENOENT') throw thrown;
    return [];
  }
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as unknown];
    } catch {
      // The last line of a process that was ended while it wrote.
      return [];
    }
  });
};
