import { createHash, type Hash } from 'node:crypto';
import { writevSync } from 'node:fs';

import { fileError } from './faults.ts';

/** What a chunk's writer is given. */
interface ChunkPlace {
  readonly from: number;
  readonly to: number;
  readonly digests: boolean;
  /** What errors call its file. */
  readonly shown: string;
  readonly fd: () => number;
  /** False where somebody else has begun the same chunk since. */
  readonly isCurrent: () => boolean;
}

/** Writes one chunk of a file, from its begin to its end. */
export class ChunkWriter {
  readonly #place: ChunkPlace;
  readonly #hash: Hash | undefined;
  #at: number;

  constructor(place: ChunkPlace) {
    this.#place = place;
    this.#at = place.from;
    this.#hash = place.digests ? createHash('sha256') : undefined;
  }

  /** Bytes that it still takes. */
  get room(): number {
    return this.#place.to - this.#at;
  }

  get isEmpty(): boolean {
    return this.#at === this.#place.from;
  }

  get isWhole(): boolean {
    return this.room === 0;
  }

  /** Its sha256, hex, once it is whole; undefined where nobody asked for it. */
  digest(): string | undefined {
    return this.#hash?.digest('hex');
  }

  /** @throws {LoopsyError} where there are more bytes than it takes, or another writes it now; the system's error. */
  write(chunks: readonly Uint8Array[]): void {
    let left = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    const { shown, fd: open, isCurrent } = this.#place;
    if (left > this.room) throw fileError('invalid_request', shown, 'has a chunk with too many bytes');
    const fd = open();
    if (!isCurrent()) throw fileError('invalid_request', shown, 'has a chunk that was begun anew');
    for (let rest = chunks; left > 0;) {
      // A disk that is nearly full takes a part, without an error.
      const taken = writevSync(fd, rest, this.#at);
      if (taken === 0) throw Object.assign(new Error('the disk takes no more'), { code: 'ENOSPC' });
      this.#at += taken;
      left -= taken;
      if (left > 0) rest = behind(rest, taken);
    }
    for (const chunk of chunks) this.#hash?.update(chunk);
  }
}

const behind = (chunks: readonly Uint8Array[], bytes: number): readonly Uint8Array[] => {
  let left = bytes;
  return chunks.flatMap((chunk) => {
    const cut = Math.min(left, chunk.length);
    left -= cut;
    return cut === chunk.length ? [] : [chunk.subarray(cut)];
  });
};
