import type { Clock } from '../../kernel/clock.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import { pageOf } from '../../kernel/page.ts';
import type { Lease } from '../../protocol/context.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { type OutputOf, type ParsedInputOf, rowOf } from '../../protocol/operations.ts';
import { parseFields } from '../../protocol/record.ts';
import { entriesOf } from '../../store/entries.ts';
import { type Change, type Entry, type Seen, type Store, StoreConflict, StoreOverBudget } from '../../store/store.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { decide } from '../../trust/grants.ts';
import type { Call } from '../edge/call.ts';
import type { Publisher } from '../events/bus.ts';
import { diskErrors } from '../storage/disk-errors.ts';

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

/** Where leases lie among the store's entries, and whose bytes they are. */
const LEASES = 'lease/';
/** For all, and for each peer machine: names and owners of thousands. */
const BUDGET = { all: 4 * 1_048_576, ofPeer: 1_048_576 };

/** What is stored of a lease: who holds it, and since which commit; in the first record that is the record's own. */
interface Held {
  readonly owner: string;
  readonly fence?: number;
}

/** Locks with an owner, a time, and a number that grows with each holder. All of them are this node's. */
export class Leases implements Service {
  readonly name = 'leases';
  readonly #options: LeasesOptions;
  #unfollow: (() => void) | undefined;

  constructor(options: LeasesOptions) {
    this.#options = options;
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
    const owner = ownerOf(call);
    try {
      return await this.#put({ name, held: { owner }, ttl, ifRevision: 0 }, call);
    } catch (thrown) {
      if (!(thrown instanceof StoreConflict)) throw thrown;
      const entry = this.#options.store.get(LEASES + name);
      // It has come to its end at this very moment.
      if (entry === undefined) return this.acquire({ name, ttl }, call);
      throw this.#isHeld(entry, owner);
    }
  }

  /** @throws {LoopsyError} `lease_lost` where it is nobody's any more, `lease_held` where it is another's. */
  async renew({ name, ttl, fence }: ParsedInputOf<'lease.renew'>, call: Call): Promise<Lease> {
    const entry = this.#ownEntry({ name, fence }, ownerOf(call));
    const held = { owner: ownerOf(call), fence: fenceOf(entry) };
    try {
      return await this.#put({ name, held, ttl, ifRevision: entry.revision }, call);
    } catch (thrown) {
      // Renewed or released at the same moment: how things are now decides.
      if (thrown instanceof StoreConflict) return this.renew({ name, ttl, fence: held.fence }, call);
      throw thrown;
    }
  }

  /** The owner of this node may break any. @throws {LoopsyError} as `renew`. */
  async release({ name, fence }: ParsedInputOf<'lease.release'>, call: Call): Promise<OutputOf<'lease.release'>> {
    const entry = this.#ownEntry({ name, fence }, call.caller.kind === 'owner' ? undefined : ownerOf(call));
    try {
      await diskErrors('leases', () =>
        this.#options.store.commit([{ delete: LEASES + name, ifRevision: entry.revision }]),
      );
      return { success: true, name };
    } catch (thrown) {
      if (thrown instanceof StoreConflict) return this.release({ name, fence: fence ?? fenceOf(entry) }, call);
      throw thrown;
    }
  }

  list(page: ParsedInputOf<'lease.list'>): OutputOf<'lease.list'> {
    const leases = Array.from(entriesOf(this.#options.store, LEASES), (entry) => this.#leaseOf(entry));
    const { items, next } = pageOf(leases, ({ name }) => name, page);
    return { leases: items, ...next };
  }

  async #put(
    { name, held, ttl, ifRevision }: { name: string; held: Held; ttl: number; ifRevision: number },
    { caller }: Call,
  ): Promise<Lease> {
    const { store } = this.#options;
    const account = `${LEASES}${caller.kind === 'peer' ? caller.machineId : 'here'}`;
    const expiresAt = store.now() + ttl * 1000;
    const change: Change = { put: LEASES + name, value: JSON.stringify(held), expiresAt, ifRevision, account };
    const within = [
      { accounts: account, maxBytes: caller.kind === 'peer' ? BUDGET.ofPeer : BUDGET.all },
      { accounts: LEASES, maxBytes: BUDGET.all },
    ];
    try {
      const revision = await diskErrors('leases', () => store.commit([change], { within }));
      return { name, owner: held.owner, fence: held.fence ?? revision, expiresAt: this.#toWall(expiresAt) };
    } catch (thrown) {
      if (!(thrown instanceof StoreOverBudget)) throw thrown;
      throw new LoopsyError('context_full', {
        message: 'too many leases are held there',
        hint: '`loopsy context lease list` shows them; each ends with its time',
      });
    }
  }

  #ownEntry(
    { name, fence }: { readonly name: string; readonly fence?: number | undefined },
    owner: string | undefined,
  ): Entry {
    const entry = this.#options.store.get(LEASES + name);
    if (entry === undefined)
      throw new LoopsyError('lease_lost', { message: `the lease ${JSON.stringify(name)} is not held by anybody` });
    if (owner !== undefined && heldIn(entry).owner !== owner) throw this.#isHeld(entry, owner);
    if (fence !== undefined && fence !== fenceOf(entry))
      throw new LoopsyError('lease_lost', {
        message: `the lease ${JSON.stringify(name)} with the fence ${fence} has ended; it has the fence ${fenceOf(entry)} now`,
        details: { name, fence: fenceOf(entry) },
      });
    return entry;
  }

  #isHeld(entry: Entry, asking: string): LoopsyError {
    const { name, owner, expiresAt } = this.#leaseOf(entry);
    const until = new Date(expiresAt).toISOString();
    const named = this.#ownerWords(owner);
    const who = owner === asking ? `${named}, as you are` : named;
    return new LoopsyError('lease_held', {
      message: `the lease ${JSON.stringify(name)} is held by ${who}, until ${until}`,
      hint: owner === asking ? 'who holds it renews it, and gives it back' : 'try again then, or ask its holder',
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

  #toWall(storedMs: number): number {
    const { store, clock } = this.#options;
    return Math.round(storedMs - store.now() + clock.now());
  }
}

/** A caller, and for a peer whom it asks for: two agents of one machine are two. */
const ownerOf = ({ caller, onBehalfOf }: Call): string => {
  const name = callerName(caller);
  const isOne = caller.kind !== 'peer' || onBehalfOf === undefined || onBehalfOf === 'owner';
  return isOne ? name : `${name} ${onBehalfOf.slice(0, 100)}`;
};

// Written by `#put`.
const heldIn = ({ value }: Entry): Held => parseFields(value) as unknown as Held;

const fenceOf = (entry: Entry): number => heldIn(entry).fence ?? entry.revision;
