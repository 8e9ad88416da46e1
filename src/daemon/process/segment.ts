import { open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

import { FRAME_HEADER_BYTES, FrameReader, frameHeader, isOutput, MAX_FRAME_BYTES } from '../../protocol/frames.ts';

/** One piece of a run's output, or a `gap` in it; `cursor` is the place behind it. */
export interface OutputPiece {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly cursor: number;
}

const INDEX_BYTES = 65_536;
const READ_BYTES = 262_144;
const SCAN_BYTES = 16_384;

/** One file of output frames, named after the cursor of its first byte. Written from front to back, never changed. */
export class Segment {
  readonly start: number;
  readonly #path: string;
  #end: number;
  #fileBytes = 0;
  #index: { readonly cursor: number; readonly offset: number }[] = [];
  #handle: FileHandle | undefined;
  #scanning: Promise<void> | undefined;

  private constructor(path: string, start: number) {
    this.#path = path;
    this.start = start;
    this.#end = start;
  }

  /** A new one, in a folder that is there. */
  static async create(this: void, dir: string, start: number): Promise<Segment> {
    const segment = new Segment(join(dir, `${start}.seg`), start);
    segment.#handle = await open(segment.#path, 'w', 0o600);
    segment.#scanning = Promise.resolve();
    return segment;
  }

  /** One that an earlier process wrote; what it holds is found out at the first read. */
  static stored(dir: string, name: string): Segment | undefined {
    const start = /^(\d{1,15})\.seg$/.exec(name)?.[1];
    return start === undefined ? undefined : new Segment(join(dir, name), Number(start));
  }

  /** The file's size, headers included. */
  get fileBytes(): number {
    return this.#fileBytes;
  }

  /** The cursor behind its last whole frame. */
  async end(): Promise<number> {
    await (this.#scanning ??= this.#scan());
    return this.#end;
  }

  /** Finds out what another process has added. */
  async refresh(): Promise<void> {
    const before = this.#scanning ?? Promise.resolve();
    // Of a file that is gone there is no more; whoever reads it notices.
    this.#scanning = before.then(() => this.#scan()).catch(() => undefined);
    await this.#scanning;
  }

  /** Adds frames. Where it fails, the segment ends before them. */
  async append(pieces: readonly OutputPiece[]): Promise<void> {
    if (this.#handle === undefined) throw new Error('the segment is closed');
    const buffers: Uint8Array[] = [];
    for (const piece of pieces) buffers.push(frameHeader(piece.type, piece.bytes.length), piece.bytes);
    await writeAll(this.#handle, buffers, this.#fileBytes);
    for (const piece of pieces) this.#note(piece.bytes.length);
  }

  /** What stands from `cursor` on, up to 256 KiB; nothing where the segment doesn't hold it. */
  async read(cursor: number): Promise<OutputPiece[]> {
    if (cursor >= (await this.end())) return [];
    const from = this.#index.findLast((entry) => entry.cursor <= cursor);
    if (from === undefined) return [];
    const bytes = await this.#load(from.offset, Math.min(READ_BYTES, this.#fileBytes - from.offset));
    const pieces: OutputPiece[] = [];
    let at = from.cursor;
    for (const frame of new FrameReader().read(bytes)) {
      const skip = Math.max(0, cursor - at);
      at += frame.bytes.length;
      if (skip < frame.bytes.length) pieces.push({ type: frame.type, bytes: frame.bytes.subarray(skip), cursor: at });
    }
    return pieces;
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  async remove(): Promise<void> {
    await this.close();
    await rm(this.#path, { force: true });
  }

  #note(length: number): void {
    const last = this.#index.at(-1);
    if (last === undefined || this.#fileBytes - last.offset >= INDEX_BYTES) {
      this.#index.push({ cursor: this.#end, offset: this.#fileBytes });
    }
    this.#fileBytes += FRAME_HEADER_BYTES + length;
    this.#end += length;
  }

  async #load(offset: number, length: number): Promise<Buffer> {
    const handle = await open(this.#path, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(length), 0, length, offset);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  }

  /** Walks the headers of a stored file. A tail that was torn by a crash is left out. */
  async #scan(): Promise<void> {
    const handle = await open(this.#path, 'r');
    try {
      const { size } = await handle.stat();
      const block = Buffer.allocUnsafe(SCAN_BYTES);
      let blockAt = 0;
      let blockLength = 0;
      for (;;) {
        const offset = this.#fileBytes;
        if (offset + FRAME_HEADER_BYTES > size) return;
        if (offset + FRAME_HEADER_BYTES > blockAt + blockLength) {
          blockAt = offset;
          blockLength = (await handle.read(block, 0, SCAN_BYTES, offset)).bytesRead;
          if (blockLength < FRAME_HEADER_BYTES) return;
        }
        const length = block.readUInt32BE(offset - blockAt + 1);
        const whole = length <= MAX_FRAME_BYTES && offset + FRAME_HEADER_BYTES + length <= size;
        if (!whole || !isOutput(block.readUInt8(offset - blockAt))) return;
        this.#note(length);
      }
    } finally {
      await handle.close();
    }
  }
}

/** A short write is no error to the system: a nearly full disk takes a part and says so in the count alone. */
const writeAll = async (handle: FileHandle, buffers: readonly Uint8Array[], position: number): Promise<void> => {
  let left = [...buffers];
  let at = position;
  while (left.length > 0) {
    const { bytesWritten } = await handle.writev(left, at);
    if (bytesWritten === 0) throw new Error('ENOSPC: the disk took nothing');
    at += bytesWritten;
    left = withoutFirst(left, bytesWritten);
  }
};

const withoutFirst = (buffers: Uint8Array[], count: number): Uint8Array[] => {
  let skip = count;
  const first = buffers.findIndex((buffer) => {
    if (skip < buffer.length) return true;
    skip -= buffer.length;
    return false;
  });
  if (first === -1) return [];
  return buffers.slice(first).map((buffer, place) => (place === 0 ? buffer.subarray(skip) : buffer));
};
