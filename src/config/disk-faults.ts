import { statSync } from 'node:fs';
import { dirname } from 'node:path';

import { FolderRefused, foreignOwner } from '../kernel/file-owner.ts';
import { LoopsyError } from '../protocol/errors.ts';

const ELSEWHERE = 'name another folder with --data-dir';
const ROOM = `free some space, or ${ELSEWHERE}`;

const FAULTS: Readonly<Record<string, readonly [why: string, hint: string]>> = {
  ENOSPC: ['the disk is full', ROOM],
  EDQUOT: ['the quota of the disk is used up', ROOM],
  EROFS: ['the disk can only be read', ELSEWHERE],
};
const REFUSALS = new Set(['EACCES', 'EPERM']);

/**
 * What a disk or the rights on it refuse, in words, with what to do next: the same for command and node. `ownUid`
 * defaults to this process's user.
 * @returns undefined for what is nothing of the kind.
 */
export const diskFault = (thrown: unknown, ownUid = process.getuid?.()): LoopsyError | undefined => {
  if (thrown instanceof FolderRefused) return refused(thrown.folder, thrown.message, thrown);
  if (!(thrown instanceof Error) || !('code' in thrown) || thrown instanceof LoopsyError) return undefined;
  const code = String(thrown.code);
  const path = 'path' in thrown && typeof thrown.path === 'string' ? thrown.path : undefined;
  const [why, hint] = FAULTS[code] ?? [];
  if (why !== undefined) {
    return new LoopsyError('data_folder', {
      message: path === undefined ? why : `${path}: ${why}`,
      ...(hint === undefined ? {} : { hint }),
      details: { ...(path === undefined ? {} : { path }), cause: code },
      cause: thrown,
    });
  }
  // A program that may not be started is no matter of folders.
  const isProgram = 'syscall' in thrown && String(thrown.syscall).startsWith('spawn');
  if (!REFUSALS.has(code) || path === undefined || isProgram) return undefined;
  const found = nearest(path);
  const owner = foreignOwner(found, ownUid);
  return owner === undefined ? closed(found, thrown) : foreign(found, owner, thrown);
};

/** One that is this user's, and closed all the same. */
const closed = (path: string, cause: unknown): LoopsyError =>
  new LoopsyError('data_folder', {
    message: `${path} may not be read or written`,
    hint: `look at its rights with \`ls -ld\`, or ${ELSEWHERE}`,
    details: { path },
    cause,
  });

const foreign = (path: string, owner: string, cause: unknown): LoopsyError =>
  new LoopsyError('data_folder', {
    message: `${path} belongs to ${owner}`,
    hint: `run it as ${owner}, or ${ELSEWHERE}`,
    details: { path, owner },
    cause,
  });

const refused = (folder: string, message: string, cause: FolderRefused): LoopsyError =>
  cause.owner === undefined
    ? new LoopsyError('data_folder', { message, hint: ELSEWHERE, details: { path: folder }, cause })
    : foreign(folder, cause.owner, cause);

/** The path, or the first folder above it that can be looked at: what is in the way. */
const nearest = (path: string): string => {
  for (let at = path; at !== dirname(at); at = dirname(at)) if (canSee(at)) return at;
  return path;
};

const canSee = (path: string): boolean => {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    // The folder above it is closed.
    return false;
  }
};
