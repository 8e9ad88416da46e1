import type { FileHandle } from 'node:fs/promises';

const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/** A line without its end, and the byte of the file at which it begins. */
export interface PlacedLine {
  readonly line: string;
  readonly start: number;
}

/** The lines of the first `size` bytes of a file, the last one first, read in chunks from its end. */
export async function* readLinesBackward(handle: FileHandle, size: number): AsyncGenerator<PlacedLine> {
  // The pieces of a line that began before the chunk in hand, in the order of the file.
  let rest: Buffer[] = [];
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - CHUNK_BYTES);
    const chunk = await readFully(handle, start, end - start);
    let to = chunk.length;
    for (let at = chunk.lastIndexOf(NEWLINE); at >= 0; at = at === 0 ? -1 : chunk.lastIndexOf(NEWLINE, at - 1)) {
      const line = Buffer.concat([chunk.subarray(at + 1, to), ...rest]);
      if (line.length > 0) yield { line: line.toString('utf8'), start: start + at + 1 };
      rest = [];
      to = at;
    }
    rest.unshift(chunk.subarray(0, to));
    end = start;
  }
  const first = Buffer.concat(rest);
  if (first.length > 0) yield { line: first.toString('utf8'), start: 0 };
}

/** Reads `length` bytes, fewer where the file ends before. */
export const readFully = async (handle: FileHandle, position: number, length: number): Promise<Buffer> => {
  const buffer = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
};
