import { readdir } from 'node:fs/promises';

import { FRAME } from '../../protocol/frames.ts';
import { type OutputPiece, Segment } from './segment.ts';

/**
 * The output of one run as another process, or an earlier one, has left it on disk. It can be read while it grows, and
 * while its oldest part goes: what is no longer there reads as a `gap`.
 */
export class StoredOutput {
  readonly #dir: string;
  #segments: Segment[] = [];
  #end: number;

  /** @param end the cursor behind what may be read. */
  constructor(dir: string, end: number) {
    this.#dir = dir;
    this.#end = end;
  }

  /** The output in `dir`, as far as it goes. */
  static async open(dir: string): Promise<StoredOutput> {
    const output = new StoredOutput(dir, 0);
    await output.#list();
    output.#end = (await output.#segments.at(-1)?.end()) ?? 0;
    return output;
  }

  /** The cursor behind what may be read. */
  get end(): number {
    return this.#end;
  }

  /** True where the oldest part is gone; known once the folder was looked at. */
  get truncated(): boolean {
    return (this.#segments[0]?.start ?? this.#end) > 0;
  }

  /** So much may be read now. */
  grow(end: number): void {
    this.#end = Math.max(this.#end, end);
  }

  /** What stands at `cursor`; nothing where nothing newer is there yet. */
  read(cursor: number): readonly OutputPiece[] | Promise<readonly OutputPiece[]> {
    return cursor >= this.#end ? [] : this.#read(cursor);
  }

  async #read(cursor: number): Promise<readonly OutputPiece[]> {
    for (const look of [() => undefined, () => this.#at(cursor)?.refresh(), () => this.#list()]) {
      await look();
      // A file that is gone or broken reads as a gap: the rest of the output is still good.
      const pieces = await this.#at(cursor)
        ?.read(cursor)
        .catch(() => []);
      if (pieces !== undefined && pieces.length > 0) return pieces;
    }
    const to = Math.min(this.#segments.find(({ start }) => start > cursor)?.start ?? this.#end, this.#end);
    return [{ type: FRAME.gap, bytes: Buffer.from(JSON.stringify({ from: cursor, to })), cursor: to }];
  }

  #at(cursor: number): Segment | undefined {
    return this.#segments.findLast(({ start }) => start <= cursor);
  }

  /** Looks which files are there: those that were known are kept, with what is known of them. */
  async #list(): Promise<void> {
    const names = await readdir(this.#dir).catch(() => []);
    const known = new Map(this.#segments.map((segment) => [segment.start, segment]));
    const found = names.map((name) => Segment.stored(this.#dir, name)).filter((segment) => segment !== undefined);
    this.#segments = found.map((segment) => known.get(segment.start) ?? segment).sort((a, b) => a.start - b.start);
  }
}
