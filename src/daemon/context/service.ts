import type { Clock } from '../../kernel/clock.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import { Page } from '../../kernel/page.ts';
import { type ContextEntry, MAX_VALUE_BYTES } from '../../protocol/context.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { rowOf, type OutputOf, type ParsedInputOf } from '../../protocol/operations.ts';
import type { Budget, Seen, Store } from '../../store/store.ts';
import { type ToWall, wallTimeOf } from '../../store/wall-time.ts';
import { StoreConflict, StoreOverBudget } from '../../store/store.ts';
import type { Caller } from '../../trust/caller.ts';
import { decide } from '../../trust/grants.ts';
import type { Call, StreamSource } from '../edge/call.ts';
import type { Publisher } from '../events/bus.ts';
import { authorOf } from './author.ts';
import { diskErrors } from '../storage/disk-errors.ts';
import { ACCOUNTS, encodeRecord, entryOf, headOf, PREFIX } from './record.ts';
import { Watchers } from './watchers.ts';

/** What the context needs. */
export interface ContextOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly nodeId: string;
  readonly events: Publisher;
  /** Config `context`. */
  readonly limits: () => { readonly maxBytes: number; readonly maxBytesPerPeer: number };
}

const DEFAULT_PAGE = 100;

/** The shared keys and values of this node. */
export class Context implements Service {
  readonly name = 'context';
  readonly #options: ContextOptions;
  readonly #toWall: ToWall;
  readonly #watchers: Watchers;
  #unfollow: (() => void) | undefined;

  constructor(options: ContextOptions) {
    this.#options = options;
    this.#toWall = wallTimeOf(options.store, options.clock);
    this.#watchers = new Watchers({ store: options.store, toWall: this.#toWall });
  }

  /** What changes from now on is told to those who watch. */
  async start(): Promise<void> {
    this.#watchers.begin();
    this.#unfollow = this.#options.store.follow(PREFIX, (seen) => this.#seen(seen));
  }

  async stop(): Promise<void> {
    this.#unfollow?.();
    this.#watchers.stop();
  }

  /** How many entries there are. */
  get entries(): number {
    return this.#options.store.usage(ACCOUNTS).entries;
  }

  async set({ key, value, ttl, ifRevision }: ParsedInputOf<'context.set'>, call: Call): Promise<ContextEntry> {
    if (Buffer.byteLength(value) > MAX_VALUE_BYTES) throw tooLarge(key, value);
    const { store, clock, nodeId } = this.#options;
    const now = clock.now();
    const old = store.get(PREFIX + key);
    const author = authorOf(call, nodeId);
    const head = { ...author, createdAt: old === undefined ? now : headOf(old.value).createdAt, updatedAt: now, ttl };
    const expiresAt = ttl === undefined ? undefined : store.now() + ttl * 1000;
    const put = {
      put: PREFIX + key,
      value: encodeRecord(head, value),
      account: accountOf(call.caller),
      ...(expiresAt === undefined ? {} : { expiresAt }),
      ...(ifRevision === undefined ? {} : { ifRevision }),
    };
    const within = this.#budgets(call.caller);
    const revision = await diskErrors('context', () => store.commit([put], { within })).catch((thrown: unknown) => {
      throw this.#explain(thrown, { key, ifRevision });
    });
    const shownUntil = expiresAt === undefined ? undefined : this.#toWall(expiresAt);
    return { key, value, ...head, expiresAt: shownUntil, revision };
  }

