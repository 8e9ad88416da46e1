import type { ParsedInputOf } from '../../protocol/operations.ts';
import type { Seen, Store } from '../../store/store.ts';
import type { Caller } from '../../trust/caller.ts';
import { Shares } from '../../trust/shares.ts';
import type { StreamSource } from '../edge/call.ts';
import { piecesOf } from './pieces.ts';
import type { ToWall } from './record.ts';
import { Recent } from './recent.ts';
import { Watcher } from './watcher.ts';

/** What watchers need. */
export interface WatchersParts {
  readonly store: Store;
  readonly toWall: ToWall;
}

const SHARES = { what: 'watches of the context', each: 256, owner: 4096 };

/** Everybody who watches the context, and what has happened of late. */
export class Watchers {
  readonly #parts: WatchersParts;
  readonly #recent = new Recent();
  readonly #byKey = new Map<string, Set<Watcher>>();
  readonly #byPrefix = new Set<Watcher>();
  readonly #shares = new Shares(SHARES);

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
    const item = piecesOf(seen, this.#parts.toWall);
    this.#recent.add(item);
    for (const watcher of this.#byKey.get(item.key) ?? []) watcher.offer(item);
    for (const watcher of this.#byPrefix) if (item.key.startsWith(watcher.prefix)) watcher.offer(item);
  }

  /** @throws {LoopsyError} `too_many_streams`. */
  follow({ key, prefix = '', since }: ParsedInputOf<'context.watch'>, caller: Caller): StreamSource {
    const release = this.#shares.take(caller);
    const watcher: Watcher = new Watcher({
      store: this.#parts.store,
      toWall: this.#parts.toWall,
      recent: this.#recent,
      prefix: key ?? prefix,
      isOneKey: key !== undefined,
      since,
      onClose: () => {
        of.delete(watcher);
        if (key !== undefined && of.size === 0) this.#byKey.delete(key);
        release();
      },
    });
    const of = this.#setFor(key);
    of.add(watcher);
    return watcher;
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
