import { errorCode } from '../../../kernel/atomic-file.ts';
import { type ErrorName, LoopsyError } from '../../../protocol/errors.ts';

/** What a system's error means for a file, and in which words. */
const MEANINGS: Readonly<Record<string, readonly [ErrorName, string]>> = {
  ENOENT: ['file_not_found', 'is not there'],
  ENOTDIR: ['wrong_type', 'lies below something that is no folder'],
  EISDIR: ['wrong_type', 'is a folder'],
  ENOTEMPTY: ['wrong_type', 'is a folder with something in it'],
  EEXIST: ['wrong_type', 'is there already, and is of another kind'],
  ELOOP: ['path_denied', 'is a link where none is followed'],
  EACCES: ['path_denied', 'may not be read or written by the user of this node'],
  EPERM: ['path_denied', 'may not be changed by the user of this node'],
  ENOSPC: ['disk_full', 'does not fit: the disk is full'],
  EDQUOT: ['disk_full', "does not fit: the user's quota is used up"],
  EFBIG: ['disk_full', 'is larger than a file may be on that disk'],
  EROFS: ['disk_read_only', 'is on a disk that is read-only'],
  ENAMETOOLONG: ['name_unusable', 'has a name that is too long there'],
  EILSEQ: ['name_unusable', 'has a name that this file system can not hold'],
  EINVAL: ['name_unusable', 'has a name that this file system can not hold'],
  EBUSY: ['target_busy', 'is in use by another program'],
  ETXTBSY: ['target_busy', 'is a program that runs'],
};

/** Any thrown value as the error of one file: `path` is the name that people know it by. */
export const fileFault = (thrown: unknown, path: string): LoopsyError => {
  if (thrown instanceof LoopsyError) return thrown;
  const code = errorCode(thrown) ?? '';
  const [name, words] = MEANINGS[code] ?? (['transfer_failed', 'could not be read or written'] as const);
  const why = MEANINGS[code] === undefined ? ` (${code === '' ? String(thrown) : code})` : '';
  return new LoopsyError(name, {
    message: `${JSON.stringify(path.slice(0, 300))} ${words}${why}`,
    details: { path: path.slice(0, 300), ...(code === '' ? {} : { cause: code }) },
    cause: thrown,
  });
};

/** An error about one file, in our own words. */
export const fileError = (
  name: ErrorName,
  path: string,
  why: string,
  details: Readonly<Record<string, unknown>> = {},
): LoopsyError =>
  new LoopsyError(name, {
    message: `${JSON.stringify(path.slice(0, 300))} ${why}`,
    details: { path: path.slice(0, 300), ...details },
  });
