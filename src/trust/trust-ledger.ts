import type { Clock, Timer } from '../kernel/clock.ts';
import { randomHex } from '../kernel/ids.ts';
import { diffStates, expiriesOf, type TrustChange } from './trust-changes.ts';
import type { EditBase, Plan, TrustRecordChange } from './trust-edits.ts';
import { KEYS, type Machine } from './trust-records.ts';
import {
  buildState,
  type ParsedRecords,
  type TrustConfig,
  type TrustEntry,
  type TrustProblem,
  type TrustState,
} from './trust-state.ts';

/** What is needed of a durable store: a `Store` fits. */
export interface TrustStore {
  get(key: string): { readonly revision: number } | undefined;
  list(query: { readonly prefix: string; readonly after?: string; readonly limit: number }): readonly TrustEntry[];
  commit(changes: readonly (TrustRecordChange & { readonly ifRevision?: number })[]): Promise<number>;
  onForeignChange(listener: () => void): () => void;
}

/** The part of the configuration that trusts, always as it is now. */
export interface LiveTrustConfig {
  current(): TrustConfig;
  onChange(listener: () => void): () => void;
}

/** What a ledger is made of. */
export interface LedgerParts {
  readonly store: TrustStore;
  /** This machine. */
  readonly own: Machine;
  readonly config: LiveTrustConfig;
  /** What means this node itself now: no peer is called so. */
  readonly ownNames: () => readonly string[];
  readonly clock: Clock;
  /** Called once for each new problem. */
  readonly report: (problem: TrustProblem) => void;
}

const PAGE = 1000;
const MAX_ATTEMPTS = 10;
const BOOK = 'trust.db';
/** Wall clocks jump: an expiry is looked for at least this often. */
const EXPIRY_CHECK_MS = 60_000;

/** The store's room is not ours to import: its error is known by name. */
const isConflict = (error: unknown): boolean => error instanceof Error && error.name === 'StoreConflict';

/**
 * Keeps the state in memory true to what is stored and configured, one edit after another, across processes, and
 * tells listeners what each new state changes.
 */
export class TrustLedger {
  readonly #parts: LedgerParts;
  readonly #parsed: ParsedRecords = new Map();
  /** Records that hold already while they are on their way to the disk. */
  readonly #ahead = new Map<string, TrustEntry>();
  readonly #listeners = new Set<(changes: readonly TrustChange[]) => void>();
  readonly #unsubscribe: readonly (() => void)[];
  #state: TrustState;
  #reported = new Set<string>();
  /** What the disk refuses, by record: true until it no longer does. */
  readonly #faults = new Map<string, TrustProblem>();
  #edits: Promise<unknown> = Promise.resolve();
  #expiriesSeenAt: number;
  #expiryTimer: Timer | undefined;

  /** @throws the store's error where it can't be read. */
  constructor(parts: LedgerParts) {
    this.#parts = parts;
    this.#expiriesSeenAt = parts.clock.now();
    this.#state = this.#load();
    this.#reportProblems();
    this.#watchExpiries();
    const refresh = (): void => this.#refreshOrReport();
    this.#unsubscribe = [parts.store.onForeignChange(refresh), parts.config.onChange(refresh)];
  }

  get state(): TrustState {
    return this.#state;
  }

