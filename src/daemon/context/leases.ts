import type { Clock } from '../../kernel/clock.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import { pageOf } from '../../kernel/page.ts';
import type { Lease } from '../../protocol/context.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { type OutputOf, type ParsedInputOf, rowOf } from '../../protocol/operations.ts';
import { entriesOf } from '../../store/entries.ts';
import { type Change, type Entry, type Seen, type Store, StoreConflict, StoreOverBudget } from '../../store/store.ts';
import { type ToWall, wallTimeOf } from '../../store/wall-time.ts';
import type { Caller } from '../../trust/caller.ts';
import { decide } from '../../trust/grants.ts';
import type { Call } from '../edge/call.ts';
import type { Publisher } from '../events/bus.ts';
import { diskErrors } from '../storage/disk-errors.ts';
import { callerIn, endWords, fenceOf, type Held, heldIn, LEASES, noRoom, ownerOf, roomOf } from './lease-record.ts';

/** What leases need. */
export interface LeasesOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly events: Publisher;
  /** This machine's name. */
  readonly hostname: () => string;
  /** How people here call a peer's machine. */
  readonly peerName: (machineId: string) => string | undefined;
}

/** Locks with an owner, a time, and a number that grows with each holder. All of them are this node's. */
export class Leases implements Service {
  readonly name = 'leases';
  readonly #options: LeasesOptions;
  readonly #toWall: ToWall;
  #unfollow: (() => void) | undefined;
  /** Commits under way. */
  readonly #putting = new Set<Promise<unknown>>();

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#toWall = wallTimeOf(options.store, options.clock);
  }

  /** What changes from now on is told. */
  async start(): Promise<void> {
    this.#unfollow = this.#options.store.follow(LEASES, (seen) => this.#tell(seen));
  }

  async stop(): Promise<void> {
    this.#unfollow?.();
  }

  /** @throws {LoopsyError} `lease_held` for whoever is not the first, the holder itself too: it may be two. */
  async acquire({ name, ttl }: ParsedInputOf<'lease.acquire'>, call: Call): Promise<Lease> {
    try {
      return await this.#put({ name, held: { owner: ownerOf(call) }, ttl, ifRevision: 0 }, call);
    } catch (thrown) {
      if (!(thrown instanceof StoreConflict)) throw thrown;
      const entry = this.#options.store.get(LEASES + name);
      // It has come to its end at this very moment.
      if (entry === undefined) return this.acquire({ name, ttl }, call);
      throw this.#isHeld(entry, call);
    }
  }

  /** @throws {LoopsyError} `lease_lost` where it is nobody's any more, `lease_held` where it is another's. */
  async renew({ name, ttl, fence }: ParsedInputOf<'lease.renew'>, call: Call): Promise<Lease> {
    const entry = this.#ownEntry({ name, fence }, call);
    const held = { owner: ownerOf(call), fence: fenceOf(entry) };
    try {
      return await this.#put({ name, held, ttl, ifRevision: entry.revision }, call);
    } catch (thrown) {
      // Renewed or released at the same moment: how things are now decides.
      if (thrown instanceof StoreConflict) return this.renew({ name, ttl, fence: held.fence }, call);
      throw thrown;
    }
  }

  /**
   * Gives back the caller's hold, the one with this fence where it is named; by `force` the node's owner ends any.
   * @throws {LoopsyError} as `renew`.
   */
  async release(
    { name, fence, force }: ParsedInputOf<'lease.release'>,
    call: Call,
  ): Promise<OutputOf<'lease.release'>> {
    const mayEndAny = call.caller.kind === 'owner' && (force === true || fence !== undefined);
    const entry = this.#ownEntry({ name, fence }, call, mayEndAny);
    try {
      await diskErrors('leases', () =>
        this.#options.store.commit([{ delete: LEASES + name, ifRevision: entry.revision }]),
      );
      return { success: true, name };
    } catch (thrown) {
      if (thrown instanceof StoreConflict) return this.release({ name, fence: fence ?? fenceOf(entry), force }, call);
      throw thrown;
    }
  }

  list(page: ParsedInputOf<'lease.list'>): OutputOf<'lease.list'> {
    const leases = Array.from(entriesOf(this.#options.store, LEASES), (entry) => this.#leaseOf(entry));
    const { items, next } = pageOf(leases, ({ name }) => name, page);
    return { leases: items, ...next };
  }

  /**
   * Releases what callers hold that are nobody any more; who may take none from here on is decided elsewhere.
   * @param isGone told `owner`, `agent:claude`, `key:ci` or `peer:<machineId>`.
   * @returns how many.
   */
  async endOf(isGone: (caller: string) => boolean): Promise<number> {
    // What was accepted before that is not there to be seen yet.
    await Promise.allSettled(this.#putting);
    const { store } = this.#options;
    const names = [...entriesOf(store, LEASES)]
      .filter((entry) => isGone(callerIn(heldIn(entry).owner)))
      .map(({ key }) => key);
    const ended = await Promise.all(names.map((key) => this.#endIfGone(key, isGone)));
    return ended.filter((isEnded) => isEnded).length;
  }

  async #endIfGone(key: string, isGone: (caller: string) => boolean): Promise<boolean> {
    const { store } = this.#options;
    for (;;) {
      const entry = store.get(key);
      if (entry === undefined || !isGone(callerIn(heldIn(entry).owner))) return false;
      try {
        await diskErrors('leases', () => store.commit([{ delete: key, ifRevision: entry.revision }]));
        return true;
      } catch (thrown) {
        // Another has it now, or its time has come.
        if (!(thrown instanceof StoreConflict)) throw thrown;
      }
    }
  }

  async #put(
    { name, held, ttl, ifRevision }: { name: string; held: Held; ttl: number; ifRevision: number },
    { caller }: Call,
  ): Promise<Lease> {
    const { store } = this.#options;
    const { account, within } = roomOf(caller);
    const expiresAt = store.now() + ttl * 1000;
    const change: Change = { put: LEASES + name, value: JSON.stringify(held), expiresAt, ifRevision, account };
    const putting = diskErrors('leases', () => store.commit([change], { within }));
    this.#putting.add(putting);
    try {
      const revision = await putting;
      return { name, owner: held.owner, fence: held.fence ?? revision, expiresAt: this.#toWall(expiresAt) };
    } catch (thrown) {
      throw thrown instanceof StoreOverBudget ? noRoom(thrown) : thrown;
    } finally {
      this.#putting.delete(putting);
    }
  }

  #ownEntry(
    { name, fence }: { readonly name: string; readonly fence?: number | undefined },
    call: Call,
    isAnybodys = false,
  ): Entry {
    const entry = this.#options.store.get(LEASES + name);
    if (entry === undefined)
      throw new LoopsyError('lease_lost', { message: `the lease ${JSON.stringify(name)} is not held by anybody` });
    if (!isAnybodys && heldIn(entry).owner !== ownerOf(call)) throw this.#isHeld(entry, call);
    if (fence !== undefined && fence !== fenceOf(entry))
      throw new LoopsyError('lease_lost', {
        message: `the lease ${JSON.stringify(name)} with the fence ${fence} has ended; it has the fence ${fenceOf(entry)} now`,
        details: { name, fence: fenceOf(entry) },
      });
    return entry;
  }

  #isHeld(entry: Entry, call: Call): LoopsyError {
    const { name, owner, expiresAt } = this.#leaseOf(entry);
    const until = new Date(expiresAt).toISOString();
    const named = this.#ownerWords(owner);
    const isOwn = owner === ownerOf(call);
    const hint = isOwn ? 'who holds it renews it, and gives it back' : 'try again then, or ask its holder';
    const mayEnd = call.caller.kind === 'owner' || (isOwn && call.caller.kind !== 'peer');
    return new LoopsyError('lease_held', {
      message: `the lease ${JSON.stringify(name)} is held by ${isOwn ? `${named}, as you are` : named}, until ${until}`,
      hint: mayEnd ? `${hint}; where that is gone, ${endWords(name)} ends it` : hint,
      details: { name, owner, expiresAt },
    });
  }

  /** Who asks may sit at another machine: whose owner it is, and whose agent, is a part of the name. */
  #ownerWords(owner: string): string {
    const [, machineId, agent = ''] = /^peer:(\S+)(.*)$/.exec(owner) ?? [];
    if (machineId === undefined) return `${owner === 'owner' ? 'the owner' : owner} of ${this.#options.hostname()}`;
    return `${this.#options.peerName(machineId) ?? `a machine that is no peer now (${machineId.slice(0, 8)}…)`}${agent}`;
  }

  #leaseOf(entry: Entry): Lease {
    const { owner } = heldIn(entry);
    const name = entry.key.slice(LEASES.length);
    return { name, owner, fence: fenceOf(entry), expiresAt: this.#toWall(entry.expiresAt ?? 0) };
  }

  #tell({ key, entry, expired }: Seen): void {
    const name = key.slice(LEASES.length);
    const now = entry === undefined ? {} : { owner: heldIn(entry).owner, fence: fenceOf(entry) };
    const gone = expired ? 'expired' : 'released';
    const change = entry === undefined ? gone : heldIn(entry).fence === undefined ? 'acquired' : 'renewed';
    this.#options.events.publish({ type: 'lease.changed', name, change, ...now }, (caller) => this.#mayList(caller));
  }

  #mayList(caller: Caller): boolean {
    const facts = { viaLink: caller.kind === 'peer', loopback: true, now: this.#options.clock.now() };
    return decide(caller, rowOf('lease.list'), facts).allowed;
  }
}
