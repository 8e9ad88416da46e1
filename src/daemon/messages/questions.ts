import type { Clock } from '../../kernel/clock.ts';
import type { OutputOf } from '../../protocol/operations.ts';
import { Shares } from '../../trust/shares.ts';
import type { Call } from '../edge/call.ts';
import type { Inbox, Waiting } from './inbox.ts';

/** What is asked: whose mail, which of it, and for how long. */
export interface Question extends Pick<Waiting, 'reader' | 'isWanted'> {
  readonly timeoutMs: number | undefined;
  /** What waits at this moment. */
  readonly look: () => Promise<OutputOf<'message.wait'>>;
}

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
    { look, timeoutMs = DEFAULT_WAIT_MS, ...waiting }: Question,
    { signal, caller }: Call,
  ): Promise<OutputOf<'message.wait'>> {
    const first = await look();
    if (first.messages.length > 0 || timeoutMs === 0) return first;
    const release = this.#shares.take(caller);
    const ends = [signal, this.#stopping.signal];
    const call = { isOver: false, hasCome: false, wake: (): void => undefined };
    const end = (): void => {
      call.isOver = true;
      call.wake();
    };
    const come = (): void => {
      call.hasCome = true;
      call.wake();
    };
    const timer = this.#clock.after(timeoutMs, end);
    const forget = this.#inbox.onArrival({ ...waiting, wake: come });
    for (const one of ends) one.addEventListener('abort', end, { once: true });
    try {
      // What came before it was heard of is seen by the next look.
      for (;;) {
        call.hasCome = false;
        const found = await look();
        if (found.messages.length > 0 || call.isOver || ends.some(({ aborted }) => aborted)) return found;
        if (!call.hasCome) await new Promise<void>((resolve) => (call.wake = resolve));
      }
    } finally {
      timer.cancel();
      forget();
      for (const one of ends) one.removeEventListener('abort', end);
      release();
    }
  }
}
