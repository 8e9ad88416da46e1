import { randomInt } from 'node:crypto';
import { isIP } from 'node:net';

import type { Clock, Timer } from '../kernel/clock.ts';
import { unmapped } from '../kernel/unmapped.ts';
import { LoopsyError } from '../protocol/errors.ts';

/** How a turnstile is made. */
export interface TurnstileOptions {
  readonly clock: Clock;
  /** Between two turns of anyone, ms. */
  readonly spacingMs: number;
  /** Between two turns of one source, ms. */
  readonly sourceSpacingMs: number;
  /** When there is room for one more (monotonic ms), beside the spacing. */
  readonly roomAtMs?: () => number;
  readonly random?: (limit: number) => number;
}

interface Source {
  turns: number;
  readyAtMs: number;
}

interface Waiter {
  readonly admit: () => void;
  readonly refuse: (error: LoopsyError) => void;
  readonly giveUp: Timer;
}

/** As many as strangers may have connections. */
const MAX_WAITING = 256;
/** Below the 10 s that a request may take. */
const MAX_WAIT_MS = 8000;
const MAX_SOURCES = 4096;

/**
 * Lets requests through one after the other, so that many who push can't keep one away: of all sources that wait, one
 * of those that had the fewest turns is next, by lot.
 */
export class Turnstile {
  readonly #options: TurnstileOptions;
  readonly #random: (limit: number) => number;
  /** In the order of their last turn. */
  readonly #sources = new Map<string, Source>();
  readonly #waiting = new Map<string, Waiter>();
  #freeAtMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(options: TurnstileOptions) {
    this.#options = options;
    this.#random = options.random ?? ((limit) => randomInt(limit));
  }

  /**
   * Resolves when it is this source's turn.
   * @throws {LoopsyError} `rate_limited`, with `details.retryAfterMs`: the source was here just now, or waits already,
   *   or its turn did not come within 8 s.
   */
  async turn(source: string): Promise<void> {
    const now = this.#now();
    const readyAtMs = this.#sources.get(source)?.readyAtMs ?? now;
    if (readyAtMs > now) throw tooMany(readyAtMs - now);
    if (this.#waiting.has(source) || this.#waiting.size >= MAX_WAITING) throw tooMany(this.#options.sourceSpacingMs);
    if (this.#waiting.size === 0 && this.#readyAtMs() <= now) return this.#count(source);
    return new Promise((admit, refuse) => {
      const giveUp = this.#options.clock.after(MAX_WAIT_MS, () => this.#leave(source)?.refuse(tooMany(1000)));
      this.#waiting.set(source, { admit, refuse, giveUp });
      this.#schedule();
    });
  }

  /** This source gets no turn for a while; where it waits, it is sent away. */
  penalise(source: string, ms: number): void {
    this.#leave(source)?.refuse(tooMany(ms));
    const { turns } = this.#sources.get(source) ?? { turns: 0 };
    this.#remember(source, { turns, readyAtMs: this.#now() + ms });
  }

  /** Sends all who wait away. */
  clear(error: LoopsyError): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const source of [...this.#waiting.keys()]) this.#leave(source)?.refuse(error);
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }

  #readyAtMs(): number {
    return Math.max(this.#freeAtMs, this.#options.roomAtMs?.() ?? this.#freeAtMs);
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#waiting.size === 0) return;
    this.#timer = this.#options.clock.after(Math.max(1, this.#readyAtMs() - this.#now()), () => {
      this.#timer = undefined;
      if (this.#readyAtMs() <= this.#now()) this.#admitOne();
      this.#schedule();
    });
  }

  #admitOne(): void {
    // All who waited may have been sent away meanwhile.
    if (this.#waiting.size === 0) return;
    const turnsOf = (source: string): number => this.#sources.get(source)?.turns ?? 0;
    const waiting = [...this.#waiting.keys()];
    const fewest = Math.min(...waiting.map(turnsOf));
    const next = waiting.filter((source) => turnsOf(source) === fewest);
    const source = next[this.#random(next.length)];
    if (source === undefined) return;
    const waiter = this.#leave(source);
    this.#count(source);
    waiter?.admit();
  }

  #leave(source: string): Waiter | undefined {
    const waiter = this.#waiting.get(source);
    this.#waiting.delete(source);
    waiter?.giveUp.cancel();
    return waiter;
  }

  #count(source: string): void {
    const now = this.#now();
    this.#freeAtMs = now + this.#options.spacingMs;
    const turns = (this.#sources.get(source)?.turns ?? 0) + 1;
    this.#remember(source, { turns, readyAtMs: now + this.#options.sourceSpacingMs });
  }

  #remember(name: string, source: Source): void {
    this.#sources.delete(name);
    this.#sources.set(name, source);
    const [oldest] = this.#sources.keys();
    if (this.#sources.size > MAX_SOURCES && oldest !== undefined) this.#sources.delete(oldest);
  }
}

const tooMany = (retryAfterMs: number): LoopsyError =>
  new LoopsyError('rate_limited', {
    message: 'too many machines try to pair here, or this one too often',
    details: { retryAfterMs: Math.ceil(retryAfterMs) },
  });

/**
 * What a request's address counts as: an IPv4 address, the /64 of an IPv6 one, and one bucket for all whose address
 * is not known (a link over a Duplex): unknown is never local.
 */
export const sourceOf = (address: string | undefined): string => {
  const plain = unmapped(address ?? '').replace(/%.*$/, '');
  const family = isIP(plain);
  if (family === 0) return 'unknown';
  return family === 4 ? plain : `${networkOf(plain)}::/64`;
};

/** The first four groups of an IPv6 address. */
const networkOf = (address: string): string => {
  // One form for each address: no leading zeros, no dotted tail.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const [front, back] = [groups(head), groups(tail ?? '')];
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => '0');
  return [...front, ...zeros, ...back].slice(0, 4).join(':');
};
