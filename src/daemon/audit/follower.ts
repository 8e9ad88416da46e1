import { BoundedQueue } from '../../kernel/bounded-queue.ts';
import type { AuditRecord } from '../../protocol/audit.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { FRAME } from '../../protocol/frames.ts';
import type { StreamPiece, StreamSource } from '../edge/call.ts';

const MAX_WAITING = 1000;

/** What a follower shows. */
export interface FollowerOptions {
  readonly matches: (record: AuditRecord) => boolean;
  /** The records before those that are offered, the newest first; the last ones may be offered too. */
  readonly past: Promise<readonly AuditRecord[]>;
  readonly onClose: () => void;
}

interface Waiting {
  readonly line: string;
  readonly timestamp: number;
}

/** One reader of new records. One that is too slow loses its stream; the records stay in the log. */
export class Follower implements StreamSource {
  readonly #options: FollowerOptions;
  readonly #waiting = new BoundedQueue<Waiting>(MAX_WAITING);
  #past: Waiting[] | undefined;
  #isTooSlow = false;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(options: FollowerOptions) {
    this.#options = options;
    // A failure is the reader's to see, at its next pull.
    options.past.catch(() => undefined);
  }

  /** Takes a record that was just appended. */
  offer(record: AuditRecord, line: string): void {
    if (this.#isTooSlow || !this.#options.matches(record)) return;
    this.#isTooSlow = !this.#waiting.push({ line, timestamp: record.timestamp });
    this.#wakeReader();
  }

  async next(): Promise<StreamPiece | undefined> {
    this.#past ??= await this.#readPast();
    while (!this.#closed) {
      const item = this.#past.shift() ?? this.#waiting.shift();
      if (item !== undefined) return { type: FRAME.event, bytes: Buffer.from(item.line), cursor: item.timestamp };
      if (this.#isTooSlow) {
        throw new LoopsyError('request_timeout', {
          message: 'this reader was too slow for the audit log',
          hint: '`loopsy logs` shows what was passed over',
        });
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#waiting.clear();
    this.#options.onClose();
    this.#wakeReader();
  }

  async #readPast(): Promise<Waiting[]> {
    const records = await this.#options.past;
    const past = records.map((record) => ({ line: JSON.stringify(record), timestamp: record.timestamp })).reverse();
    // What was recorded while the past was read is in both.
    const lines = new Set(past.map(({ line }) => line));
    for (let item = this.#waiting.shift(); item !== undefined; item = this.#waiting.shift()) {
      if (!lines.has(item.line)) past.push(item);
    }
    return past;
  }

  #wakeReader(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
