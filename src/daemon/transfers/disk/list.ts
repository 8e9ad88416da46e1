import { lstatSync, readlinkSync, type Stats } from 'node:fs';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { Page } from '../../../kernel/page.ts';
import type { FileList } from '../../../protocol/transfers.ts';
import { fileError, fileFault } from './faults.ts';
import { OpenFolder } from './folders.ts';
import { isPattern } from './glob.ts';
import type { KeptNames } from './kept-names.ts';
import type { ListFolder } from './messages.ts';
import type { Surroundings } from './surroundings.ts';
import { modeOf } from './walk.ts';

type Row = FileList['files'][number];

/** A page of what is in a folder, by name; for a file its own row. What may not be read is left out. */
export const listFolder = async (
  { guard, platform, basename }: Surroundings,
  { path, limits, cursor, limit }: ListFolder,
  kept: KeptNames,
): Promise<FileList> => {
  const real = await guard.check(path, limits);
  try {
    const stats = lstatSync(real);
    if (!stats.isDirectory())
      return { path: real, files: [rowOf({ name: basename(real), real, file: real, stats, platform })] };
    const refuse = await guard.closedBelow(real);
    const folder = OpenFolder.open(real, path).hold();
    folder.drop();
    try {
      const { names, hasMore, unreadableCount } = await kept.list(folder, platform, { after: cursor, most: limit });
      const page = new Page<Row>({ limit });
      const said = { path: real, files: page.items, ...(unreadableCount > 0 ? { unreadable: unreadableCount } : {}) };
      let last: string | undefined;
      for (const name of names) {
        const row = refuse?.(folder.realOf(name)) === undefined ? rowIn(folder, name, platform) : undefined;
        if (row !== undefined && !page.add(row)) return { ...said, ...cursorAt(last) };
        last = name;
      }
      return { ...said, ...(hasMore ? cursorAt(last) : {}) };
    } finally {
      folder.release();
    }
  } catch (thrown) {
    if (errorCode(thrown) === 'ENOENT' && isPattern(platform === 'win32' ? path.replaceAll('\\', '/') : path))
      throw fileError(
        'file_not_found',
        path,
        'is not there: a list takes no patterns, but the folder that they would look in',
      );
    throw fileFault(thrown, path);
  }
};

const cursorAt = (last: string | undefined): { nextCursor?: string } =>
  last === undefined ? {} : { nextCursor: last };

const rowIn = (folder: OpenFolder, name: string, platform: NodeJS.Platform): Row | undefined => {
  const file = folder.path(name);
  const stats = lstatSync(file, { throwIfNoEntry: false });
  // Gone meanwhile.
  return stats === undefined ? undefined : rowOf({ name, real: folder.realOf(name), file, stats, platform });
};

interface Shown {
  readonly name: string;
  readonly real: string;
  /** What a system call is given for it. */
  readonly file: string;
  readonly stats: Stats;
  readonly platform: NodeJS.Platform;
}

const rowOf = ({ name, real, file, stats, platform }: Shown): Row => {
  const mode = modeOf(stats, platform);
  return {
    name,
    path: real,
    type: typeOf(stats),
    size: stats.size,
    modified: Math.round(stats.mtimeMs),
    ...(mode < 0 ? {} : { mode }),
    ...(stats.isSymbolicLink() ? { target: readlinkSync(file) } : {}),
  };
};

const typeOf = (stats: Stats): Row['type'] => {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  return stats.isSymbolicLink() ? 'symlink' : 'other';
};
