import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { type Address, formatAddress } from './dial.ts';
import type { ManualAddress, PeerFactsBook } from './facts.ts';
import type { SeenMachine } from './look.ts';

/** An address that a person named, by a command or in config.yaml. */
export interface ManualEntry extends ManualAddress {
  /** True where it stands under discovery.manualPeers: only a person can take it out. */
  readonly inConfig: boolean;
}

/** What looking for addresses needs. */
export interface ManualParts {
  readonly facts: PeerFactsBook;
  readonly clock: Clock;
  readonly log: Log;
  /** config discovery.manualPeers, as it is now. */
  readonly listed: () => readonly { readonly address: string; readonly port: number }[];
  /** Who is at an address. Nothing is sent there. */
  readonly look: (at: Address) => Promise<SeenMachine>;
  /** Takes over whoever is trusted. */
  readonly meet: (seen: SeenMachine, at: Address) => void;
  /** True where the address is known to be a trusted peer's, which is watched by itself. */
  readonly isMet: (at: Address) => boolean;
  /** True where somebody who is trusted is missing, and may be at any of these addresses. */
  readonly isAwaited: () => boolean;
}

interface Watched {
  readonly at: Address;
  failures: number;
  looking: boolean;
  timer: Timer | undefined;
  /** Who was there at the last look. */
  nodeId: string | undefined;
  /** Why nobody was. */
  reason: string | undefined;
}

/** The pause after a look that found nobody; each further one doubles it. */
const FIRST_PAUSE_MS = 1000;
/** Between two looks at an address where nobody is, or somebody who is not trusted. */
export const LONGEST_PAUSE_MS = 60_000;
/** How many looks are under way at once. */
const LOOKS_AT_ONCE = 8;
const MAX_ADDED = 1000;

const FIRST_TRIES = 6;

/**
 * The addresses that a person named, and who is there: each is looked at until it turns out to be a trusted peer's,
 * every second while one is missing, else more and more rarely.
 */
export class ManualPeers {
  readonly #parts: ManualParts;
  readonly #watched = new Map<string, Watched>();
  readonly #due = new Set<Watched>();
  #looks = 0;
  #stopped = false;

  constructor(parts: ManualParts) {
    this.#parts = parts;
  }

  /** Each address once; what a command added stands first, because it may have a name. */
  entries(): ManualEntry[] {
    const entries = new Map<string, ManualEntry>();
    for (const added of this.#parts.facts.manual())
      entries.set(formatAddress(added.address), { ...added, inConfig: false });
    for (const { address: host, port } of this.#parts.listed()) {
      const at = formatAddress({ host, port });
      entries.set(at, { v: 1, address: { host, port }, ...entries.get(at), inConfig: true });
    }
    return [...entries.values()].map((entry) => {
      const nodeId = this.#watched.get(formatAddress(entry.address))?.nodeId ?? entry.nodeId;
      return { ...entry, ...(nodeId === undefined ? {} : { nodeId }) };
    });
  }

  /** @throws {LoopsyError} `conflict` where there are too many. */
  async add(entry: ManualAddress): Promise<void> {
    const { facts } = this.#parts;
    if (facts.manual().length >= MAX_ADDED) {
      const hint = 'remove some first: `loopsy peers remove <address>`';
      throw new LoopsyError('conflict', { message: `${MAX_ADDED} addresses were added already`, hint });
    }
    await facts.addManual(entry);
    this.refresh();
  }

  async remove(entries: readonly ManualEntry[]): Promise<void> {
    for (const { address } of entries) await this.#parts.facts.removeManual(address);
    this.refresh();
  }

  /** What is listed, who is trusted, or who is there has changed: looks at each address now. */
  refresh(): void {
    const wanted = new Map(this.entries().map(({ address }) => [formatAddress(address), address]));
    for (const [key, watched] of this.#watched) if (!wanted.has(key)) this.#forget(key, watched);
    for (const [key, at] of wanted) {
      const watched = this.#watched.get(key) ?? unseen(at);
      this.#watched.set(key, watched);
      watched.failures = 0;
      this.#schedule(watched, 0);
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const [key, watched] of this.#watched) this.#forget(key, watched);
  }

  #forget(key: string, watched: Watched): void {
    watched.timer?.cancel();
    this.#due.delete(watched);
    this.#watched.delete(key);
  }

  #schedule(watched: Watched, ms: number): void {
    watched.timer?.cancel();
    watched.timer = undefined;
    if (this.#stopped || watched.looking) return;
    if (ms > 0) {
      watched.timer = this.#parts.clock.after(ms, () => this.#schedule(watched, 0));
      return;
    }
    this.#due.add(watched);
    this.#begin();
  }

  #begin(): void {
    for (const watched of this.#due) {
      if (this.#looks >= LOOKS_AT_ONCE) return;
      this.#due.delete(watched);
      void this.#look(watched);
    }
  }

  async #look(watched: Watched): Promise<void> {
    const { look, meet, isMet } = this.#parts;
    const { at } = watched;
    if (isMet(at)) return this.#schedule(watched, LONGEST_PAUSE_MS);
    this.#looks += 1;
    watched.looking = true;
    try {
      const seen = await look(at);
      Object.assign(watched, { nodeId: seen.nodeId, reason: undefined, failures: 0 });
      if (this.#isWatched(watched)) meet(seen, at);
    } catch (error) {
      watched.failures += 1;
      this.#note(watched, error);
    }
    watched.looking = false;
    this.#looks -= 1;
    if (this.#isWatched(watched)) this.#schedule(watched, this.#pauseOf(watched));
    this.#begin();
  }

  #pauseOf({ failures }: Watched): number {
    if (failures === 0) return LONGEST_PAUSE_MS;
    if (this.#parts.isAwaited()) return FIRST_PAUSE_MS;
    return Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, FIRST_TRIES), LONGEST_PAUSE_MS);
  }

  /** Said once for each reason, not at each look. */
  #note(watched: Watched, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (watched.reason === reason || !this.#isWatched(watched)) return;
    watched.reason = reason;
    this.#parts.log.info('manual peer not found', { address: formatAddress(watched.at), reason });
  }

  #isWatched(watched: Watched): boolean {
    return !this.#stopped && this.#watched.get(formatAddress(watched.at)) === watched;
  }
}

const unseen = (at: Address): Watched => ({
  at,
  failures: 0,
  looking: false,
  timer: undefined,
  nodeId: undefined,
  reason: undefined,
});
