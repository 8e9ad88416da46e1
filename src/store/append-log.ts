import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';

import type { Clock, Timer } from '../kernel/clock.ts';
import { readFully, readLinesBackward } from './backward-lines.ts';
import { RotatedFile, type LogBounds } from './rotated-file.ts';

const MAX_WAITING_BYTES = 4 * 1024 * 1024;
/** So much is written before its time: a busy log is to have room for what comes. */
const FLUSH_BYTES = 1024 * 1024;
/** A file is known by the beginning of its first line, which never changes, whatever the file is called. */
const KNOWN_BY_BYTES = 1024;

/** What a log is opened with. */
export interface AppendLogOptions extends LogBounds {
  readonly file: string;
  readonly clock: Clock;
  /** A line is written within this time. */
  readonly flushMs: number;
}

/** A line, and what names its place for as long as the log holds it. */
interface LogLine {
  readonly line: string;
  readonly cursor: string;
}

/** A text log that only grows, line by line, in files of bounded size. */
export interface AppendLog {
  /** Takes a line, without its end. Never fails: lines for which there is neither disk nor memory are counted. */
  append(line: string): void;
  /** Resolves when what was appended before is written; with `sync`, when it is on the disk. Rejects where it isn't. */
  flush(options?: { readonly sync?: boolean }): Promise<void>;
  /**
   * The newest lines first, rotated files included, as they were when the reading began; with `before`, those that are
   * older than the line at this cursor: none where it has left the log, as then they have too.
   */
  tail(before?: string): AsyncGenerator<LogLine>;
  setBounds(bounds: LogBounds): void;
  /** Writes what waits, then closes: later lines are ignored. Never fails. */
  close(): Promise<void>;
}

/** Opens a log. Its folder (0700) and file (0600) are made with the first write. */
export const openAppendLog = (options: AppendLogOptions): AppendLog => new RotatedLog(options);

class RotatedLog implements AppendLog {
  readonly #clock: Clock;
  readonly #flushMs: number;
  readonly #file: RotatedFile;
  // Lines with their ends, oldest first.
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  #failure = 'too many at once';
  #timer: Timer | undefined;
  #lastTurn: Promise<unknown> = Promise.resolve();
  #isFlushing = false;
  #closed = false;

  constructor({ file, clock, flushMs, maxBytes, keep }: AppendLogOptions) {
    this.#clock = clock;
    this.#flushMs = flushMs;
    this.#file = new RotatedFile(file, { maxBytes, keep });
  }

  append(line: string): void {
    if (this.#closed) return;
    const oneLine = line.includes('\n') ? line.replaceAll('\n', '\\n') : line;
    const bytes = Buffer.from(`${oneLine}\n`);
    this.#flushSoon();
    if (this.#waitingBytes >= FLUSH_BYTES) this.#flushNow();
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      this.#dropped += 1;
      return;
    }
    this.#tellDropped();
    this.#add(bytes);
  }

  flush({ sync = false }: { readonly sync?: boolean } = {}): Promise<void> {
    return this.#inTurn(async () => {
      this.#timer?.cancel();
      this.#timer = undefined;
      try {
        await this.#writeWaiting();
        if (sync) await this.#file.sync();
      } catch (error) {
        this.#failure = error instanceof Error ? error.message : String(error);
        this.#flushSoon();
        throw error;
      }
    });
  }

  async *tail(before?: string): AsyncGenerator<LogLine> {
    await this.#tryFlush();
    // Opened in turn, so that no rotation comes between; a rotated file stays readable by its handle.
    const files = await this.#inTurn(() => this.#file.openAll());
    const [, place, offset] = /^(.+)\.(\d{1,15})$/.exec(before ?? '') ?? [];
    let isReached = before === undefined;
    try {
      for (const { handle, size } of files) {
        const name = await nameOf(handle);
        const end = name === place ? Math.min(size, Number(offset)) : size;
        isReached ||= name === place;
        if (!isReached) continue;
        for await (const { line, start } of readLinesBackward(handle, end)) yield { line, cursor: `${name}.${start}` };
      }
    } finally {
      await Promise.all(files.map(({ handle }) => handle.close()));
    }
  }

  setBounds(bounds: LogBounds): void {
    this.#file.bounds = bounds;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#tryFlush();
    this.#timer?.cancel();
    await this.#inTurn(() => this.#file.close());
  }

  #flushNow(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    void this.#tryFlush().finally(() => (this.#isFlushing = false));
  }

  #flushSoon(): void {
    this.#timer ??= this.#clock.after(this.#flushMs, () => void this.#tryFlush());
  }

  async #tryFlush(): Promise<void> {
    // What could not be written waits for the next flush; what has no room until then is counted.
    await this.flush().catch(() => undefined);
  }

  #inTurn<Result>(run: () => Promise<Result>): Promise<Result> {
    const turn = this.#lastTurn.then(run);
    this.#lastTurn = turn.catch(() => undefined);
    return turn;
  }

  async #writeWaiting(): Promise<void> {
    if (this.#waiting.length === 0) this.#tellDropped();
    while (this.#waiting.length > 0) {
      const written = this.#waiting.splice(0, await this.#file.append(this.#waiting));
      this.#waitingBytes -= written.reduce((sum, { length }) => sum + length, 0);
      if (this.#waiting.length === 0) this.#tellDropped();
    }
  }

  #tellDropped(): void {
    if (this.#dropped === 0) return;
    const [timestamp, dropped, reason] = [this.#clock.now(), this.#dropped, this.#failure];
    const line = JSON.stringify({ timestamp, event: 'lines dropped', dropped, reason });
    this.#dropped = 0;
    this.#add(Buffer.from(`${line}\n`));
  }

  #add(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
  }
}

const nameOf = async (handle: FileHandle): Promise<string> => {
  const begin = (await readFully(handle, 0, KNOWN_BY_BYTES)).toString('latin1');
  return createHash('sha256')
    .update(begin.replace(/\n[^]*/, ''))
    .digest('base64url')
    .slice(0, 16);
};
