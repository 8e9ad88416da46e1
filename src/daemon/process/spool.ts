import { makeFolder } from '../../kernel/atomic-file.ts';
import type { Clock, Timer } from '../../kernel/clock.ts';
import { FRAME, FRAME_HEADER_BYTES } from '../../protocol/frames.ts';
import type { Backlog } from './backlog.ts';
import { type OutputPiece, Segment } from './segment.ts';
import { Tail } from './tail.ts';

const KiB = 1_024;
const MiB = KiB * KiB;
/** How far the reader that paces a run may fall behind before the run waits. */
const PACE_BYTES = 512 * KiB;
const PACE_CHUNKS = 2_048;
/** Output that waits for the disk; above it the run waits. */
const BACKLOG_BYTES = MiB;
/** Less than this waits in memory for 200 ms: a short run never touches the disk before its end. */
const FLUSH_BYTES = 64 * KiB;
const FLUSH_MS = 200;
const BATCH_BYTES = 512 * KiB;
/** What a run and each of its chunks take beside the bytes while they wait for the disk. */
const RUN_BYTES = 8 * KiB;
const CHUNK_BYTES = 256;

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
  /** Counts what waits for the disk, together with other runs. */
  readonly backlog?: Pick<Backlog, 'change'>;
  /** How long less than 64 KiB waits in memory, ms; default 200. */
  readonly flushMs?: () => number;
  /** Makes a file; default: on disk. */
  readonly createSegment?: (dir: string, start: number) => Promise<Segment>;
}

/**
 * The output of one run: a tail in memory and a bounded window of it on disk. A cursor counts the bytes of stdout and
 * stderr since the run's start; each cursor inside the window can be read from exactly, older ones give a `gap`.
 */
export class Spool {
  readonly #options: SpoolOptions;
  readonly #tail = new Tail();
  #writtenTo = 0;
  #segments: Segment[] = [];
  #current: Segment | undefined;
  #truncated = false;
  #finished = false;
  #draining: Promise<void> | undefined;
  #timer: Timer | undefined;
  /** What the backlog was told. */
  #counted = 0;

  constructor(options: SpoolOptions) {
    this.#options = options;
  }

  /** The cursor behind the newest byte. */
  get end(): number {
    return this.#tail.end;
  }

  /** Everything below is on disk, or was given up. */
  get writtenTo(): number {
    return this.#writtenTo;
  }

  /** True where some output is gone from the window, or never came into it. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /** True while the disk is behind: the run must wait. */
  get overfull(): boolean {
    return this.end - this.#writtenTo > BACKLOG_BYTES || this.#tail.isCrowded;
  }

  /** True where a reader at `cursor` is so far behind that a run which it paces must wait. */
  isFarBehind(cursor: number): boolean {
    return this.end - cursor > PACE_BYTES || this.#tail.chunksFrom(cursor) > PACE_CHUNKS;
  }

  /** Takes output in; `bytes` must not change afterwards. */
  append(type: number, bytes: Uint8Array): void {
    this.#tail.push(type, bytes);
    this.#schedule();
    this.#count();
  }

  /** Writes what waits, now. */
  flush(): void {
    if (this.#writtenTo < this.end) void this.#kick();
  }

  /** No more will come: what there is is written, behind. */
  finish(): void {
    this.#finished = true;
    this.#schedule();
    this.#count();
  }

  /** True where nothing waits for the disk. */
  get settled(): boolean {
    return this.#draining === undefined && this.#writtenTo === this.end && this.#current === undefined;
  }

  /** Resolves when nothing waits for the disk. */
  async settle(): Promise<void> {
    this.#finished = true;
    while (!this.settled) await (this.#draining ?? this.#kick());
  }

  /** What stands at `cursor`; nothing where nothing newer is there yet. Pieces share memory with the spool. */
  read(cursor: number): readonly OutputPiece[] | Promise<readonly OutputPiece[]> {
    if (cursor >= this.end) return [];
    const piece = this.#tail.at(cursor);
    return piece === undefined ? this.#readStored(cursor) : [piece];
  }

  async #readStored(cursor: number): Promise<readonly OutputPiece[]> {
    const segment = this.#segments.findLast(({ start }) => start <= cursor);
    // A file that is gone or broken reads as a gap: the rest of the output is still good.
    const pieces = await segment?.read(cursor).catch(() => []);
    if (pieces !== undefined && pieces.length > 0) return pieces;
    const later = this.#segments.find(({ start }) => start > cursor)?.start ?? this.end;
    const to = Math.min(later, this.#tail.start);
    return [{ type: FRAME.gap, bytes: Buffer.from(JSON.stringify({ from: cursor, to })), cursor: to }];
  }

  #schedule(): void {
    const backlog = this.end - this.#writtenTo;
    if (this.#draining !== undefined || (backlog === 0 && this.#current === undefined)) return;
    if (backlog > FLUSH_BYTES || this.#finished) void this.#kick();
    else this.#timer ??= this.#options.clock.after(this.#options.flushMs?.() ?? FLUSH_MS, () => void this.#kick());
  }

  /** Nothing is counted that isn't on its way: it would be counted for ever. */
  #count(): void {
    const backlog = this.end - this.#writtenTo;
    const waits = backlog > 0 || (this.#finished && !this.settled);
    const chunks = this.#tail.chunksFrom(this.#writtenTo);
    const bytes = waits ? RUN_BYTES + backlog + chunks * CHUNK_BYTES : 0;
    this.#options.backlog?.change(bytes - this.#counted);
    this.#counted = bytes;
  }

  #kick(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined;
      this.#schedule();
      this.#count();
    });
    return this.#draining;
  }

  async #drain(): Promise<void> {
    while (this.#writtenTo < this.end) {
      await this.#writeBatch();
      this.#tail.evict(this.#writtenTo);
      this.#count();
      this.#options.onWritten();
    }
    if (this.#finished) await this.#closeCurrent();
  }

  async #writeBatch(): Promise<void> {
    const windowBytes = this.#options.windowBytes();
    const segmentBytes = Math.min(8 * MiB, Math.max(KiB, Math.floor(windowBytes / 8)));
    const room = Math.min(BATCH_BYTES, segmentBytes - (this.#current?.fileBytes ?? 0));
    const batch = this.#tail.batch(this.#writtenTo, Math.max(room, KiB), FRAME_HEADER_BYTES);
    const to = batch.at(-1)?.cursor ?? this.end;
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
    // A data folder that was removed stays so.
    if (this.#segments.length === 0) await makeFolder(this.#options.dir);
    const { createSegment = Segment.create, dir } = this.#options;
    const segment = await createSegment(dir, this.#writtenTo);
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
}
