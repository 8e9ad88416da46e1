import { createHash } from 'node:crypto';
import {
  appendFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, isAbsolute, join } from 'node:path';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { isRecord } from '../../../protocol/record.ts';
import type { Draft } from './draft.ts';
import { isDraftName } from './draft-names.ts';
import { fileFault } from './faults.ts';
import { Locks } from './locks.ts';
import { removeFile } from './opened.ts';

/** What was cut off can be gone on with for so long. */
export const KEEP_MS = 7 * 86_400_000;
/** What is over is taken out of a file that is larger. */
const COMPACT_BYTES = 262_144;
const SPOOL = /^[0-9a-f]{32}\.spool$/;
const JOURNAL = /^[0-9a-f]{32}\.jsonl$/;

/**
 * What becomes of what has not arrived: all has, it waits to be gone on with, nobody here wants it; or nobody but others
 * has written.
 */
export type Rest = 'none' | 'kept' | 'unwanted' | 'untouched';

/** Where several have written, what comes last here becomes of it. */
const RANKS: readonly Rest[] = ['untouched', 'none', 'kept', 'unwanted'];

/** The folder that a tree was begun with. */
export interface MadeRoot {
  /** What the root is called: another one goes elsewhere. */
  readonly root: string;
  /** Which folder it is, wherever it lies: another one in its place has another mark. */
  readonly mark: string;
  /** True where it was begun as a mirror: what was begun as none never becomes one. */
  readonly mirrors: boolean;
}

/**
 * What a sudden end of one tree's writing would leave: the drafts in it, written down before they are there, and the
 * folder that it was begun with. A process's end loses nothing of it; after a loss of power at the worst a draft stays.
 */
export class Journal {
  readonly #file: string;
  #made: MadeRoot | undefined;
  readonly #large: Set<string>;
  readonly #small = new Map<number, readonly string[]>();
  #lastLot = 0;
  #bytes = 0;

  constructor(file: string) {
    this.#file = file;
    const lines = readLines(file).filter(isRecord);
    this.#made = lines.map(madeIn).find((made) => made !== undefined);
    this.#large = new Set(lines.flatMap((line) => textsIn(line['large'])));
    for (const line of lines) this.#lot(textsIn(line['small']));
  }

  /** True for the folder that an earlier run has made, and did not come to the end with. */
  hasMade({ root, mark, mirrors }: MadeRoot): boolean {
    return this.#made?.root === root && this.#made.mark === mark && this.#made.mirrors === mirrors;
  }

  /** From here on a repeat goes on in this folder. */
  made(made: MadeRoot): void {
    this.#made = made;
    this.#compact();
  }

  /** These are about to be there. @returns the number of the lot, which is told when none of them is any more. */
  addSmall(drafts: readonly string[]): number {
    this.#append({ small: drafts });
    return this.#lot(drafts);
  }

  /** One that is worth keeping. */
  addLarge(draft: string): void {
    if (this.#large.has(draft)) return;
    this.#append({ large: [draft] });
    this.#large.add(draft);
  }

  /** A lot is over; what could not be removed of it stays in the journal. */
  settleSmall(lot: number, begun: readonly Draft[] = []): void {
    const left = begun.filter(({ isLeft }) => isLeft).map(({ wanted: { folder, draft } }) => folder.realOf(draft));
    if (left.length > 0) this.#small.set(lot, left);
    else this.#small.delete(lot);
  }

  settleLarge(draft: string): void {
    this.#large.delete(draft);
  }

  /** Nobody writes any more. What is not to be gone on with goes, but for what another transfer writes by now. */
  end(rest: Rest, locks: Pick<Locks, 'isHeld'>): void {
    if (rest === 'untouched') return;
    if (rest !== 'kept') {
      this.#made = undefined;
      for (const draft of this.#large) if (locks.isHeld(draft) || removeDraft(draft)) this.#large.delete(draft);
    }
    this.#compact();
  }

  #lot(drafts: readonly string[]): number {
    this.#lastLot += 1;
    if (drafts.length > 0) this.#small.set(this.#lastLot, drafts);
    return this.#lastLot;
  }

  #append(value: unknown): void {
    const line = `${JSON.stringify(value)}\n`;
    this.#bytes += line.length;
    if (this.#bytes > COMPACT_BYTES) this.#compact();
    this.#write(() => appendFileSync(this.#file, line, { mode: 0o600 }));
  }

  /** Only what is still so stays in it. */
  #compact(): void {
    const lines: unknown[] = this.#made === undefined ? [] : [this.#made];
    if (this.#large.size > 0) lines.push({ large: [...this.#large] });
    for (const small of this.#small.values()) lines.push({ small });
    this.#bytes = 0;
    this.#write(() => {
      if (lines.length === 0) return rmSync(this.#file, { force: true });
      const fresh = `${this.#file}.new`;
      writeFileSync(fresh, lines.map((line) => `${JSON.stringify(line)}\n`).join(''), { mode: 0o600 });
      renameSync(fresh, this.#file);
    });
  }

  #write(write: () => void): void {
    try {
      write();
    } catch (thrown) {
      throw fileFault(thrown, `loopsy's own ${basename(this.#file)}`);
    }
  }
}

/** The journals of a node. Two who write the same share one. */
export class Journals {
  readonly #dir: string;
  readonly #locks: Pick<Locks, 'isHeld'>;
  readonly #open = new Map<string, { readonly journal: Journal; users: number; rest: Rest }>();

