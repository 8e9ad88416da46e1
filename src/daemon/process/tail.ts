import type { OutputPiece } from './segment.ts';

const KiB = 1_024;
/** A chunk is never longer. */
const MAX_CHUNK_BYTES = 64 * KiB;
/** What stays of the output that is on disk: more than a paced reader is ever behind. */
const KEPT_BYTES = KiB * KiB;
const KEPT_CHUNKS = 4_096;

interface Chunk {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly start: number;
}

/** The newest output of one run, in memory: what is not on disk yet, and a little more for those who read along. */
export class Tail {
  #chunks: Chunk[] = [];
  /** The place of the oldest one that is still held. */
  #head = 0;
  #bytes = 0;
  #end = 0;

  /** The cursor behind the newest byte. */
  get end(): number {
    return this.#end;
  }

  /** The cursor of its oldest byte; the end where it is empty. */
  get start(): number {
    return this.#chunks[this.#head]?.start ?? this.#end;
  }

  /** True where more chunks are held than two readers' worth: they are tiny, and the disk is behind. */
  get isCrowded(): boolean {
    return this.#chunks.length - this.#head > 2 * KEPT_CHUNKS;
  }

  /** Takes output in; `bytes` must not change afterwards. */
  push(type: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += MAX_CHUNK_BYTES) {
      const chunk = bytes.length <= MAX_CHUNK_BYTES ? bytes : bytes.subarray(at, at + MAX_CHUNK_BYTES);
      this.#chunks.push({ type, bytes: chunk, start: this.#end });
      this.#bytes += chunk.length;
      this.#end += chunk.length;
    }
  }

  /** How many chunks hold what stands from `cursor` on. */
  chunksFrom(cursor: number): number {
    return cursor >= this.#end ? 0 : this.#chunks.length - this.#find(cursor);
  }

  /** What stands at `cursor`, to the end of its chunk; undefined where it is not held. */
  at(cursor: number): OutputPiece | undefined {
    const chunk = cursor < this.start ? undefined : this.#chunks[this.#find(cursor)];
    if (chunk === undefined) return undefined;
    const bytes = cursor === chunk.start ? chunk.bytes : chunk.bytes.subarray(cursor - chunk.start);
    return { type: chunk.type, bytes, cursor: chunk.start + chunk.bytes.length };
  }

  /** About `room` bytes from `cursor` on, with `headerBytes` for each piece. */
  batch(cursor: number, room: number, headerBytes: number): OutputPiece[] {
    const batch: OutputPiece[] = [];
    let left = room;
    for (let place = this.#find(cursor), from = cursor; place < this.#chunks.length && left > 0;) {
      const chunk = this.#chunks[place];
      if (chunk === undefined) break;
      const skip = from - chunk.start;
      const bytes = chunk.bytes.subarray(skip, Math.min(chunk.bytes.length, skip + left));
      from += bytes.length;
      left -= bytes.length + headerBytes;
      batch.push({ type: chunk.type, bytes, cursor: from });
      if (skip + bytes.length === chunk.bytes.length) place += 1;
    }
    return batch;
  }

  /** Lets go of the oldest, as far as it is on disk and more than readers need. */
  evict(writtenTo: number): void {
    for (;;) {
      const oldest = this.#chunks[this.#head];
      const full = this.#bytes > KEPT_BYTES || this.#chunks.length - this.#head > KEPT_CHUNKS;
      if (oldest === undefined || !full || oldest.start + oldest.bytes.length > writtenTo) break;
      this.#bytes -= oldest.bytes.length;
      this.#head += 1;
    }
    if (this.#head > 16 && this.#head * 2 > this.#chunks.length) {
      this.#chunks = this.#chunks.slice(this.#head);
      this.#head = 0;
    }
  }

  /** The place of the chunk that holds `cursor`. */
  #find(cursor: number): number {
    let low = this.#head;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#chunks[middle]?.start ?? 0) <= cursor) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
