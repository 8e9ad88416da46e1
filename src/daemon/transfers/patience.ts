import type { Clock } from '../../kernel/clock.ts';
import { pause } from '../../kernel/sleep.ts';
import { LoopsyError } from '../../protocol/errors.ts';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;
/** What is over sooner is a cut, and no absence: nobody needs to hear of it. */
const NOTICED_MS = 1000;

/** Errors of a node that is away, or of a connection that broke: trying again may help. */
const AWAY: ReadonlySet<string> = new Set([
  'peer_unreachable',
  'peer_offline',
  'outcome_unknown',
  'request_timeout',
  'node_stopping',
  'execution_cancelled',
  'rate_limited',
]);
/** An end has forgotten what was open: its node was started anew, or nobody asked for long. */
const FORGOTTEN = 'transfer_not_found';

/** True for what a later attempt may not meet any more. */
export const isAway = (thrown: unknown): boolean => thrown instanceof LoopsyError && AWAY.has(thrown.error);

/** True where both ends have to be opened anew. */
export const isForgotten = (thrown: unknown): boolean => thrown instanceof LoopsyError && thrown.error === FORGOTTEN;

/** What tells how long to wait, and who is told of it. */
export interface PatienceParts {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** How long a node may be away, ms. */
  readonly patienceMs: number;
  /** Told why it waits; undefined: it does no more. */
  readonly onWaiting: (why: LoopsyError | undefined) => void;
}

/** What lies between two attempts. */
export interface Pauses {
  /** Waits for the next attempt. @throws what is no absence, or has lasted too long. */
  endure(thrown: unknown): Promise<void>;
}

/** What was heard of the other node. */
interface Heard {
  contactMs: number;
  contacts: number;
  /** When it failed for the first time after the last contact. */
  failedMs?: number | undefined;
}

/** Does things again while a node is away: for as long as nothing was heard of it within its patience. */
export class Patience {
  readonly #parts: PatienceParts;
  readonly #heard: Heard;

  constructor(parts: PatienceParts, heard: Heard = { contactMs: parts.clock.monotonicMs(), contacts: 0 }) {
    this.#parts = parts;
    this.#heard = heard;
  }

  /** The same patience for what ends with `signal`: one attempt of several. */
  within(signal: AbortSignal): Patience {
    return new Patience({ ...this.#parts, signal }, this.#heard);
  }

  /** Something worked. */
  contact(): void {
    this.#heard.contacts += 1;
    this.#heard.contactMs = this.#parts.clock.monotonicMs();
    this.#heard.failedMs = undefined;
    this.#parts.onWaiting(undefined);
  }

  /** Does it, and again while the connection breaks. @throws what is no absence, or has lasted too long. */
  async persist<T>(attempt: () => Promise<T>): Promise<T> {
    for (const pauses = this.pauses(); ;) {
      this.#parts.signal.throwIfAborted();
      try {
        const answer = await attempt();
        this.contact();
        return answer;
      } catch (thrown) {
        await pauses.endure(thrown);
      }
    }
  }

  /** Pauses between attempts at one thing, each longer than the last until something works. */
  pauses(): Pauses {
    let pauseMs = FIRST_PAUSE_MS;
    let { contacts } = this.#heard;
    return {
      endure: async (thrown) => {
        this.#parts.signal.throwIfAborted();
        if (!isAway(thrown)) throw thrown;
        if (contacts !== this.#heard.contacts) pauseMs = FIRST_PAUSE_MS;
        ({ contacts } = this.#heard);
        await this.#wait(thrown, pauseMs);
        pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
      },
    };
  }

  /** The same for all of a movement, which also begins anew where an end has forgotten it. */
  async restart(attempt: () => Promise<void>, onRestart: () => void): Promise<void> {
    for (;;) {
      try {
        return await attempt();
      } catch (thrown) {
        this.#parts.signal.throwIfAborted();
        if (!isForgotten(thrown) && !isAway(thrown)) throw thrown;
        await this.#wait(thrown, LONGEST_PAUSE_MS / 4);
        onRestart();
      }
    }
  }

  /** @throws `why` where it has lasted too long; the signal's reason where nobody wants it any more. */
  async #wait(why: unknown, pauseMs: number): Promise<void> {
    const { clock, signal, patienceMs, onWaiting } = this.#parts;
    const retryAfterMs = why instanceof LoopsyError ? Number(why.details?.['retryAfterMs'] ?? 0) : 0;
    const now = clock.monotonicMs();
    if (retryAfterMs === 0 && now - this.#heard.contactMs > patienceMs) throw why;
    this.#heard.failedMs ??= now;
    const isLong = Math.max(retryAfterMs, now - this.#heard.failedMs) >= NOTICED_MS;
    if (isLong && why instanceof LoopsyError && isAway(why)) onWaiting(why);
    await pause(Math.max(pauseMs, retryAfterMs), { clock, signal });
    signal.throwIfAborted();
  }
}
