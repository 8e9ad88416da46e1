import type { FileHandle } from 'node:fs/promises';

const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/** The lines of the first `size` bytes of a file, the last one first, read in chunks from its end. */
export async function* readLinesBackward(handle: FileHandle, size: number): AsyncGenerator<string> {
  // The pieces of a line that began before the chunk in hand, in the order of the file.
  let rest: Buffer[] = [];
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - CHUNK_BYTES);
    const chunk = await readFully(handle, start, end - start);
    let to = chunk.length;
    for (let at = chunk.lastIndexOf(NEWLINE); at >= 0; at = at === 0 ? -1 : chunk.lastIndexOf(NEWLINE, at - 1)) {
      const line = Buffer.concat([chunk.subarray(at + 1, to), ...rest]);
      if (line.length > 0) yield line.toString('utf8');
      rest = [];
      to = at;
    }
    rest.unshift(chunk.subarray(0, to));
    end = start;
  }
  const first = Buffer.concat(rest);
  if (first.length > 0) yield first.toString('utf8');
}

const readFully = async (handle: FileHandle, position: number, length: number): Promise<Buffer> => {
  const buffer = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
};
