import type { Clock } from '../kernel/clock.ts';
import { withTimeLimit } from '../kernel/sleep.ts';
import { LoopsyError } from '../protocol/errors.ts';

/** What a pace is made of. */
export interface PaceParts {
  readonly clock: Clock;
  /** Ends each wait. */
  readonly signal: AbortSignal;
  /** A wait begins; each is one for all. */
  readonly onWait: (refusal: LoopsyError) => void;
}

/** A longer wait is no matter of a rate. */
const MAX_WAIT_MS = 120_000;

/**
 * Asks as fast as a node takes it: what it refuses for its rate is asked again when it says. From then on one is asked
 * after the other, since many that wait for the same moment would be refused again, all but one.
 */
export class Pace {
  readonly #parts: PaceParts;
  #isFull = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: PaceParts) {
    this.#parts = parts;
  }

  /** @throws what `ask` throws, but for `rate_limited`; and the signal's reason. */
  async run<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#isFull) return this.#inTurn(ask);
    try {
      return await ask();
    } catch (thrown) {
      if (waitOf(thrown) === undefined) throw thrown;
      // Those that were asked at the same time come to their turn as well, and meet the wait of the first.
      this.#isFull = true;
      return this.#inTurn(ask);
    }
  }

  #inTurn<T>(ask: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#untilTaken(ask));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #untilTaken<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      this.#parts.signal.throwIfAborted();
      try {
        return await ask();
      } catch (thrown) {
        const waitMs = waitOf(thrown);
        if (waitMs === undefined) throw thrown;
        this.#parts.onWait(thrown as LoopsyError);
        await this.#wait(waitMs);
      }
    }
  }

  async #wait(waitMs: number): Promise<void> {
    const { clock, signal } = this.#parts;
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
    await withTimeLimit(ended, waitMs, clock);
    signal.removeEventListener('abort', end);
  }
}

const waitOf = (thrown: unknown): number | undefined => {
  if (!(thrown instanceof LoopsyError) || thrown.error !== 'rate_limited') return undefined;
  const waitMs = Number(thrown.details?.['retryAfterMs'] ?? Number.NaN);
  return waitMs <= MAX_WAIT_MS ? Math.max(1, waitMs) : undefined;
};
