import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

const MAX_WRITE_BYTES = 256 * 1024;
const NEWLINE = 0x0a;

/** The bounds of a log; both can be changed while it is open. */
export interface LogBounds {
  /** A file is rotated before it grows beyond this size. */
  readonly maxBytes: number;
  /** How many rotated files stay: `<file>.1` (the newest) to `<file>.<keep>`. */
  readonly keep: number;
}

/** A file to read, as long as it was when it was opened. */
export interface OpenedFile {
  readonly handle: FileHandle;
  readonly size: number;
}

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';

// True where there was something.
const ifThere = async (action: Promise<unknown>): Promise<boolean> => {
  try {
    await action;
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
};

/** Files of whole lines: the current one and its rotated predecessors. The calls must not overlap. */
export class RotatedFile {
  readonly #file: string;
  #bounds: LogBounds;
  #current: { readonly handle: FileHandle; size: number } | undefined;

  constructor(file: string, bounds: LogBounds) {
    this.#file = file;
    this.#bounds = bounds;
  }

  set bounds(bounds: LogBounds) {
    this.#bounds = bounds;
  }

  /** Writes the first of `lines`, as many as go together, and says how many. After an error it is none. */
  async append(lines: readonly Buffer[]): Promise<number> {
    const { maxBytes } = this.#bounds;
    let current = (this.#current ??= await this.#open());
    if (current.size > 0 && current.size + (lines[0]?.length ?? 0) > maxBytes) {
      await this.#rotate();
      current = this.#current = await this.#open();
    }
    const room = Math.min(MAX_WRITE_BYTES, maxBytes - current.size);
    let bytes = 0;
    const tooMany = lines.findIndex((line, index) => (bytes += line.length) > room && index > 0);
    const together = lines.slice(0, tooMany === -1 ? lines.length : tooMany);
    await this.#write(Buffer.concat(together));
    return together.length;
  }

  /** Resolves when what was written is on the disk. */
  async sync(): Promise<void> {
    await this.#current?.handle.datasync();
  }

  /** Opens all files for reading, the newest first. */
  async openAll(): Promise<OpenedFile[]> {
    const files: OpenedFile[] = [];
    const add = async (name: string): Promise<void> => {
      const handle = await open(name, 'r');
      files.push({ handle, size: (await handle.stat()).size });
    };
    try {
      // Until its first line the current file is missing; without a rotated one the end is reached.
      await ifThere(add(this.#file));
      for (let index = 1; await ifThere(add(`${this.#file}.${index}`)); index += 1);
      return files;
    } catch (error) {
      await Promise.all(files.map(({ handle }) => handle.close()));
      throw error;
    }
  }

  async close(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    await current?.handle.close();
  }

  async #open(): Promise<{ handle: FileHandle; size: number }> {
    await mkdir(dirname(this.#file), { recursive: true, mode: 0o700 });
    const handle = await open(this.#file, 'a+', 0o600);
    try {
      const { size } = await handle.stat();
      if (size === 0) return { handle, size };
      // A process that was killed, or a full disk, may have left half a line.
      const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1);
      if (buffer[0] === NEWLINE) return { handle, size };
      await handle.write('\n');
      return { handle, size: size + 1 };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async #write(bytes: Buffer): Promise<void> {
    const current = this.#current;
    if (current === undefined) return;
    try {
      // A nearly full disk takes a part of the bytes, without an error.
      for (let done = 0; done < bytes.length;) {
        const { bytesWritten } = await current.handle.write(bytes, done, bytes.length - done);
        if (bytesWritten === 0) throw new Error(`${this.#file} takes no more bytes`);
        done += bytesWritten;
      }
      current.size += bytes.length;
    } catch (error) {
      // Where this fails too, opening it again mends the torn line.
      await current.handle.truncate(current.size).catch(() => undefined);
      await this.close();
      throw error;
    }
  }

  async #rotate(): Promise<void> {
    await this.sync();
    await this.close();
    const { keep } = this.#bounds;
    const name = (index: number): string => (index === 0 ? this.#file : `${this.#file}.${index}`);
    for (let index = keep; await ifThere(rm(name(index))); index += 1);
    for (let index = keep - 1; index >= 0; index -= 1) await ifThere(rename(name(index), name(index + 1)));
  }
}
