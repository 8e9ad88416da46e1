import { fstatSync, type Stats } from 'node:fs';

import { nameFault } from '../../../trust/native-path.ts';
import type { PathGuard } from '../../../trust/path-guard.ts';
import { fileError } from './faults.ts';
import type { PiecePool } from './pieces.ts';

/** Where files are read and written, and by which rules. */
export interface Surroundings {
  readonly guard: PathGuard;
  readonly platform: NodeJS.Platform;
  readonly home: string;
  readonly nodeId: string;
  /** Config `transfer.maxFileSize`, bytes. */
  readonly maxFileSize: number;
  /** Where the drafts are written down that a sudden end would leave. */
  readonly journalDir: string;
  readonly pool: PiecePool;
  fstat(fd: number): Stats;
  /**
   * The path of an entry below a real folder.
   * @throws {LoopsyError} `path_denied` for what climbs, `name_unusable` for a name that this system can't hold.
   */
  join(folder: string, path: string): string;
}

/** What a system's paths are made of. */
export const pathsOf = (platform: NodeJS.Platform): Pick<Surroundings, 'fstat' | 'join'> => {
  const separator = platform === 'win32' ? '\\' : '/';
  const unusable =
    platform === 'win32'
      ? /(?:^|\/)(?:\.{0,2}|(?:con|prn|aux|nul|clock|com|lpt)[^/]*)(?:\/|$)|[^ -~]|[<>:"|?*\\]|[. ](?:\/|$)/i
      : /(?:^|\/)\.{0,2}(?:\/|$)|\0/;
  return {
    fstat: (fd) => fstatSync(fd),
    join: (folder, path) => {
      if (path === '') return folder;
      if (unusable.test(path)) checkNames(path, platform);
      const start = folder.endsWith(separator) ? folder : folder + separator;
      return start + (platform === 'win32' ? path.replaceAll('/', separator) : path);
    },
  };
};

const checkNames = (path: string, platform: NodeJS.Platform): void => {
  for (const name of path.split('/')) {
    const fault = nameFault(name, platform);
    if (fault === undefined) continue;
    const climbs = name === '' || name === '.' || name === '..';
    throw fileError(
      climbs ? 'path_denied' : 'name_unusable',
      path,
      `has a name that ${fault} (${JSON.stringify(name)})`,
    );
  }
};
