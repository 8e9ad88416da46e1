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
  EINVAL: ['name_unusable', 'has a name or a time that this file system can not hold'],
  EBUSY: ['target_busy', 'is in use by another program'],
  ETXTBSY: ['target_busy', 'is a program that runs'],
  EMFILE: ['transfer_failed', 'could not be opened: this node has too many files open'],
  EIO: ['transfer_failed', 'could not be read or written: the disk reports a fault'],
};

const SHOWN_CHARACTERS = 300;
/** What could hide in a line, or turn it around; JSON writes out the control characters itself. */
const INVISIBLE = /[\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** A path in a message: in quotes, with nothing in it that can't be seen. */
export const quoted = (path: string): string =>
  JSON.stringify(path.slice(0, SHOWN_CHARACTERS)).replaceAll(
    INVISIBLE,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );

/** What a system takes as a whole path, its end included; Windows says so of names alone. */
const MOST_PATH_BYTES: Partial<Record<NodeJS.Platform, number>> = { linux: 4096, darwin: 1024 };

/** True where not a name in it is too long, but all of it. */
const isLongPath = (thrown: unknown): boolean => {
  if (errorCode(thrown) !== 'ENAMETOOLONG' || !(thrown instanceof Error) || !('path' in thrown)) return false;
  return Buffer.byteLength(String(thrown.path)) >= (MOST_PATH_BYTES[process.platform] ?? Number.POSITIVE_INFINITY);
};

/** Any thrown value as the error of one file: `path` is the name that people know it by. */
export const fileFault = (thrown: unknown, path: string): LoopsyError => {
  if (thrown instanceof LoopsyError) return thrown;
  if (isLongPath(thrown))
    return fileError('name_unusable', path, [
      'has a path that is too long there',
      { hint: 'give it, or its folders, shorter names, or send it to a folder further up', cause: 'ENAMETOOLONG' },
    ]);
  const code = errorCode(thrown) ?? '';
  const [name, words] = MEANINGS[code] ?? (['transfer_failed', 'could not be read or written'] as const);
  const why = MEANINGS[code] === undefined ? ` (${code === '' ? String(thrown) : code})` : '';
  return new LoopsyError(name, {
    message: `${quoted(path)} ${words}${why}`,
    details: { path: path.slice(0, SHOWN_CHARACTERS), ...(code === '' ? {} : { cause: code }) },
    cause: thrown,
  });
};

/** What to do next, where the catalogue does not say it, and facts for programs. */
type FaultFacts = Readonly<Record<string, unknown>> & { readonly hint?: string };

/** An error about one file, in our own words. */
export const fileError = (
  name: ErrorName,
  path: string,
  why: string | readonly [why: string, facts: FaultFacts],
): LoopsyError => {
  const [words, { hint, ...details }] = typeof why === 'string' ? [why, {} as FaultFacts] : why;
  return new LoopsyError(name, {
    message: `${quoted(path)} ${words}`,
    details: { path: path.slice(0, SHOWN_CHARACTERS), ...details },
    ...(hint === undefined ? {} : { hint }),
  });
};

/** The same of a file whose size nobody knows until its end. */
export const endless = (path: string, most: number): LoopsyError =>
  fileError('file_too_large', path, [
    `has more than ${most} bytes, which is the most that is allowed (transfer.maxFileSize)`,
    { key: 'transfer.maxFileSize', most },
  ]);

/** What `transfer.maxFileSize` says. */
export const tooLarge = (path: string, size: number, most: number): LoopsyError =>
  fileError('file_too_large', path, [
    `has ${size} bytes; at most ${most} are allowed (transfer.maxFileSize)`,
    { key: 'transfer.maxFileSize', size, most },
  ]);
