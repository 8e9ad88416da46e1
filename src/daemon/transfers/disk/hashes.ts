import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';

import { CHUNK_BYTES } from '../format.ts';
import { PIECE_BYTES } from './pieces.ts';

/** The sha256 of each chunk of the first `size` bytes, hex. Gives others a turn between chunks. */
export const hashChunks = async (fd: number, size: number): Promise<string[]> => {
  const piece = new Uint8Array(PIECE_BYTES);
  const hashes: string[] = [];
  for (let from = 0; from < size; from += CHUNK_BYTES) {
    const to = Math.min(size, from + CHUNK_BYTES);
    const hash = createHash('sha256');
    for (let at = from; at < to;) {
      const got = readSync(fd, piece, 0, Math.min(PIECE_BYTES, to - at), at);
      if (got === 0) return hashes;
      hash.update(piece.subarray(0, got));
      at += got;
    }
    hashes.push(hash.digest('hex'));
    await setImmediate();
  }
  return hashes;
};

/** What a file is compared by as a whole, and what is said of it: the sha256 over the sha256 of each chunk, hex. */
export const digestOf = (hashes: readonly (string | undefined)[]): string => {
  const hash = createHash('sha256');
  for (const chunk of hashes) hash.update(Buffer.from(chunk ?? '', 'hex'));
  return hash.digest('hex');
};
