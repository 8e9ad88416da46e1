import { FRAME } from '../../protocol/frames.ts';
import type { StreamPiece, StreamSource } from '../edge/call.ts';
import { type FrameSource, StreamCut } from '../edge/frame-source.ts';

/** How a stream goes on, and what follows when its reader is done. */
export interface ResumeWays {
  readonly reopen: (cursor: number) => Promise<FrameSource>;
  readonly leave: () => void;
}

/** A stream that goes on where it was cut, without a gap and without a repetition. */
export class ResumedSource implements StreamSource {
  #source: FrameSource;
  readonly #ways: ResumeWays;
  #started = false;
  #closed = false;

  constructor(source: FrameSource, ways: ResumeWays) {
    this.#source = source;
    this.#ways = ways;
  }

  async next(): Promise<StreamPiece | undefined> {
    for (;;) {
      try {
        const piece = await this.#source.next();
        if (piece === undefined || !this.#isRepeatedStart(piece)) return piece;
      } catch (error) {
        if (this.#closed || !(error instanceof StreamCut)) throw error;
        const source = await this.#ways.reopen(error.cursor);
        this.#source = source;
        if (this.#closed) source.close();
      }
    }
  }

  close(): void {
    this.#closed = true;
    this.#source.close();
    this.#ways.leave();
  }

  /** Each stretch begins with `started`; the reader has seen the first. */
  #isRepeatedStart(piece: StreamPiece): boolean {
    if (piece.type !== FRAME.started) return false;
    const repeated = this.#started;
    this.#started = true;
    return repeated;
  }
}
