import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir } from 'node:fs/promises';

const PIECE_BYTES = 1_048_576;

/** Writes a file of this size whose pieces differ from each other, quickly. */
export const writeLarge = async (file: string, bytes: number): Promise<void> => {
  const piece = randomBytes(PIECE_BYTES);
  const handle = await open(file, 'w');
  try {
    for (let at = 0; at < bytes; at += PIECE_BYTES) {
      piece.writeUInt32BE(at / PIECE_BYTES);
      await handle.write(piece, 0, Math.min(PIECE_BYTES, bytes - at));
    }
  } finally {
    await handle.close();
  }
};

/** sha256 of a file, hex. */
export const hashOf = async (file: string): Promise<string> => {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: PIECE_BYTES })) hash.update(chunk as Buffer);
  return hash.digest('hex');
};

/** Names of files that a transfer has left unfinished in a folder and below. */
export const draftsIn = async (folder: string): Promise<string[]> =>
  (await readdir(folder, { recursive: true })).filter((name) => /\.loopsy-[0-9a-f]+\.part$/.test(name));
