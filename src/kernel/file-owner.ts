import { readFileSync, statSync } from 'node:fs';

/** The name of a user of this machine; `user 501` where the system's list does not have it. */
const userName = (uid: number): string => {
  try {
    const line = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((entry) => entry.split(':')[2] === String(uid));
    return line?.split(':')[0] ?? `user ${uid}`;
  } catch {
    // A system that keeps its users elsewhere.
    return `user ${uid}`;
  }
};

/**
 * Whose a file or folder is, where that is another user than `ownUid`; undefined where it is that user's, can't be seen,
 * or the system has no such ids (Windows).
 */
export const foreignOwner = (path: string, ownUid = process.getuid?.()): string | undefined => {
  if (ownUid === undefined) return undefined;
  try {
    const { uid } = statSync(path);
    return uid === ownUid ? undefined : userName(uid);
  } catch {
    // Not there, or behind a folder that is closed: that one tells more.
    return undefined;
  }
};

/** A folder that can't be made private. */
export class FolderRefused extends Error {
  override readonly name = 'FolderRefused';
  readonly folder: string;
  /** Whose it is, where it is another user's. */
  readonly owner: string | undefined;

  constructor(folder: string, owner?: string) {
    super(
      owner === undefined
        ? `${folder} is shared by all users: name a folder of your own`
        : `${folder} belongs to ${owner}`,
    );
    this.folder = folder;
    this.owner = owner;
  }
}
