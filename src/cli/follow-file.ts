import { open, stat } from 'node:fs/promises';
import { StringDecoder } from 'node:string_decoder';

import type { Clock } from '../kernel/clock.ts';
import { sleep } from '../kernel/sleep.ts';

const TAIL_BYTES = 65_536;
const TAIL_LINES = 100;
const CHUNK_BYTES = 65_536;
const LOOK_AGAIN_MS = 300;

/** How a file is followed. */
export interface FollowOptions {
  /** False: only what is there. */
  readonly follow: boolean;
  readonly clock: Clock;
}

/** The last lines of a file that grows, then each new one. A file that is replaced (rotated) is read from its start. */
export async function* followFile(file: string, { follow, clock }: FollowOptions): AsyncGenerator<string> {
  const facts = await statOf(file);
  let inode = facts?.ino;
  let offset = Math.max(0, (facts?.size ?? 0) - TAIL_BYTES);
  const lines = new LineBuffer(offset > 0);
  if (facts !== undefined) {
    const tail: string[] = [];
    offset = await readFrom(file, offset, (chunk) => tail.push(...lines.take(chunk)));
    yield* tail.slice(-TAIL_LINES);
  }
  if (!follow) return;
  for (;;) {
    await sleep(LOOK_AGAIN_MS, clock);
    const now = await statOf(file);
    if (now === undefined) continue;
    if (now.ino !== inode || now.size < offset) offset = 0;
    inode = now.ino;
    const fresh: string[] = [];
    offset = await readFrom(file, offset, (chunk) => fresh.push(...lines.take(chunk)));
    yield* fresh;
  }
}

const statOf = async (file: string): Promise<{ ino: number; size: number } | undefined> => {
  try {
    return await stat(file);
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return undefined;
    throw thrown;
  }
};

/** Reads to the end. @returns the offset behind it. */
const readFrom = async (file: string, from: number, take: (chunk: Buffer) => void): Promise<number> => {
  const handle = await open(file, 'r');
  try {
    for (let offset = from; ;) {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, offset);
      if (bytesRead === 0) return offset;
      take(buffer.subarray(0, bytesRead));
      offset += bytesRead;
    }
  } finally {
    await handle.close();
  }
};

/** Whole lines from chunks that are cut anywhere. */
class LineBuffer {
  #rest = '';
  #skip: boolean;
  readonly #decoder = new StringDecoder('utf8');

  /** `skip`: the first line began before, and is dropped. */
  constructor(skip: boolean) {
    this.#skip = skip;
  }

  take(chunk: Buffer): string[] {
    const lines = (this.#rest + this.#decoder.write(chunk)).split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#skip && lines.length > 0) {
      lines.shift();
      this.#skip = false;
    }
    return lines.filter((line) => line !== '');
  }
}
