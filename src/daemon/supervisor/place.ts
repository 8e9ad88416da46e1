import { createHash } from 'node:crypto';
import { lstat, mkdir } from 'node:fs/promises';
import { posix } from 'node:path';

import { ensurePrivateDir } from '../../kernel/atomic-file.ts';

/** The shortest limit of the systems for a socket's path is 103 bytes. */
const MAX_PATH_BYTES = 100;

/** What decides where a socket lies. */
export interface SocketPlace {
  /** The supervisors' folder, private. */
  readonly dir: string;
  readonly id: string;
  readonly platform: NodeJS.Platform;
  /** The system's folder for temporary files. */
  readonly tmp: string;
}

/** Where a supervisor listens: in its folder, or, where that path is too long, in a private one with a short name. */
export const socketPath = ({ dir, id, platform, tmp }: SocketPlace): string => {
  const hash = createHash('sha256').update(dir).digest('hex').slice(0, 16);
  if (platform === 'win32') return `\\\\.\\pipe\\loopsy-${hash}-${id}`;
  const inside = posix.join(dir, `${id}.sock`);
  return Buffer.byteLength(inside) <= MAX_PATH_BYTES ? inside : posix.join(tmp, `loopsy-${hash}`, `${id}.sock`);
};

/**
 * Makes sure that the folder of a socket is this user's alone.
 * @throws where it is another's, or a link: in a shared folder anyone can make one of that name.
 */
export const secureSocketFolder = async (socket: string, uid: number | undefined): Promise<void> => {
  if (uid === undefined) return;
  const folder = posix.dirname(socket);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const found = await lstat(folder);
  if (!found.isDirectory() || found.uid !== uid) throw new Error(`${folder} belongs to somebody else`);
  await ensurePrivateDir(folder);
};
