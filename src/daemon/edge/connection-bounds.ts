import type { Clock } from '../../kernel/clock.ts';

/** Where a connection comes from. */
export interface Origin {
  readonly address: string | undefined;
  readonly loopback: boolean;
}

/** How many connections, and how many handshakes, the node bears. */
export interface ConnectionLimits {
  /** Connections of one strange address, and of all of them together. */
  readonly perStranger: number;
  readonly strangers: number;
  /** The same for addresses of known peers, before they have shown who they are. */
  readonly perKnown: number;
  readonly known: number;
  /** Connections over loopback that showed no token. */
  readonly loopback: number;
  /** Connections of one caller that showed who it is. */
  readonly perCaller: number;
  /** TLS handshakes a second, of all addresses off loopback. A fifth is kept for known ones. */
  readonly handshakesPerSecond: number;
  /** How long an address that was refused a handshake is not heard at all. */
  readonly penaltyMs: number;
  /** The most addresses that are remembered so; the oldest go. */
  readonly penaltyBox: number;
}

/** As SECURITY.md promises them: what a stranger can hold is little, and not for long. */
export const CONNECTION_LIMITS: ConnectionLimits = {
  perStranger: 8,
  strangers: 256,
  perKnown: 32,
  known: 256,
  loopback: 256,
  perCaller: 512,
  handshakesPerSecond: 50,
  penaltyMs: 10_000,
  penaltyBox: 1024,
};

/** What one connection counts against. */
export interface Seat {
  counters: readonly string[];
}

type Bound = readonly [counter: string, limit: number];

/** Decides which connections may stay. Holds counts only: at most one for each connection, and the penalty box. */
export class ConnectionBounds {
  readonly #limits: ConnectionLimits;
  readonly #clock: Clock;
  readonly #isKnown: (address: string) => boolean;
  readonly #counts = new Map<string, number>();
  readonly #penalties = new Map<string, number>();
  #handshakes: number;
  #refilledAt: number;

  constructor(limits: ConnectionLimits, clock: Clock, isKnown: (address: string) => boolean) {
    this.#limits = limits;
    this.#clock = clock;
    this.#isKnown = isKnown;
    this.#handshakes = limits.handshakesPerSecond;
    this.#refilledAt = clock.monotonicMs();
  }

  /** A seat for a new connection; `undefined` where there is none. */
  admit(origin: Origin): Seat | undefined {
    if (!origin.loopback && this.#isPenalised(origin)) return undefined;
    return this.#take(this.#boundsOf(origin));
  }

  /** Moves a connection to the bound of the caller that it has shown to be. False, and nothing changes, when full. */
  promote(seat: Seat, caller: string): boolean {
    const moved = this.#take([[`caller ${caller}`, this.#limits.perCaller]]);
    if (moved === undefined) return false;
    this.leave(seat);
    seat.counters = moved.counters;
    return true;
  }

  /** Gives a seat back. */
  leave(seat: Seat): void {
    for (const counter of seat.counters) {
      const left = (this.#counts.get(counter) ?? 1) - 1;
      if (left === 0) this.#counts.delete(counter);
      else this.#counts.set(counter, left);
    }
    seat.counters = [];
  }

  /** May this origin begin a TLS handshake now? A strange address that may not is not heard for a while. */
  mayHandshake(origin: Origin): boolean {
    if (origin.loopback) return true;
    this.#refillHandshakes();
    const known = this.#knows(origin);
    const reserve = known ? 0 : Math.floor(this.#limits.handshakesPerSecond / 5);
    if (this.#handshakes >= 1 + reserve) {
      this.#handshakes -= 1;
      return true;
    }
    if (!known) this.#penalise(origin);
    return false;
  }

  #boundsOf(origin: Origin): Bound[] {
    const { perStranger, strangers, perKnown, known, loopback } = this.#limits;
    if (origin.loopback) return [['loopback', loopback]];
    if (this.#knows(origin))
      return [
        ['known', known],
        [`known ${origin.address}`, perKnown],
      ];
    return [
      ['strangers', strangers],
      [`stranger ${addressKey(origin)}`, perStranger],
    ];
  }

  #take(bounds: readonly Bound[]): Seat | undefined {
    if (bounds.some(([counter, limit]) => (this.#counts.get(counter) ?? 0) >= limit)) return undefined;
    for (const [counter] of bounds) this.#counts.set(counter, (this.#counts.get(counter) ?? 0) + 1);
    return { counters: bounds.map(([counter]) => counter) };
  }

  #knows(origin: Origin): boolean {
    return origin.address !== undefined && this.#isKnown(origin.address);
  }

  #refillHandshakes(): void {
    const now = this.#clock.monotonicMs();
    const rate = this.#limits.handshakesPerSecond;
    this.#handshakes = Math.min(rate, this.#handshakes + ((now - this.#refilledAt) * rate) / 1000);
    this.#refilledAt = now;
  }

  #isPenalised(origin: Origin): boolean {
    const until = this.#penalties.get(addressKey(origin));
    if (until === undefined) return false;
    if (until > this.#clock.monotonicMs() && !this.#knows(origin)) return true;
    this.#penalties.delete(addressKey(origin));
    return false;
  }

  #penalise(origin: Origin): void {
    const [oldest] = this.#penalties.keys();
    if (oldest !== undefined && this.#penalties.size >= this.#limits.penaltyBox) this.#penalties.delete(oldest);
    this.#penalties.set(addressKey(origin), this.#clock.monotonicMs() + this.#limits.penaltyMs);
  }
}

/** Whatever has no address shares one bound. */
const addressKey = (origin: Origin): string => origin.address ?? 'unknown';
