import type { Clock } from '../../kernel/clock.ts';
import type { PairingEffect, PairingParty } from '../../trust/pairing-party.ts';
import type { Wish } from '../../trust/pairing-record.ts';
import { type DriverParts, PartyDriver } from './party-driver.ts';
import { Settling } from './settling.ts';

/** A party that is carried out here. */
export interface Driven {
  readonly driver: PartyDriver;
  /** Of a joiner. */
  readonly settling: Settling | undefined;
  /** Carries it out no more, and asks nobody any more; what is on disk stays. */
  close(): void;
}

/** An end is told to whoever asks for so long: its person, and the other machine. */
export const TOLD_MS = 60_000;
const MAX_PARTIES = 64;

/** All parties from the number on, until their end has been told: by the run's id, on which both machines have a say. */
export class Parties {
  readonly #parts: DriverParts;
  readonly #clock: Clock;
  readonly #all = new Map<string, Driven>();

  constructor(parts: Omit<DriverParts, 'kept'>) {
    this.#parts = { ...parts, kept: (party, effect) => this.#replace(party, effect) };
    this.#clock = parts.clock;
  }

  /** Begins to carry one out; a joiner's asks its host. */
  add(party: PairingParty, standingYes?: Wish): Driven {
    this.prune();
    const { id, place, role } = party.facts;
    const stopped = new AbortController();
    const settling =
      role === 'joiner' && place !== undefined
        ? new Settling(party, place, { ...this.#parts, signal: stopped.signal })
        : undefined;
    const driver = new PartyDriver(party, this.#parts, standingYes);
    const close = (): void => {
      stopped.abort();
      driver.close();
    };
    const driven = { driver, settling, close };
    this.#all.get(id)?.close();
    this.#all.set(id, driven);
    void settling?.run();
    return driven;
  }

  /** The one that a joiner asks about here. */
  hosted(attempt: string): PairingParty | undefined {
    this.prune();
    return this.list()
      .map(({ driver }) => driver.party)
      .find(({ facts }) => facts.role === 'host' && facts.attempt === attempt);
  }

  has({ driver }: Driven): boolean {
    return this.#all.get(driver.party.facts.id)?.driver === driver;
  }

  /** The newest first. */
  list(): Driven[] {
    return [...this.#all.values()].toReversed();
  }

  /** The parties with a machine. */
  with(machineId: string): PairingParty[] {
    return this.list()
      .map(({ driver }) => driver.party)
      .filter(({ facts }) => facts.peer.machineId === machineId);
  }

  /** Carries one out no more, and forgets it. */
  drop({ facts: { id } }: PairingParty): void {
    this.#all.get(id)?.close();
    this.#all.delete(id);
  }

  stop(): void {
    for (const driven of this.#all.values()) driven.close();
    this.#all.clear();
  }

  /** Forgets those whose end has been told long enough; the oldest, where there are too many. */
  prune(): void {
    const now = this.#clock.monotonicMs();
    const ended = this.list()
      .filter(({ driver }) => driver.endedAtMs !== undefined)
      .toReversed();
    const isSurplus = (at: number): boolean => at < this.#all.size - MAX_PARTIES;
    ended.forEach(({ driver }, at) => {
      if (now - (driver.endedAtMs ?? now) >= TOLD_MS || isSurplus(at)) this.drop(driver.party);
    });
  }

  /** What is waited for from before ends with its record: see `planPairing`. */
  #replace(party: PairingParty, effect: PairingEffect['kind']): void {
    if (effect !== 'store' && effect !== 'trust') return;
    for (const other of this.with(party.facts.peer.machineId)) {
      const isReplaced = other.stage === 'pending' || (other.stage === 'trusted' && effect === 'trust');
      if (other !== party && isReplaced) this.drop(other);
    }
  }
}
