import { closeSync, fchmodSync, fstatSync, futimesSync } from 'node:fs';

import { errorCode } from '../../../kernel/atomic-file.ts';
import { LoopsyError } from '../../../protocol/errors.ts';
import { needsMode, timeText } from './attributes.ts';
import { digestOf, hashChunks } from './hashes.ts';
import { O_RDONLY } from './open-flags.ts';
import { openIn } from './opened.ts';
import { folderOf, type Places } from './places.ts';
import type { WantedFile } from './wanted.ts';

/** What files are compared with. */
export interface Comparing {
  readonly files: readonly WantedFile[];
  /** Of each at the source; null where that could not be read. */
  readonly digests: readonly (string | null)[];
  readonly platform: NodeJS.Platform;
  readonly dryRun: boolean;
}

/**
 * Which files have the contents that the source has, whatever their times: they get its times and modes, and need not
 * be sent. The places have been judged.
 */
export const findSame = async (places: Places, comparing: Comparing): Promise<number[]> => {
  const same: number[] = [];
  for (const [index, file] of comparing.files.entries()) {
    const digest = comparing.digests[index];
    if (typeof digest === 'string' && (await isSame(places, file, { ...comparing, digest }))) same.push(index);
  }
  return same;
};

const isSame = async (
  places: Places,
  [root, path, size, mtimeMs, mode]: WantedFile,
  { digest, platform, dryRun }: Pick<Comparing, 'platform' | 'dryRun'> & { readonly digest: string },
): Promise<boolean> => {
  let fd: number | undefined;
  try {
    const { name, shown, ...place } = places.at(root, path);
    const opened = openIn(folderOf({ name, shown, ...place }), { name, shown, flags: O_RDONLY });
    fd = opened.fd;
    if (opened.stats.size !== size || digestOf(await hashChunks(fd, size)) !== digest) return false;
    const now = fstatSync(fd);
    if (now.size !== size || now.ctimeMs !== opened.stats.ctimeMs) return false;
    if (dryRun) return true;
    if (needsMode(now, mode, platform)) fchmodSync(fd, mode);
    futimesSync(fd, timeText(mtimeMs), timeText(mtimeMs));
    return true;
  } catch (thrown) {
    // What can't be compared is sent: whoever writes it says what is wrong with it.
    if (thrown instanceof LoopsyError || errorCode(thrown) !== undefined) return false;
    throw thrown;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
};
