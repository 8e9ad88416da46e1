import { lstatSync, opendirSync, realpathSync } from 'node:fs';
import { basename } from 'node:path';

import { errorCode } from '../../../kernel/atomic-file.ts';
import type { OpenFolder } from './folders.ts';

/** What a file system makes of the case, and the form, of names. */
export interface Spelling {
  /** True where a folder takes another spelling of a name for the same one. */
  folds(folder: OpenFolder): boolean;
  /** How a name that is there is spelled there. */
  spelled(folder: OpenFolder, name: string): string;
  /** A file of this name was just made. */
  learn(folder: OpenFolder, name: string): void;
}

/** So many names are tried to find out. */
const TRIED_NAMES = 64;
/** What is known of so many folders is kept. */
const MAX_KNOWN = 10_000;

/** Every folder folds on macOS and Windows; each says how a name is spelled. */
const FOLDING: Spelling = {
  folds: () => true,
  spelled: (folder, name) => basename(realpathSync.native(folder.path(name))),
  learn: () => undefined,
};

const otherCase = (name: string): string => (name === name.toUpperCase() ? name.toLowerCase() : name.toUpperCase());

const isSame = (folder: OpenFolder, one: string, two: string): boolean => {
  const first = lstatSync(folder.path(one), { throwIfNoEntry: false });
  const second = lstatSync(folder.path(two), { throwIfNoEntry: false });
  return first !== undefined && second !== undefined && first.ino === second.ino && first.dev === second.dev;
};

function* namesOf(folder: OpenFolder): Generator<string> {
  const dir = opendirSync(folder.path('.'), { bufferSize: TRIED_NAMES });
  try {
    for (let entry = dir.readSync(); entry !== null; entry = dir.readSync()) yield entry.name;
  } finally {
    dir.closeSync();
  }
}

/** On Linux it is a matter of the folder: one of them can lie on a stick, or be made so. */
class LinuxSpelling implements Spelling {
  readonly #known = new Map<string, boolean>();

  folds(folder: OpenFolder): boolean {
    const known = this.#known.get(folder.real);
    if (known !== undefined) return known;
    const found = this.#look(folder);
    if (found !== undefined) this.#keep(folder, found);
    return found ?? false;
  }

  spelled(folder: OpenFolder, name: string): string {
    let other: string | undefined;
    for (const found of namesOf(folder)) {
      if (found === name) return name;
      if (found.length === name.length && isSame(folder, found, name)) other = found;
    }
    return other ?? name;
  }

  learn(folder: OpenFolder, name: string): void {
    if (!this.#known.has(folder.real)) this.#keep(folder, isSame(folder, name, otherCase(name)));
  }

  /** Undefined while nothing is in it that shows it. */
  #look(folder: OpenFolder): boolean | undefined {
    let tried = 0;
    try {
      for (const name of namesOf(folder)) {
        tried += 1;
        if (/[a-z]/i.test(name)) return isSame(folder, name, otherCase(name));
        if (tried >= TRIED_NAMES) return false;
      }
    } catch (thrown) {
      if (errorCode(thrown) === undefined) throw thrown;
    }
    return undefined;
  }

  #keep(folder: OpenFolder, folds: boolean): void {
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(folder.real, folds);
  }
}

/** What is so on this system. */
export const systemSpelling = (platform: NodeJS.Platform): Spelling =>
  platform === 'darwin' || platform === 'win32' ? FOLDING : new LinuxSpelling();

/** One key for all spellings of a path that a system could take for the same one. */
export const foldedPath = (path: string): string => path.normalize('NFC').toUpperCase().toLowerCase();
