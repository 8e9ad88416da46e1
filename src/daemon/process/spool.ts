import { mkdir, readdir } from 'node:fs/promises';

import type { Clock, Timer } from '../../kernel/clock.ts';
import { FRAME } from '../../protocol/frames.ts';
import { type OutputPiece, Segment } from './segment.ts';

const KiB = 1_024;
const MiB = KiB * KiB;
/** A piece is never longer. */
const MAX_PIECE_BYTES = 64 * KiB;
/** How far the reader that paces a run may fall behind before the run waits. */
const PACE_BYTES = 512 * KiB;
const PACE_CHUNKS = 2_048;
/** What stays in memory of the output that is on disk: more than a paced reader is ever behind. */
const TAIL_BYTES = MiB;
const TAIL_CHUNKS = 2 * PACE_CHUNKS;
/** Output that waits for the disk; above it the run waits. */
const BACKLOG_BYTES = MiB;
/** Less than this waits in memory for 200 ms: a short run never touches the disk before its end. */
const FLUSH_BYTES = 64 * KiB;
const FLUSH_MS = 200;
const BATCH_BYTES = 512 * KiB;

/** What a spool is made of. */
export interface SpoolOptions {
  /** The folder of this run's output; made when the first byte is written. */
  readonly dir: string;
  /** Bytes that may lie on disk: asked for at each write. */
  readonly windowBytes: () => number;
  readonly clock: Clock;
  /** The disk didn't take some output. */
  readonly onFault: (error: unknown) => void;
  /** Something was written: there may be room again. */
  readonly onWritten: () => void;
}

interface Chunk {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly start: number;
}

/**
 * The output of one run: a tail in memory and a bounded window of it on disk. A cursor counts the bytes of stdout and
 * stderr since the run's start; each cursor inside the window can be read from exactly, older ones give a `gap`.
 */
export class Spool {
  readonly #options: SpoolOptions;
  #tail: Chunk[] = [];
  #head = 0;
  #tailBytes = 0;
  #end = 0;
  /** Everything below is on disk, or was given up. */
  #writtenTo = 0;
  #segments: Segment[] = [];
  #current: Segment | undefined;
  #truncated = false;
  #finished = false;
  #draining: Promise<void> | undefined;
  #timer: Timer | undefined;

  constructor(options: SpoolOptions) {
    this.#options = options;
  }

  /** The output of a run that ended earlier, `end` bytes in all; undefined: as many as are found. */
  static async open(options: SpoolOptions, end?: number): Promise<Spool> {
    const spool = new Spool(options);
    const names = await readdir(options.dir).catch(() => []);
    const found = names.map((name) => Segment.stored(options.dir, name)).filter((segment) => segment !== undefined);
    spool.#segments = found.sort((a, b) => a.start - b.start);
    spool.#end = end ?? (await spool.#segments.at(-1)?.end()) ?? 0;
    spool.#writtenTo = spool.#end;
    spool.#finished = true;
    spool.#truncated = (spool.#segments[0]?.start ?? spool.#end) > 0;
    return spool;
  }

  /** The cursor behind the newest byte. */
  get end(): number {
    return this.#end;
  }

  /** True where some output is gone from the window, or never came into it. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /** True while the disk is behind: the run must wait. */
  get overfull(): boolean {
    return this.#end - this.#writtenTo > BACKLOG_BYTES || this.#tail.length - this.#head > 2 * TAIL_CHUNKS;
  }

  /** True where a reader at `cursor` is so far behind that a run which it paces must wait. */
  isFarBehind(cursor: number): boolean {
    if (this.#end - cursor > PACE_BYTES) return true;
    return this.#tail.length - this.#head > PACE_CHUNKS && this.#tail.length - this.#find(cursor) > PACE_CHUNKS;
  }

  /** Takes output in; `bytes` must not change afterwards. */
  append(type: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += MAX_PIECE_BYTES) {
      const piece = bytes.length <= MAX_PIECE_BYTES ? bytes : bytes.subarray(at, at + MAX_PIECE_BYTES);
      this.#tail.push({ type, bytes: piece, start: this.#end });
      this.#tailBytes += piece.length;
      this.#end += piece.length;
    }
    this.#schedule();
  }

  /** No more will come: what there is is written, behind. */
  finish(): void {
    this.#finished = true;
    this.#schedule();
  }

  /** True where nothing waits for the disk. */
  get settled(): boolean {
    return this.#draining === undefined && this.#writtenTo === this.#end && this.#current === undefined;
  }

