import { FRAME } from '../../protocol/frames.ts';
import type { JobStarted } from '../../protocol/jobs.ts';
import type { StreamPiece, StreamSource } from '../edge/call.ts';
import type { Spool } from '../process/spool.ts';

/** What a follower reads from: a run that goes on, or one that has ended. */
export interface Followed {
  readonly output: Pick<Spool, 'read'>;
  /** What `started` says now. */
  started(): JobStarted;
  /** Changes when `started` says something new. */
  readonly phase: number;
  /** The last piece, once the run has ended and all of its output is in. */
  final(): { readonly type: number; readonly data: object } | undefined;
  /** The follower has taken a piece. */
  taken(): void;
  /** The follower has gone. */
  left(follower: Follower): void;
}

/** One reader of a run: `started`, the output from a cursor on, the end. */
export class Follower implements StreamSource {
  /** Who reads. */
  readonly caller: string;
  readonly #run: Followed;
  #cursor: number;
  #batch: readonly StreamPiece[] = [];
  #at = 0;
  #phase = -1;
  #over = false;
  #wake: (() => void) | undefined;

  constructor(run: Followed, caller: string, since: number) {
    this.#run = run;
    this.caller = caller;
    this.#cursor = since;
  }

  /** The place behind what was handed out. */
  get cursor(): number {
    return this.#cursor;
  }

  /** There may be something new. */
  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  async next(): Promise<StreamPiece | undefined> {
    while (!this.#over) {
      const piece = this.#take();
      if (piece !== undefined) return piece;
      const read = this.#run.output.read(this.#cursor);
      this.#batch = 'then' in read ? await read : read;
      this.#at = 0;
      if (this.#batch.length > 0) continue;
      const final = this.#run.final();
      if (final !== undefined) {
        this.#over = true;
        return this.#json(final.type, final.data);
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return undefined;
  }

  close(): void {
    this.#over = true;
    this.wake();
    this.#batch = [];
    this.#run.left(this);
  }

  #take(): StreamPiece | undefined {
    if (this.#over) return undefined;
    if (this.#phase !== this.#run.phase) {
      this.#phase = this.#run.phase;
      return this.#json(FRAME.started, this.#run.started());
    }
    const piece = this.#batch[this.#at];
    if (piece === undefined) return undefined;
    this.#at += 1;
    this.#cursor = piece.cursor;
    this.#run.taken();
    return piece;
  }

  #json(type: number, data: object): StreamPiece {
    return { type, bytes: Buffer.from(JSON.stringify(data)), cursor: this.#cursor };
  }
}
