import { posix, win32 } from 'node:path';

import { nameFault } from '../../../trust/native-path.ts';
import type { PathGuard } from '../../../trust/path-guard.ts';
import { fileError, quoted } from './faults.ts';
import type { PiecePool } from './pieces.ts';
import { systemSpelling, type Spelling } from './spelling.ts';

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
  readonly spelling: Spelling;
  /**
   * The path of an entry below a real folder.
   * @throws {LoopsyError} `path_denied` for what climbs, `name_unusable` for a name that this system can't hold.
   */
  readonly join: (folder: string, path: string) => string;
  readonly dirname: (path: string) => string;
  readonly basename: (path: string) => string;
}

/** What a system's paths are made of. */
export const pathsOf = (
  platform: NodeJS.Platform,
): Pick<Surroundings, 'join' | 'dirname' | 'basename' | 'spelling'> => {
  const native = platform === 'win32' ? win32 : posix;
  const { sep } = native;
  const unusual =
    platform === 'win32'
      ? /(?:^|\/)(?:\.{0,2}|(?:con|prn|aux|nul|clock|com|lpt)[^/]*)(?:\/|$)|[^ -~]|[<>:"|?*\\]|[. ](?:\/|$)/i
      : /(?:^|\/)\.{0,2}(?:\/|$)|[\0\ud800-\udfff]/;
  return {
    dirname: (path) => native.dirname(path),
    basename: (path) => native.basename(path),
    spelling: systemSpelling(platform),
    join: (folder, path) => {
      if (path === '') return folder;
      if (unusual.test(path)) checkNames(path, platform);
      const start = folder.endsWith(sep) ? folder : folder + sep;
      return start + (platform === 'win32' ? path.replaceAll('/', sep) : path);
    },
  };
};

const checkNames = (path: string, platform: NodeJS.Platform): void => {
  for (const name of path.split('/')) {
    const fault = nameFault(name, platform);
    if (fault === undefined) continue;
    const climbs = name === '' || name === '.' || name === '..';
    throw fileError(climbs ? 'path_denied' : 'name_unusable', path, `has a name that ${fault} (${quoted(name)})`);
  }
};
