import { lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs';

import type { FileList } from '../../../protocol/transfers.ts';
import type { PathLimits } from '../../../trust/path-guard.ts';
import { fileFault } from './faults.ts';
import type { Surroundings } from './surroundings.ts';
import { modeOf } from './walk.ts';

type Row = FileList['files'][number];

/** What is in a folder, all of it, by name; for a file its own row. What may not be read is left out. */
export const listFolder = async (
  { guard, platform, join }: Surroundings,
  path: string,
  limits: PathLimits,
): Promise<{ readonly path: string; readonly files: Row[] }> => {
  const real = await guard.check(path, limits);
  const rowOf = (name: string, file: string): Row[] => {
    const stats = lstatSync(file, { throwIfNoEntry: false });
    // Gone meanwhile.
    if (stats === undefined) return [];
    const mode = modeOf(stats, platform);
    const target = stats.isSymbolicLink() ? { target: readlinkSync(file) } : {};
    return [
      {
        name,
        path: file,
        type: typeOf(stats),
        size: stats.size,
        modified: Math.round(stats.mtimeMs),
        ...(mode < 0 ? {} : { mode }),
        ...target,
      },
    ];
  };
  try {
    const stats = lstatSync(real);
    if (!stats.isDirectory()) return { path: real, files: rowOf(real.split(/[\\/]/).at(-1) ?? real, real) };
    const refuse = await guard.closedBelow(real);
    const names = readdirSync(real).toSorted();
    const files = names.flatMap((name) => {
      const file = join(real, name);
      return refuse?.(file) === undefined ? rowOf(name, file) : [];
    });
    return { path: real, files };
  } catch (thrown) {
    throw fileFault(thrown, path);
  }
};

const typeOf = (stats: Stats): Row['type'] => {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  return stats.isSymbolicLink() ? 'symlink' : 'other';
};
