import type { ParsedInputOf } from '../../protocol/operations.ts';
import type { Seen, Store } from '../../store/store.ts';
import type { ToWall } from '../../store/wall-time.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { Shares } from '../../trust/shares.ts';
import type { StreamSource } from '../edge/call.ts';
import { Allowance } from './allowance.ts';
import { itemOf } from './pieces.ts';
import { Recent } from './recent.ts';
import { Watcher } from './watcher.ts';

/** What watchers need. */
export interface WatchersParts {
  readonly store: Store;
  readonly toWall: ToWall;
}

/** What readers of one caller have in hand, beside what is kept of late. */
const MAX_IN_HAND = 16 * 1_048_576;

const SHARES = { what: 'watches of the context', each: 256, owner: 4096 };

/** Everybody who watches the context, and what has happened of late. */
export class Watchers {
  readonly #parts: WatchersParts;
  readonly #recent = new Recent();
  readonly #byKey = new Map<string, Set<Watcher>>();
  readonly #byPrefix = new Set<Watcher>();
  readonly #shares = new Shares(SHARES);
  /** Of each caller that watches something. */
  readonly #inHand = new Map<string, { readonly allowance: Allowance; watches: number }>();

  constructor(parts: WatchersParts) {
    this.#parts = parts;
  }

  /** All changes from here on will be told. */
  begin(): void {
    this.#recent.begin(this.#parts.store.revision);
  }

  stop(): void {
    for (const watcher of [...this.#byPrefix, ...[...this.#byKey.values()].flatMap((of) => [...of])]) watcher.close();
  }

  /** A change has become true. */
  tell(seen: Seen): void {
    const item = itemOf(seen, this.#parts.toWall);
    const place = this.#recent.add(item);
    for (const watcher of this.#byKey.get(item.key) ?? []) watcher.offer(place);
    for (const watcher of this.#byPrefix) if (item.key.startsWith(watcher.prefix)) watcher.offer(place);
  }

  /** @throws {LoopsyError} `too_many_streams`. */
  follow({ key, prefix = '', since }: ParsedInputOf<'context.watch'>, caller: Caller): StreamSource {
    const release = this.#shares.take(caller);
    const watcher: Watcher = new Watcher({
      store: this.#parts.store,
      toWall: this.#parts.toWall,
      recent: this.#recent,
      allowance: this.#allowanceOf(callerName(caller)),
      prefix: key ?? prefix,
      isOneKey: key !== undefined,
      since,
      onClose: () => {
        of.delete(watcher);
        if (key !== undefined && of.size === 0) this.#byKey.delete(key);
        this.#leave(callerName(caller));
        release();
      },
    });
    const of = this.#setFor(key);
    of.add(watcher);
    return watcher;
  }

  #allowanceOf(caller: string): Allowance {
    const known = this.#inHand.get(caller) ?? { allowance: new Allowance(MAX_IN_HAND), watches: 0 };
    known.watches += 1;
    this.#inHand.set(caller, known);
    return known.allowance;
  }

  #leave(caller: string): void {
    const known = this.#inHand.get(caller);
    if (known === undefined) return;
    known.watches -= 1;
    if (known.watches === 0) this.#inHand.delete(caller);
  }

  #setFor(key: string | undefined): Set<Watcher> {
    if (key === undefined) return this.#byPrefix;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const made = new Set<Watcher>();
    this.#byKey.set(key, made);
    return made;
  }
}
