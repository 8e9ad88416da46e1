import { createHash } from 'node:crypto';
import { closeSync, fstatSync, lstatSync, readSync } from 'node:fs';

import type { LoopsyError } from '../../../protocol/errors.ts';
import { fileError, fileFault, tooLarge } from './faults.ts';
import type { ReadFile, WholeFile } from './messages.ts';
import { openReal, type Opened } from './opened.ts';
import { PIECE_BYTES } from './pieces.ts';
import { saysFolder } from './sources.ts';
import type { Surroundings } from './surroundings.ts';

/** Reads one file, or a part of it. First what it is, as JSON; then its bytes; at last the sha256 of those that were given. */
export async function* readFile(
  around: Surroundings,
  { path, limits, range }: ReadFile,
): AsyncGenerator<Uint8Array<ArrayBuffer>, string> {
  const { maxFileSize, pool } = around;
  let { guard } = around;
  const real = await guard.check(path, limits);
  let fd: number | undefined;
  try {
    if (lstatSync(real).isDirectory())
      throw fileError('wrong_type', path, [
        'is a folder',
        { hint: '`loopsy pull` fetches folders; name a file for this' },
      ]);
    if (saysFolder(path, around.platform)) throw fileError('wrong_type', path, 'is no folder');
    const opened = openReal(real, path);
    fd = opened.fd;
    const { size, mtimeMs } = opened.stats;
    if (size > maxFileSize) throw tooLarge(path, size, maxFileSize);
    const { from, to } = boundsOf(path, size, range);
    const whole: WholeFile = { size, mtimeMs, from, to };
    yield new TextEncoder().encode(JSON.stringify(whole));
    const hash = createHash('sha256');
    for (let at = from; at < to;) {
      // What is refused, or of no use any more, is not read to its end.
      if (guard !== around.guard) {
        ({ guard } = around);
        await guard.recheck(real, limits);
      }
      checkSame(path, opened);
      const piece = pool.take(Math.min(PIECE_BYTES, to - at));
      const got = readSync(fd, piece, 0, piece.length, at);
      if (got === 0) throw changed(path);
      at += got;
      const bytes = piece.subarray(0, got);
      hash.update(bytes);
      yield bytes;
    }
    checkSame(path, opened);
    return hash.digest('hex');
  } catch (thrown) {
    throw fileFault(thrown, path);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

const changed = (path: string): LoopsyError => fileError('source_changed', path, 'changed while it was read');

const checkSame = (path: string, { fd, stats }: Opened): void => {
  const now = fstatSync(fd);
  if (now.size !== stats.size || now.ctimeMs !== stats.ctimeMs) throw changed(path);
};

const boundsOf = (path: string, size: number, range: ReadFile['range']): { from: number; to: number } => {
  if (range === undefined) return { from: 0, to: size };
  const from = 'last' in range ? Math.max(0, size - range.last) : range.from;
  if (from >= size) throw fileError('range_unsatisfiable', path, [`has ${size} bytes, and none of those`, { size }]);
  if ('last' in range) return { from, to: size };
  return { from, to: Math.min(size, (range.to ?? size) + 1) };
};
