import type { Clock } from '../../kernel/clock.ts';
import type { OutputOf } from '../../protocol/operations.ts';
import { Shares } from '../../trust/shares.ts';
import type { Call } from '../edge/call.ts';
import type { Inbox } from './inbox.ts';
import type { Reader } from './readers.ts';

/** What waits for a reader at this moment. */
type Look = () => OutputOf<'message.wait'>;

const SHARES = { what: 'questions for new messages', each: 64, owner: 256 };
const DEFAULT_WAIT_MS = 25_000;

/** Questions for new messages, each held until there is one, so that nobody asks again and again. */
export class Questions {
  readonly #clock: Clock;
  readonly #inbox: Inbox;
  readonly #shares = new Shares(SHARES);
  readonly #stopping = new AbortController();

  constructor(clock: Clock, inbox: Inbox) {
    this.#clock = clock;
    this.#inbox = inbox;
  }

  /** All are answered with what there is. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Answers when there is something, when the time is over, or when nobody waits for the answer any more. */
  async ask(
    look: Look,
    { reader, timeoutMs = DEFAULT_WAIT_MS }: { reader: Reader; timeoutMs: number | undefined },
    { signal, caller }: Call,
  ): Promise<OutputOf<'message.wait'>> {
    const first = look();
    if (first.messages.length > 0 || timeoutMs === 0) return first;
    const release = this.#shares.take(caller);
    const endAtMs = this.#clock.monotonicMs() + timeoutMs;
    const ends = [signal, this.#stopping.signal];
    try {
      for (;;) {
        const found = look();
        const leftMs = endAtMs - this.#clock.monotonicMs();
        if (found.messages.length > 0 || leftMs <= 0 || ends.some(({ aborted }) => aborted)) return found;
        await this.#arrival(reader, leftMs, ends);
      }
    } finally {
      release();
    }
  }

  #arrival(reader: Reader, ms: number, signals: readonly AbortSignal[]): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        forget();
        for (const signal of signals) signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = this.#clock.after(ms, end);
      const forget = this.#inbox.onArrival(reader, end);
      for (const signal of signals) signal.addEventListener('abort', end, { once: true });
    });
  }
}
