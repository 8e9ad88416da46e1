import type { Clock } from '../../kernel/clock.ts';
import { pause } from '../../kernel/sleep.ts';
import type { PairingParty } from '../../trust/pairing-party.ts';
import { pollDelayMs } from '../../trust/pairing-party.ts';
import type { Place } from '../../trust/pairing-record.ts';
import { askHost, notMeant } from './ask.ts';

/** What asking again and again needs. */
export interface SettlingParts {
  readonly clock: Clock;
  /** Aborted when the node stops. */
  readonly signal: AbortSignal;
  readonly changed: () => void;
}

/** The host holds an answer for 25 s. */
const HELD_MS = 32_000;
const LAST_WORDS = 3;

/** The joiner's part after the numbers: tells the host what this side said, hears what that side said, until it is over. */
export class Settling {
  readonly #party: PairingParty;
  readonly #place: Place;
  readonly #parts: SettlingParts;
  /** Why the host can't be asked, in its last words; undefined where it can. */
  #trouble: string | undefined;

  constructor(party: PairingParty, place: Place, parts: SettlingParts) {
    this.#party = party;
    this.#place = place;
    this.#parts = parts;
  }

  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Never rejects. */
  async run(): Promise<void> {
    const { clock, signal } = this.#parts;
    let failures = 0;
    let told = '';
    while (!signal.aborted) {
      const message = JSON.stringify(this.#party.request());
      // What leaves last is a no, or that this side trusts; where the host can't be asked, it is not asked for ever.
      if (this.#party.isOver && (told === message || failures >= LAST_WORDS)) return;
      const sentAtMs = clock.monotonicMs();
      const answered = await this.#ask();
      if (answered === 'interrupted') continue;
      if (answered === 'done') told = message;
      failures = answered === 'done' ? 0 : failures + 1;
      if (this.#says() !== message) continue;
      await this.#pause(pollDelayMs({ failures, heldMs: clock.monotonicMs() - sentAtMs }), message);
    }
  }

  #says(): string {
    return JSON.stringify(this.#party.request());
  }

  /** One question. What this side says meanwhile ends it: the host must hear that at once. */
  async #ask(): Promise<'done' | 'failed' | 'interrupted'> {
    const { clock, signal } = this.#parts;
    const message = this.#party.request();
    const before = JSON.stringify(message);
    const stopped = new AbortController();
    const stop = (): void => stopped.abort();
    signal.addEventListener('abort', stop, { once: true });
    const unfollow = this.#party.onChange(() => this.#says() !== before && stop());
    try {
      const { machineId: meant } = this.#party.facts.peer;
      const refuse = (machineId: string) => (machineId === meant ? undefined : notMeant(this.#place));
      const options = { clock, signal: stopped.signal, limitMs: HELD_MS, maxSends: 1, refuse };
      const { body } = await askHost(this.#place, ['pair.settle', message], options);
      unfollow();
      this.#party.takeReply(body);
      this.#note(undefined);
      return 'done';
    } catch (error) {
      if (stopped.signal.aborted) return 'interrupted';
      this.#note(`${error instanceof Error ? error.message : String(error)}; trying again`);
      return 'failed';
    } finally {
      unfollow();
      signal.removeEventListener('abort', stop);
    }
  }

  #note(trouble: string | undefined): void {
    if (this.#trouble === trouble) return;
    this.#trouble = trouble;
    this.#parts.changed();
  }

  /** Until it is time to ask again, or this side has more to say. */
  async #pause(ms: number, message: string): Promise<void> {
    const { clock, signal } = this.#parts;
    if (this.#party.isOver || signal.aborted) return;
    const wake = (end: () => void): (() => void) =>
      this.#party.onChange(() => {
        if (this.#says() !== message || this.#party.isOver) end();
      });
    await pause(Math.max(1, ms), { clock, signal, wake });
  }
}