  constructor(dir: string, locks: Pick<Locks, 'isHeld'> = new Locks()) {
    this.#dir = dir;
    this.#locks = locks;
  }

  /** `key` tells who moves what to where: a repeat of the same has the same. */
  open(key: string, now: number): Journal {
    const file = this.#fileOf(key);
    const known = this.#open.get(file);
    if (known !== undefined) {
      known.users += 1;
      return known.journal;
    }
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    // What lies longer is not gone on with: it is swept, as if the node had just been started.
    if (isOlder(file, now)) sweepFile(file, true);
    const journal = new Journal(file);
    this.#open.set(file, { journal, users: 1, rest: 'untouched' });
    return journal;
  }

  /** One who wrote has ended. */
  close(key: string, rest: Rest): void {
    const file = this.#fileOf(key);
    const known = this.#open.get(file);
    if (known === undefined) return;
    known.users -= 1;
    if (RANKS.indexOf(rest) > RANKS.indexOf(known.rest)) known.rest = rest;
    if (known.users > 0) return;
    this.#open.delete(file);
    known.journal.end(known.rest, this.#locks);
  }

  /** Removes what sudden ends have left: small drafts at once, large ones, which can be gone on with, after a week. */
  sweep(now: number): void {
    for (const name of namesIn(this.#dir)) {
      const file = join(this.#dir, name);
      try {
        if (SPOOL.test(name)) removeQuietly(file);
        else if (!this.#open.has(file)) sweepFile(file, isOlder(file, now));
      } catch (thrown) {
        // One that can't be read now is swept another time, and keeps nobody from moving files.
        if (errorCode(thrown) === undefined) throw thrown;
      }
    }
  }

  #fileOf(key: string): string {
    return join(this.#dir, `${createHash('sha256').update(key).digest('hex').slice(0, 32)}.jsonl`);
  }
}

const sweepFile = (file: string, isOver: boolean): void => {
  const lines = readLines(file).filter(isRecord);
  const small = lines.flatMap((line) => textsIn(line['small']));
  // What can't be removed now is tried again at the next start.
  const isLeft = small.filter((draft) => !removeDraft(draft)).length > 0;
  if (isOver) for (const line of lines) for (const draft of textsIn(line['large'])) removeDraft(draft);
  const isOfUse = isLeft || lines.some((line) => madeIn(line) !== undefined || textsIn(line['large']).length > 0);
  if (isOver || !isOfUse) removeQuietly(file);
};

/**
 * Whatever a journal says, nothing is removed that has not a draft's name, and no folder. @returns false where something
 * may be left.
 */
const removeDraft = (draft: string): boolean =>
  !isAbsolute(draft) || !isDraftName(basename(draft)) || removeQuietly(draft);

const removeQuietly = (file: string): boolean => {
  try {
    if (lstatSync(file, { throwIfNoEntry: false })?.isDirectory() === false) removeFile(file);
    return true;
  } catch (thrown) {
    // Out of reach: nothing of it is ours to force.
    if (errorCode(thrown) === undefined) throw thrown;
    return false;
  }
};

const madeIn = ({ root, mark, mirrors }: Readonly<Record<string, unknown>>): MadeRoot | undefined =>
  typeof root === 'string' && typeof mark === 'string' ? { root, mark, mirrors: mirrors === true } : undefined;

const textsIn = (value: unknown): readonly string[] =>
  Array.isArray(value) && value.every((text) => typeof text === 'string') ? value : [];

const namesIn = (dir: string): string[] => {
  try {
    return readdirSync(dir).filter((name) => JOURNAL.test(name) || SPOOL.test(name));
  } catch (thrown) {
    if (errorCode(thrown) === undefined) throw thrown;
    return [];
  }
};

const isOlder = (file: string, now: number): boolean => {
  const stats = lstatSync(file, { throwIfNoEntry: false });
  return stats !== undefined && now - stats.mtimeMs > KEEP_MS;
};

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