  /** All that a person has to know now. */
  get problems(): readonly TrustProblem[] {
    return [...this.#state.problems, ...this.#faults.values()];
  }

  /** Calls `listener` after each change, with all that it touches. Returns the way to stop it. */
  onChange(listener: (changes: readonly TrustChange[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Carries out one edit: planned on the newest state, stored, in force when it resolves with the plan's result.
   * Planned anew where another process was faster.
   */
  edit<Result>(plan: (base: EditBase) => Plan<Result>): Promise<Result> {
    const edited = this.#edits.then(() => this.#commit(plan));
    this.#edits = edited.catch(() => undefined);
    return edited;
  }

  /** Stores one record that holds from now on, whenever the disk has it. */
  putAhead(key: string, value: string): void {
    this.#ahead.set(key, { key, value, revision: -1 });
    this.#refreshOrReport();
    this.edit(() => [undefined, [{ put: key, value }]]).then(
      () => {
        this.#ahead.delete(key);
        this.#faults.delete(key);
      },
      (error: unknown) => this.#reportFault(key, `${key} is not on disk: ${String(error)}`),
    );
  }

  /** Waits for the edits under way, then ends timers and subscriptions. The store stays open: it is not ours. */
  async close(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    await this.#edits;
    this.#expiryTimer?.cancel();
    this.#listeners.clear();
  }

  async #commit<Result>(plan: (base: EditBase) => Plan<Result>): Promise<Result> {
    const { store, config, own, ownNames, clock } = this.#parts;
    for (let attempt = 1; ; attempt += 1) {
      // Read before the records: whatever another process changes from here on makes the commit fail.
      const seen = store.get(KEYS.book)?.revision ?? 0;
      this.#refresh();
      const [result, changes] = plan({
        state: this.#state,
        config: config.current(),
        own,
        ownNames: ownNames(),
        now: clock.now(),
      });
      try {
        await store.commit([...changes, { put: KEYS.book, value: randomHex(8), ifRevision: seen }]);
        this.#refresh();
        return result;
      } catch (error) {
        if (!isConflict(error) || attempt === MAX_ATTEMPTS) throw error;
      }
    }
  }

  #load(): TrustState {
    const entries = new Map(this.#ahead);
    let page: readonly TrustEntry[] = [];
    do {
      const after = page.at(-1)?.key;
      page = this.#parts.store.list({ prefix: '', limit: PAGE, ...(after === undefined ? {} : { after }) });
      for (const entry of page) entries.set(entry.key, entry);
      // A page may be cut before it is full.
    } while (page.length > 0);
    const { config, own } = this.#parts;
    return buildState({ entries: [...entries.values()], config: config.current(), own, parsed: this.#parsed });
  }

  #refresh(): void {
    const before = this.#state;
    this.#state = this.#load();
    this.#reportProblems();
    this.#tell(diffStates(before, this.#state));
    this.#watchExpiries();
  }

  #watchExpiries(): void {
    const { clock } = this.#parts;
    const now = clock.now();
    const { ended, nextAt } = expiriesOf(this.#state, Math.min(this.#expiriesSeenAt, now), now);
    this.#expiriesSeenAt = now;
    this.#expiryTimer?.cancel();
    const waitMs = Math.min(nextAt - now, EXPIRY_CHECK_MS);
    this.#expiryTimer = nextAt === Infinity ? undefined : clock.after(waitMs, () => this.#watchExpiries());
    this.#tell(ended);
  }

  #tell(changes: readonly TrustChange[]): void {
    if (changes.length === 0) return;
    for (const listener of this.#listeners) {
      try {
        listener(changes);
      } catch (error) {
        this.#report({
          kind: 'listener',
          about: changes[0]?.caller ?? '',
          message: `a change of trust was not acted on: ${String(error)}`,
          fix: 'loopsy restart',
        });
      }
    }
  }

  /** Where the store can't be read, what was known stays in force. */
  #refreshOrReport(): void {
    try {
      this.#refresh();
      this.#faults.delete(BOOK);
    } catch (error) {
      this.#reportFault(BOOK, `trust.db can not be read: ${String(error)}; what was known stays in force`);
    }
  }

  #reportFault(about: string, message: string): void {
    const fault = {
      kind: 'store',
      about,
      message,
      fix: 'is the disk full, or read-only? `loopsy logs --node` says more',
    } as const;
    this.#faults.set(about, fault);
    this.#report(fault);
  }

  #reportProblems(): void {
    const reported = this.#reported;
    this.#reported = new Set(this.#state.problems.map(({ message }) => message));
    for (const problem of this.#state.problems) if (!reported.has(problem.message)) this.#report(problem);
  }

  #report(problem: TrustProblem): void {
    this.#parts.report(problem);
  }
}
