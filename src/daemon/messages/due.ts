import type { Clock, Timer } from '../../kernel/clock.ts';
import { nextTurn } from '../../kernel/turn.ts';
import type { Entry, Store } from '../../store/store.ts';

/** What watches entries whose time comes. */
export interface DueParts {
  readonly store: Store;
  readonly clock: Clock;
  /** Which entries; their values begin with the time, by the store's clock. */
  readonly prefix: string;
  /** Called with those whose time has come: afterwards they are gone, or will be asked for again. */
  readonly settle: (entries: readonly Entry[]) => Promise<void>;
  readonly onError: (error: unknown) => void;
}

const PAGE = 200;
/** While the machine sleeps some clocks stand still: the time is looked at again by then. */
const LONGEST_MS = 60_000;
/** Where settling failed, or left something. */
const AGAIN_MS = 1000;
/** Looking takes longer the more there is: of all time it takes at most so small a part. */
const REST = 50;
/** A look in the middle of which the machine slept has not taken that long. */
const MOST_REST_MS = 600_000;

/** The time in an entry's value. */
export const dueIn = ({ value }: Pick<Entry, 'value'>): number => Number.parseInt(value, 10);

/** True where its time has come, whether it could be settled or not. */
export const isDue = (entry: Pick<Entry, 'value'>, now: number): boolean => dueIn(entry) <= now;

/** Settles entries when their time has come: all are read then, and only then. */
export class Due {
  readonly #parts: DueParts;
  #timer: Timer | undefined;
  #at = Infinity;
  #stopped = false;
  #sweeping: Promise<void> = Promise.resolve();
  /** What could not be settled, as on a full disk: how many, by their keys without the last part. */
  #left: ReadonlyMap<string, number> = new Map();

  constructor(parts: DueParts) {
    this.#parts = parts;
  }

  /** Looks now, and knows from then on what is due. */
  start(): void {
    this.#sweeping = this.#sweep();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#sweeping;
  }

  /** Something will be due at this time. */
  expect(at: number): void {
    if (at >= this.#at || this.#stopped) return;
    this.#at = at;
    this.#arm();
  }

  /** How many entries are there still whose time has come: below a key, or all. */
  left(folder?: string): number {
    if (folder !== undefined) return this.#left.get(folder) ?? 0;
    return [...this.#left.values()].reduce((sum, count) => sum + count, 0);
  }

  #arm(): void {
    this.#timer?.cancel();
    const { clock, store } = this.#parts;
    const ms = Math.max(0, this.#at - store.now());
    this.#timer = clock.after(Math.min(LONGEST_MS, ms), () => {
      if (this.#at > store.now()) this.#arm();
      else this.#sweeping = this.#sweep();
    });
  }

  async #sweep(): Promise<void> {
    const { store, clock, prefix, onError } = this.#parts;
    const left = new Map<string, number>();
    const begun = clock.monotonicMs();
    this.#at = Infinity;
    let next = Infinity;
    try {
      for (let after = ''; !this.#stopped;) {
        const page = store.list({ prefix, limit: PAGE, ...(after === '' ? {} : { after }) });
        const last = page.at(-1);
        if (last === undefined) break;
        after = last.key;
        const due = page.filter((entry) => isDue(entry, store.now()));
        for (const entry of page) next = Math.min(next, dueIn(entry));
        await this.#settle(due, left);
        await nextTurn();
      }
      this.#left = left;
    } catch (error) {
      next = 0;
      onError(error);
    }
    const restMs = Math.min(MOST_REST_MS, Math.max(AGAIN_MS, REST * (clock.monotonicMs() - begun)));
    this.expect(Math.max(next, store.now() + restMs));
  }

  /** Behind the first failure the rest is only counted: the next sweep tries again. */
  async #settle(due: readonly Entry[], left: Map<string, number>): Promise<void> {
    const { settle, onError } = this.#parts;
    if (due.length === 0) return;
    try {
      if (left.size === 0) return await settle(due);
    } catch (error) {
      onError(error);
    }
    for (const { key } of due) {
      const folder = key.slice(0, key.lastIndexOf('/') + 1);
      left.set(folder, (left.get(folder) ?? 0) + 1);
    }
    return undefined;
  }
}
