import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { FRAME } from '../../protocol/frames.ts';
import type { StreamPiece, StreamSource } from './call.ts';
import { toLoopsyError } from './error-reply.ts';
import { EventEncoder, type StreamEvent } from './event-encoder.ts';

/** The JSON form of a part of a stream (`jobSliceSchema`). */
export interface Slice {
  readonly events: readonly unknown[];
  readonly cursor: number;
  readonly ended: boolean;
}

/** What is collected, and for how long. */
export interface SliceOptions {
  readonly jobId: string;
  readonly since: number;
  /** How long to wait for something new. */
  readonly waitMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** A slice ends beyond so many bytes. */
const MAX_SLICE_BYTES = 1_048_576;
/** What one event costs beside its output. */
const EVENT_BYTES = 128;
/** Once something is new, what else comes without a longer pause is taken too. Also the time to read what lies ready. */
const SETTLE_MS = 50;
/** A stream that never pauses is answered after so long. */
const MAX_SETTLE_MS = 1000;

/** The next piece, or `late`. A piece that comes late is not lost: the slice's cursor stands before it. */
const nextWithin = async (source: StreamSource, ms: number, clock: Clock): Promise<StreamPiece | undefined | 'late'> =>
  new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => resolve('late'));
    source.next().then(
      (piece) => {
        timer.cancel();
        resolve(piece);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });

const isLast = (type: number): boolean => type === FRAME.exit || type === FRAME.error;

/**
 * Collects what is there; where nothing new is, waits for it up to `waitMs`. Ends at 1 MiB, at a pause, or with the
 * stream. `started` is not new. The source is left to the caller to close.
 */
export const collectSlice = async (source: StreamSource, options: SliceOptions): Promise<Slice> => {
  const { jobId, since, clock } = options;
  const encoder = new EventEncoder(jobId, since, () => clock.now());
  const collected: StreamEvent[] = [];
  const beginMs = clock.monotonicMs();
  const firstMs = Math.max(options.waitMs, SETTLE_MS);
  let sizeBytes = 0;
  let isNew = false;
  let ended = false;
  try {
    while (!ended && sizeBytes < MAX_SLICE_BYTES) {
      const leftMs = (isNew ? firstMs + MAX_SETTLE_MS : firstMs) - (clock.monotonicMs() - beginMs);
      if (leftMs <= 0) break;
      const piece = await nextWithin(source, isNew ? Math.min(SETTLE_MS, leftMs) : leftMs, clock);
      if (piece === 'late') break;
      const events = piece === undefined ? encoder.flush() : encoder.encode(piece);
      collected.push(...events);
      ended = piece === undefined || isLast(piece.type);
      isNew ||= piece?.type !== FRAME.started && events.length > 0;
      sizeBytes += (piece?.bytes.length ?? 0) + EVENT_BYTES;
    }
  } catch (thrown) {
    collected.push(...encoder.encodeError(toLoopsyError(thrown, options.log)));
    ended = true;
  }
  return { events: collected.map(({ event }) => event), cursor: encoder.cursor, ended };
};