  get({ key }: { readonly key: string }): ContextEntry {
    const entry = this.#options.store.get(PREFIX + key);
    if (entry === undefined) throw notFound(key);
    return entryOf(entry, this.#toWall);
  }

  async delete({ key, ifRevision }: ParsedInputOf<'context.delete'>): Promise<OutputOf<'context.delete'>> {
    const { store } = this.#options;
    const old = store.get(PREFIX + key);
    if (old === undefined) throw notFound(key);
    const change = { delete: PREFIX + key, ifRevision: ifRevision ?? old.revision };
    try {
      const revision = await diskErrors('context', () => store.commit([change]));
      return { success: true, key, revision };
    } catch (thrown) {
      // Where nobody asked for a revision, what has come between is deleted, too.
      if (thrown instanceof StoreConflict && ifRevision === undefined) return this.delete({ key });
      throw this.#explain(thrown, { key, ifRevision });
    }
  }

  /** A page, in the order of the keys' bytes. */
  list({ prefix = '', cursor, limit = DEFAULT_PAGE }: ParsedInputOf<'context.list'>): OutputOf<'context.list'> {
    const after = cursor === undefined ? {} : { after: PREFIX + cursor };
    const found = this.#options.store.list({ prefix: PREFIX + prefix, limit, ...after });
    const page = new Page<ContextEntry>({ limit });
    let last: string | undefined;
    for (const stored of found) {
      const entry = entryOf(stored, this.#toWall);
      if (!page.add(entry)) break;
      last = entry.key;
    }
    // An empty list alone is the end.
    return last === undefined ? { entries: [] } : { entries: page.items, nextCursor: last };
  }

  watch(input: ParsedInputOf<'context.watch'>, call: Call): StreamSource {
    return this.#watchers.follow(input, call.caller);
  }

  #budgets(caller: Caller): Budget[] {
    const { maxBytes, maxBytesPerPeer } = this.#options.limits();
    const all = { accounts: ACCOUNTS, maxBytes };
    const hasShare = caller.kind === 'peer' || caller.kind === 'key';
    return hasShare ? [{ accounts: accountOf(caller), maxBytes: maxBytesPerPeer }, all] : [all];
  }

  #explain(thrown: unknown, { key, ifRevision }: { key: string; ifRevision: number | undefined }): unknown {
    if (thrown instanceof StoreConflict) return conflict(key, { wanted: ifRevision, is: thrown.revision });
    if (thrown instanceof StoreOverBudget) return full(thrown);
    return thrown;
  }

  #seen(seen: Seen): void {
    this.#watchers.tell(seen);
    const { key, revision, entry, expired } = seen;
    const change = entry === undefined ? (expired ? 'expired' : 'deleted') : 'set';
    const author = entry === undefined ? {} : headOf(entry.value);
    const { fromNodeId, agent } = author as { fromNodeId?: string; agent?: string };
    this.#options.events.publish(
      { type: 'context.changed', key: key.slice(PREFIX.length), revision, change, fromNodeId, agent },
      (caller) => this.#mayRead(caller),
    );
  }

  #mayRead(caller: Caller): boolean {
    const now = this.#options.clock.now();
    return decide(caller, rowOf('context.get'), { viaLink: caller.kind === 'peer', loopback: true, now }).allowed;
  }
}

/** A peer's machine and its sessions have one account, and each named key; the owner and agents of this machine have its own. */
const accountOf = (caller: Caller): string => {
  if (caller.kind === 'peer') return `${ACCOUNTS}${caller.machineId}`;
  // Closed by a slash: no name is the beginning of another.
  return caller.kind === 'key' ? `${ACCOUNTS}key/${caller.name}/` : `${ACCOUNTS}here`;
};

const notFound = (key: string): LoopsyError =>
  new LoopsyError('context_not_found', { message: `there is no key ${JSON.stringify(key)}`, details: { key } });

const tooLarge = (key: string, value: string): LoopsyError => {
  const bytes = Buffer.byteLength(value);
  return new LoopsyError('context_too_large', {
    message: `the value of ${JSON.stringify(key)} has ${bytes} bytes; at most ${MAX_VALUE_BYTES} (1 MiB) are taken`,
    details: { key, bytes, most: MAX_VALUE_BYTES },
  });
};

const conflict = (key: string, { wanted, is }: { wanted: number | undefined; is: number }): LoopsyError =>
  new LoopsyError('context_conflict', {
    message:
      is === 0
        ? `${JSON.stringify(key)} is not there any more: it does not have revision ${wanted}`
        : wanted === 0
          ? `${JSON.stringify(key)} is there already, with revision ${is}`
          : `${JSON.stringify(key)} has revision ${is}, not ${wanted}`,
    details: { key, revision: is },
  });

const full = ({ budget, bytes }: StoreOverBudget): LoopsyError => {
  const isAll = budget.accounts === ACCOUNTS;
  const key = isAll ? 'context.maxBytes' : 'context.maxBytesPerPeer';
  const whose = isAll ? 'the context of that node' : 'what this peer or key has written to the context there';
  return new LoopsyError('context_full', {
    message: `${whose} has ${bytes} of ${budget.maxBytes} bytes (${key}), and this would be too much`,
    hint: `delete what is not needed, or give entries a time to live (--ttl); the owner of that node can raise ${key}`,
    details: { key, bytes, most: budget.maxBytes },
  });
};
