import { createHash, type Hash } from 'node:crypto';
import { writeSync } from 'node:fs';

/** Which bytes of a file a chunk has. */
interface ChunkPlace {
  readonly from: number;
  readonly to: number;
  /** True where its sha256 is wanted. */
  readonly digests: boolean;
}

/** Writes one chunk of a file, from its begin to its end. */
export class ChunkWriter {
  readonly #to: number;
  readonly #hash: Hash | undefined;
  #at: number;

  constructor({ from, to, digests }: ChunkPlace) {
    this.#at = from;
    this.#to = to;
    this.#hash = digests ? createHash('sha256') : undefined;
  }

  /** Bytes that it still takes. */
  get room(): number {
    return this.#to - this.#at;
  }

  get isWhole(): boolean {
    return this.room === 0;
  }

  /** Its sha256, hex, once it is whole; undefined where nobody asked for it. */
  digest(): string | undefined {
    return this.#hash?.digest('hex');
  }

  /** Writes no more than there is room for. @throws the system's error; where it stopped is not known then. */
  write(fd: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      // A disk that is nearly full takes a part, without an error.
      const taken = writeSync(fd, bytes, done, bytes.length - done, this.#at);
      if (taken === 0) throw Object.assign(new Error('the disk takes no more'), { code: 'ENOSPC' });
      this.#at += taken;
      done += taken;
    }
    this.#hash?.update(bytes);
  }
}
