import { lstatSync, opendirSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';

import { isDraftName } from './draft-names.ts';
import type { OpenFolder } from './folders.ts';

/** After so many names others get a turn. */
const TURN_NAMES = 4096;
const READ_AHEAD = 512;

/** Which of a folder's names are wanted, in their order. */
export interface NamesWanted {
  /** Only those behind this one. */
  readonly after?: string | undefined;
  readonly most: number;
}

/** Names of a folder. */
export interface NamesFound {
  readonly names: readonly string[];
  /** True where more follow. */
  readonly hasMore: boolean;
  /** Names that are no UTF-8, as far as they can be shown: nobody can ask for them. */
  readonly unreadable: readonly string[];
  /** How many there are. Both only where the first names are wanted. */
  readonly unreadableCount: number;
}

const byCode = (a: string, b: string): number => (a < b ? -1 : 1);

/** The names of a directory's entries, each with the truth about its bytes. */
export const readName = (name: unknown): { readonly name: string; readonly isText: boolean } => {
  if (!Buffer.isBuffer(name)) return { name: String(name), isText: true };
  const text = name.toString();
  return { name: text, isText: !text.includes('\uFFFD') || Buffer.from(text).equals(name) };
};

/** Reads names as bytes where the system has bytes: what is no UTF-8 would become another name. */
export const openNames = (folder: OpenFolder, platform: NodeJS.Platform): ReturnType<typeof opendirSync> => {
  // The types know no `buffer`; Node does.
  const encoding = 'buffer' as BufferEncoding;
  return opendirSync(folder.path('.'), { bufferSize: READ_AHEAD, ...(platform === 'win32' ? {} : { encoding }) });
};

/** The first names behind one of a folder; holds no more of them than twice as many as are wanted. */
export const listNames = async (
  folder: OpenFolder,
  platform: NodeJS.Platform,
  { after, most }: NamesWanted,
): Promise<NamesFound> => {
  const unreadable: string[] = [];
  let unreadableCount = 0;
  let names: string[] = [];
  let isCut = false;
  const cut = (): void => {
    names.sort(byCode);
    isCut ||= names.length > most;
    names = names.slice(0, most);
  };
  folder.hold();
  const dir = openNames(folder, platform);
  try {
    let seen = 0;
    for (let entry = dir.readSync(); entry !== null; entry = dir.readSync()) {
      const { name, isText } = readName(entry.name);
      if (!isText) {
        unreadableCount += 1;
        if (unreadable.length < most) unreadable.push(name);
      } else if (!isDraftName(name) && (after === undefined || name > after)) names.push(name);
      if (names.length >= 2 * most) cut();
      seen += 1;
      if (seen % TURN_NAMES === 0) await setImmediate();
    }
  } finally {
    dir.closeSync();
    folder.release();
  }
  cut();
  const isFirst = after === undefined;
  return {
    names,
    hasMore: isCut,
    unreadable: isFirst ? unreadable : [],
    unreadableCount: isFirst ? unreadableCount : 0,
  };
};

/** True where a name in a folder is a folder itself, and no link to one. */
export const isFolderIn = (folder: OpenFolder, name: string): boolean =>
  lstatSync(folder.path(name), { throwIfNoEntry: false })?.isDirectory() === true;

/** The drafts of a folder in which nothing else is; none where something is. */
export const draftsAlone = (folder: OpenFolder, platform: NodeJS.Platform): readonly string[] => {
  const drafts: string[] = [];
  const dir = openNames(folder, platform);
  try {
    for (let entry = dir.readSync(); entry !== null; entry = dir.readSync()) {
      const { name } = readName(entry.name);
      if (!isDraftName(name) || isFolderIn(folder, name)) return [];
      drafts.push(name);
    }
  } finally {
    dir.closeSync();
  }
  return drafts;
};
