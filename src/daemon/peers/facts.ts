import { z } from 'zod';

import type { Log } from '../../kernel/log.ts';
import { parseJson } from '../../kernel/parse-json.ts';
import { hostSchema, nodeIdSchema, peerNameSchema, portSchema } from '../../protocol/ids.ts';
import { parseAddress } from '../../protocol/names.ts';
import { capabilitySchema, platformSchema } from '../../protocol/system.ts';
import { DEFAULT_PORT } from '../../protocol/version.ts';
import { entriesOf } from '../../store/entries.ts';
import type { Store } from '../../store/store.ts';
import { writeBehind } from '../../store/write-behind.ts';
import type { Address } from './dial.ts';

const addressSchema = z.object({ host: hostSchema, port: portSchema });

const factsSchema = z.object({
  v: z.literal(1),
  nodeId: nodeIdSchema,
  hostname: z.string().optional(),
  platform: platformSchema.optional(),
  version: z.string().optional(),
  capabilities: z.array(capabilitySchema),
  /** The newest that worked stands first. */
  addresses: z.array(addressSchema),
  manual: z.boolean(),
  /** True where its name is settled: chosen by a person, or taken over from its first words. */
  named: z.boolean().optional(),
  lastSeen: z.number().optional(),
});

const manualSchema = z.object({
  v: z.literal(1),
  address: addressSchema,
  name: peerNameSchema.optional(),
  nodeId: nodeIdSchema.optional(),
});

/** What a peer said of itself, and where it was found. Not trust: that is in the trust book. */
export type PeerFacts = z.infer<typeof factsSchema>;

/** An address that a person added and that is not (yet) a trusted node. */
export type ManualAddress = z.infer<typeof manualSchema>;

const MAX_ADDRESSES = 8;
const FACTS = 'peer/';
const MANUAL = 'address/';

const addressKey = ({ host, port }: Address): string => `${MANUAL}${host}\u0001${port}`;

const sameAddress = (a: Address, b: Address): boolean => a.host === b.host && a.port === b.port;

/** Facts about peers, held in memory and written behind. */
export class PeerFactsBook {
  readonly #store: Store;
  readonly #log: Log;
  readonly #facts = new Map<string, PeerFacts>();
  readonly #manual = new Map<string, ManualAddress>();
  /** Nodes by address; made anew when it is asked for after a change. */
  #nodesAt: Map<string, string[]> | undefined;

  constructor(store: Store, log: Log) {
    this.#store = store;
    this.#log = log;
    const read = <T>(prefix: string, schema: z.ZodType<T>, take: (key: string, value: T) => void): void => {
      for (const entry of entriesOf(store, prefix)) {
        const parsed = schema.safeParse(parseJson(entry.value));
        if (parsed.success) take(entry.key, parsed.data);
        else log.warn('peer record skipped', { key: entry.key });
      }
    };
    read(FACTS, factsSchema, (_, facts) => this.#facts.set(facts.nodeId, facts));
    read(MANUAL, manualSchema, (key, manual) => this.#manual.set(key, manual));
  }

  get(nodeId: string): PeerFacts {
    return this.#facts.get(nodeId) ?? { v: 1, nodeId, capabilities: [], addresses: [], manual: false };
  }

  manual(): ManualAddress[] {
    return [...this.#manual.values()];
  }

  /** Takes over what is new. @returns true where anything but `lastSeen` changed. */
  learn(nodeId: string, news: Partial<Omit<PeerFacts, 'v' | 'nodeId' | 'addresses'>>): boolean {
    const before = this.get(nodeId);
    const after: PeerFacts = { ...before, ...news };
    this.#facts.set(nodeId, after);
    const changed = JSON.stringify({ ...before, lastSeen: 0 }) !== JSON.stringify({ ...after, lastSeen: 0 });
    if (changed) this.#save(after);
    return changed;
  }

  /** Puts an address that worked to the front; the oldest beyond eight are forgotten. */
  reached(nodeId: string, address: Address): void {
    const facts = this.get(nodeId);
    const [first] = facts.addresses;
    if (first !== undefined && sameAddress(first, address)) return;
    const others = facts.addresses.filter((known) => !sameAddress(known, address));
    this.#setAddresses(facts, [address, ...others].slice(0, MAX_ADDRESSES));
  }

  /** Notes an address from which the peer called: tried when the others fail. */
  seenAt(nodeId: string, address: Address): void {
    const facts = this.get(nodeId);
    if (facts.addresses.some((known) => sameAddress(known, address))) return;
    // The first is the one that worked: it stays, however many others are seen.
    const [first, ...others] = [...facts.addresses, address];
    const kept = first === undefined ? [] : [first, ...others.slice(1 - MAX_ADDRESSES)];
    this.#setAddresses(facts, kept);
  }

  /** The nodes that were found at `host`, `host:port` or `[v6]:port`. */
  nodesAt(text: string): string[] {
    const address = parseAddress(text);
    if (address === undefined) return [];
    const { host, port = DEFAULT_PORT } = address;
    this.#nodesAt ??= this.#indexAddresses();
    return this.#nodesAt.get(addressKey({ host, port })) ?? [];
  }

  isKnownHost(host: string): boolean {
    return [...this.#facts.values()].some((facts) => facts.addresses.some((known) => known.host === host));
  }

  /** Writes down when a peer was last there: called when it goes, not at each beat. */
  saveSeen(nodeId: string): void {
    const facts = this.#facts.get(nodeId);
    if (facts !== undefined) this.#save(facts);
  }

  async addManual(manual: ManualAddress): Promise<void> {
    const key = addressKey(manual.address);
    this.#manual.set(key, manual);
    await this.#store.commit([{ put: key, value: JSON.stringify(manual) }]);
  }

  async removeManual(address: Address): Promise<void> {
    const key = addressKey(address);
    if (this.#manual.delete(key)) await this.#store.commit([{ delete: key }]);
  }

  forget(nodeId: string): void {
    this.#nodesAt = undefined;
    if (this.#facts.delete(nodeId)) writeBehind(this.#store, [{ delete: `${FACTS}${nodeId}` }], this.#log);
  }

  #setAddresses(facts: PeerFacts, addresses: Address[]): void {
    const next = { ...facts, addresses };
    this.#nodesAt = undefined;
    this.#facts.set(facts.nodeId, next);
    this.#save(next);
  }

  #indexAddresses(): Map<string, string[]> {
    const index = new Map<string, string[]>();
    for (const { nodeId, addresses } of this.#facts.values()) {
      for (const address of addresses) {
        const key = addressKey(address);
        const there = index.get(key);
        if (there === undefined) index.set(key, [nodeId]);
        else there.push(nodeId);
      }
    }
    return index;
  }

  #save(facts: PeerFacts): void {
    writeBehind(this.#store, [{ put: `${FACTS}${facts.nodeId}`, value: JSON.stringify(facts) }], this.#log);
  }
}