  /** Resolves when nothing waits for the disk. */
  async settle(): Promise<void> {
    this.#finished = true;
    while (!this.settled) await (this.#draining ?? this.#kick());
  }

  /** What stands at `cursor`; nothing where nothing newer is there yet. Pieces share memory with the spool. */
  read(cursor: number): readonly OutputPiece[] | Promise<readonly OutputPiece[]> {
    if (cursor >= this.#end) return [];
    const first = this.#tail[this.#head];
    if (first === undefined || cursor < first.start) return this.#readStored(cursor);
    const chunk = this.#tail[this.#find(cursor)] ?? first;
    const bytes = cursor === chunk.start ? chunk.bytes : chunk.bytes.subarray(cursor - chunk.start);
    return [{ type: chunk.type, bytes, cursor: chunk.start + chunk.bytes.length }];
  }

  async #readStored(cursor: number): Promise<readonly OutputPiece[]> {
    const segment = this.#segments.findLast(({ start }) => start <= cursor);
    // A file that is gone or broken reads as a gap: the rest of the output is still good.
    const pieces = await segment?.read(cursor).catch(() => []);
    if (pieces !== undefined && pieces.length > 0) return pieces;
    const later = this.#segments.find(({ start }) => start > cursor)?.start ?? this.#end;
    const to = Math.min(later, this.#tail[this.#head]?.start ?? this.#end);
    return [{ type: FRAME.gap, bytes: Buffer.from(JSON.stringify({ from: cursor, to })), cursor: to }];
  }

  /** The place in the tail of the chunk that holds `cursor`. */
  #find(cursor: number): number {
    let low = this.#head;
    let high = this.#tail.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#tail[middle]?.start ?? 0) <= cursor) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #schedule(): void {
    const backlog = this.#end - this.#writtenTo;
    if (this.#draining !== undefined || (backlog === 0 && this.#current === undefined)) return;
    if (backlog > FLUSH_BYTES || this.#finished) void this.#kick();
    else this.#timer ??= this.#options.clock.after(FLUSH_MS, () => void this.#kick());
  }

  #kick(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined;
      this.#schedule();
    });
    return this.#draining;
  }

  async #drain(): Promise<void> {
    while (this.#writtenTo < this.#end) {
      await this.#writeBatch();
      this.#evict();
      this.#options.onWritten();
    }
    if (this.#finished) await this.#closeCurrent();
  }

  async #writeBatch(): Promise<void> {
    const windowBytes = this.#options.windowBytes();
    const segmentBytes = Math.min(8 * MiB, Math.max(KiB, Math.floor(windowBytes / 8)));
    const room = Math.min(BATCH_BYTES, segmentBytes - (this.#current?.fileBytes ?? 0));
    const batch = this.#batchOf(Math.max(room, KiB));
    const to = batch.at(-1)?.cursor ?? this.#end;
    try {
      this.#current ??= await this.#nextSegment();
      await this.#current.append(batch);
      if (this.#current.fileBytes >= segmentBytes) await this.#closeCurrent();
    } catch (error) {
      this.#truncated = true;
      this.#options.onFault(error);
      await this.#giveUpCurrent();
    }
    this.#writtenTo = to;
    await this.#dropOldest(windowBytes);
  }

  async #nextSegment(): Promise<Segment> {
    if (this.#segments.length === 0) await mkdir(this.#options.dir, { recursive: true, mode: 0o700 });
    const segment = await Segment.create(this.#options.dir, this.#writtenTo);
    this.#segments.push(segment);
    return segment;
  }

  async #closeCurrent(): Promise<void> {
    const segment = this.#current;
    this.#current = undefined;
    await segment?.close().catch(this.#options.onFault);
  }

  /** After a failed write the next one begins a new file, because the cursors in this one no longer join. */
  async #giveUpCurrent(): Promise<void> {
    const segment = this.#current;
    await this.#closeCurrent();
    if (segment === undefined || segment.fileBytes > 0) return;
    this.#segments = this.#segments.filter((other) => other !== segment);
    await segment.remove().catch(this.#options.onFault);
  }

  /** About `room` bytes of what isn't written yet. */
  #batchOf(room: number): OutputPiece[] {
    const batch: OutputPiece[] = [];
    let cursor = this.#writtenTo;
    let left = room;
    for (let at = this.#find(cursor); at < this.#tail.length && left > 0;) {
      const chunk = this.#tail[at];
      if (chunk === undefined) break;
      const from = cursor - chunk.start;
      const bytes = chunk.bytes.subarray(from, Math.min(chunk.bytes.length, from + left));
      cursor += bytes.length;
      left -= bytes.length + 5;
      batch.push({ type: chunk.type, bytes, cursor });
      if (from + bytes.length === chunk.bytes.length) at += 1;
    }
    return batch;
  }

  async #dropOldest(windowBytes: number): Promise<void> {
    let total = this.#segments.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
    while (total > windowBytes) {
      const [oldest] = this.#segments;
      if (oldest === undefined || oldest === this.#current) return;
      this.#segments.shift();
      this.#truncated = true;
      total -= oldest.fileBytes;
      await oldest.remove().catch(this.#options.onFault);
    }
  }

  #evict(): void {
    for (;;) {
      const oldest = this.#tail[this.#head];
      const full = this.#tailBytes > TAIL_BYTES || this.#tail.length - this.#head > TAIL_CHUNKS;
      if (oldest === undefined || !full || oldest.start + oldest.bytes.length > this.#writtenTo) break;
      this.#tailBytes -= oldest.bytes.length;
      this.#head += 1;
    }
    if (this.#head > 16 && this.#head * 2 > this.#tail.length) {
      this.#tail = this.#tail.slice(this.#head);
      this.#head = 0;
    }
  }
}
