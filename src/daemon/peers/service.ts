import type { Clock } from '../../kernel/clock.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import type { Log } from '../../kernel/log.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { GrantInput } from '../../protocol/grants.ts';
import { grantWish } from '../../trust/grants.ts';
import type { Handshake, Peer } from '../../protocol/peers.ts';
import type { Identity as Facts } from '../../protocol/system.ts';
import { DEFAULT_PORT } from '../../protocol/version.ts';
import type { Store } from '../../store/store.ts';
import type { Caller } from '../../trust/caller.ts';
import type { Identity } from '../../trust/identity.ts';
import type { TrustBook } from '../../trust/pins.ts';
import type { Machine } from '../../trust/trust-records.ts';
import { Contacts } from './contacts.ts';
import { type Address, formatAddress } from './dial.ts';
import { PeerFactsBook } from './facts.ts';
import type { PeerWay } from './exchange.ts';
import { bidFarewell } from './greet.ts';
import { LOOK_LIMIT_MS, lookAt, ownAddresses, type SeenMachine } from './look.ts';
import { type ManualEntry, ManualPeers } from './manual.ts';
import { isAt } from './references.ts';
import { Registry } from './registry.ts';

/** What the peers' service needs. */
export interface PeersParts {
  readonly identity: Identity;
  readonly trust: TrustBook;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** What this node says of itself now. */
  readonly facts: () => Facts;
  readonly boot: string;
  readonly manualPeers: () => readonly { address: string; port: number }[];
  /** Neither side has heard from the other for long: called again and again while it lasts. */
  readonly onSilence: (nodeId: string) => void;
  /** A peer has shown that it trusts this node: it asked over a link, or answered over one. */
  readonly onContact?: (nodeId: string) => void;
}

/** An address as operations take it. */
interface AddressInput {
  readonly address: string;
  readonly port?: number | undefined;
}

const FAREWELL_LIMIT_MS = 2000;
const PEER = 'peer:';

const addressOf = ({ address, port }: AddressInput): Address => ({ host: address, port: port ?? DEFAULT_PORT });

/** The other nodes, and what the owner decides about them: whom to trust, with what, under which name and address. */
export class Peers implements Service {
  readonly name = 'peers';
  readonly registry: Registry;
  readonly #parts: PeersParts;
  readonly #facts: PeerFactsBook;
  readonly #contacts: Contacts;
  readonly #manual: ManualPeers;
  readonly #keeping = new Set<string>();
  #unfollow: () => void = () => undefined;

  constructor(parts: PeersParts) {
    const { identity, trust, clock, log, boot, facts: own, onSilence, onContact = () => undefined } = parts;
    this.#parts = parts;
    const facts = new PeerFactsBook(parts.store, log);
    this.#facts = facts;
    const onLost = (): void => this.#manual.refresh();
    this.#contacts = new Contacts({ identity, trust, facts, clock, log, boot, own, onSilence, onContact, onLost });
    this.#manual = new ManualPeers({
      facts,
      clock,
      log,
      listed: parts.manualPeers,
      look: (at) => lookAt(at, identity),
      meet: (seen, at) => this.#meetAt(seen, at),
      isMet: (at) => facts.nodesAt(formatAddress(at)).some((nodeId) => trust.machine(nodeId) !== undefined),
      isAwaited: () => this.#isSomebodyMissing(),
    });
    const now = (): number => clock.now();
    this.registry = new Registry({ identity, trust, facts, contacts: this.#contacts, manual: this.#manual, own, now });
  }

  async start(): Promise<void> {
    this.#unfollow = this.#parts.trust.onChange((changes) => {
      // Trusted by the config, or by another process of this machine.
      const added = changes.filter(({ what, caller }) => what === 'added' && caller.startsWith(PEER));
      for (const { caller } of added) this.#contacts.watch(caller.slice(PEER.length));
      if (added.length > 0) this.#manual.refresh();
    });
    for (const machine of this.#parts.trust.machines()) this.#contacts.watch(machine.machineId);
    this.#manual.refresh();
  }

  async stop(): Promise<void> {
    this.#unfollow();
    this.#manual.stop();
    this.#contacts.stop();
  }

  /** Looks whether addresses that a person listed are those of trusted peers. */
  findManualPeers(): void {
    this.#manual.refresh();
  }

  /** The link to a trusted peer. */
  way(nodeId: string): PeerWay {
    return this.#contacts.way(nodeId);
  }

  /** True where it is worth asking: it is not known to be away. One that refuses all says so itself. */
  answers(nodeId: string): boolean {
    const { presence, refused } = this.#contacts.state(nodeId);
    return presence !== 'offline' || refused === true;
  }

  /** What this node says of itself has changed: its peers hear it now, not at the next beat. */
  announce(): void {
    for (const { machineId } of this.#parts.trust.machines()) this.#contacts.watch(machineId);
  }

  /** True where connections from this address are let in first. */
  isKnownAddress(ip: string): boolean {
    return this.#facts.isKnownHost(ip);
  }

  /** True while a peer is removed whose runs are to go on. */
  keepsRuns(caller: string): boolean {
    return this.#keeping.has(caller);
  }

  /** Ends the link to a peer that is no longer trusted, and all that is remembered of it, unless a pin suspends it. */
  dropped(nodeId: string): void {
    this.#contacts.drop(nodeId);
    const mayReturn = this.#parts.trust.suspended().some(({ machineId }) => machineId === nodeId);
    if (!mayReturn) this.#facts.forget(nodeId);
  }

  async add({ name, ...input }: AddressInput & { name?: string | undefined }): Promise<Peer> {
    const at = addressOf(input);
    const seen = await lookAt(at, this.#parts.identity);
    const { nodeId } = seen;
    const machine = this.#trustedAs(seen);
    if (machine === undefined) {
      if (name !== undefined) this.registry.checkName(name, nodeId);
      await this.#manual.add({ v: 1, address: at, nodeId, ...(name === undefined ? {} : { name }) });
    } else {
      this.#facts.learn(nodeId, { manual: true });
      this.#facts.reached(nodeId, at);
      this.#contacts.watch(nodeId);
    }
    return this.registry.show(nodeId);
  }

  /** Takes trust away, at once, and tells the other side as far as it can be reached; or an address off the list. */
  async remove(
    reference: string,
    keepRuns = false,
  ): Promise<{ nodeId: string; name: string; trusted: boolean; told: boolean }> {
    const known = this.registry.pick(reference);
    const { trust } = this.#parts;
    const { nodeId = '', name, trusted } = known.row;
    const gone = { nodeId, name, trusted, told: false };
    switch (known.kind) {
      case 'machine':
        return { ...gone, told: await this.#removeMachine(known.machine, keepRuns) };
      case 'suspended':
        await trust.removeMachine(nodeId);
        this.#facts.forget(nodeId);
        return gone;
      case 'pin':
        await trust.removeMachine(name);
        return gone;
      case 'manual':
        await this.#removeEntries(reference, known.entries);
        return gone;
    }
  }

  async rename(reference: string, name: string): Promise<Peer> {
    const { machineId } = this.registry.machine(reference);
    await this.#parts.trust.renameMachine(machineId, name);
    this.#facts.learn(machineId, { named: true });
    return this.registry.show(machineId);
  }

  async grant(reference: string, input: GrantInput): Promise<Peer> {
    const known = this.registry.pick(reference);
    const subject = known.kind === 'pin' ? known.pin.name : this.registry.machine(reference).machineId;
    await this.#parts.trust.setGrant(subject, input);
    return this.registry.show(subject);
  }

  /** Shakes hands with an address, sends nothing, and says who is there. */
  async probe(input: AddressInput): Promise<{
    nodeId: string;
    fingerprint: string;
    address: string;
    port: number;
    ownFingerprint: string;
    trusted: boolean;
    name?: string;
  }> {
    const { identity, trust } = this.#parts;
    const { host: address, port } = addressOf(input);
    const { nodeId, fingerprint } = await lookAt({ host: address, port }, identity);
    const machine = trust.machine(nodeId);
    const seen = { nodeId, fingerprint, address, port, ownFingerprint: identity.fingerprint };
    return { ...seen, trusted: machine !== undefined, ...(machine === undefined ? {} : { name: machine.name }) };
  }

  /** Writes trust on this side for the machine with this fingerprint. Nothing is sent before it has been compared. */
  async trust(
    input: AddressInput & {
      fingerprint: string;
      name?: string | undefined;
      grant?: GrantInput['level'] | undefined;
      folders?: string[] | undefined;
    },
  ): Promise<{ peer: Peer; mutual: boolean; ownFingerprint: string; ownAddresses: string[] }> {
    const at = addressOf(input);
    const { identity, trust } = this.#parts;
    const wish = grantWish(input);
    const shown = await lookAt(at, identity);
    if (shown.fingerprint !== input.fingerprint) {
      throw new LoopsyError('peer_handshake', {
        message: `the machine at ${formatAddress(at)} has another fingerprint; nothing was sent to it`,
        details: { expected: input.fingerprint, shown: shown.fingerprint, ownFingerprint: identity.fingerprint },
      });
    }
    const { nodeId, certificate } = shown;
    const added = this.#manual.entries().find((entry) => entry.nodeId === nodeId && entry.name !== undefined)?.name;
    const chosen =
      input.name ?? trust.machine(nodeId)?.name ?? (added === undefined ? undefined : trust.freeName(added, nodeId));
    const name = chosen ?? trust.freeName(`peer-${nodeId.slice(0, 4)}`, nodeId);
    // Contact begins with the trust: where the machine is has to be known by then.
    this.#facts.reached(nodeId, at);
    await trust.trustMachine({ certificate, name, ...wish }).catch((error: unknown) => {
      if (trust.machine(nodeId) === undefined) this.dropped(nodeId);
      throw error;
    });
    if (chosen !== undefined) this.#facts.learn(nodeId, { named: true });
    await this.#joinEntries(nodeId);
    const mutual = await this.#contacts.meet(nodeId);
    // The row shows the name that commands take from now on.
    return {
      peer: this.registry.show(nodeId),
      mutual,
      ownFingerprint: identity.fingerprint,
      ownAddresses: ownAddresses(this.#parts.facts().port, { reachedFrom: shown.localAddress }),
    };
  }

  /** A machine is about to be trusted by pairing: where it was met, so that contact is made at once. Its name is chosen. */
  expect(nodeId: string, at: Address | undefined): void {
    this.#facts.learn(nodeId, { named: true });
    if (at !== undefined) this.#facts.reached(nodeId, at);
  }

  /** It is trusted now. */
  async paired(nodeId: string): Promise<void> {
    await this.#joinEntries(nodeId);
    this.#contacts.watch(nodeId);
  }

  async ping(reference: string): Promise<{ nodeId: string; latencyMs: number; clockSkewMs: number; version: string }> {
    const { machineId: nodeId } = this.registry.machine(reference);
    const { latencyMs, clockSkewMs, handshake } = await this.#contacts.greet(nodeId, LOOK_LIMIT_MS);
    return { nodeId, latencyMs, clockSkewMs, version: handshake.version };
  }

  heard(caller: Caller, said: Handshake, remoteAddress: string | undefined): Handshake {
    return this.#contacts.heard(caller, said, remoteAddress);
  }

  farewell(caller: Caller): void {
    this.#contacts.farewell(caller);
  }

  async #removeMachine({ machineId }: Machine, keepRuns: boolean): Promise<boolean> {
    const lastWay = this.#contacts.lastWay(machineId);
    if (keepRuns) this.#keeping.add(PEER + machineId);
    try {
      await this.#parts.trust.removeMachine(machineId);
      return await bidFarewell(lastWay, FAREWELL_LIMIT_MS);
    } finally {
      this.#keeping.delete(PEER + machineId);
      lastWay.close();
    }
  }

  /** One that is named by its address goes alone. @throws {LoopsyError} `conflict` for what stands in config.yaml. */
  async #removeEntries(reference: string, entries: readonly ManualEntry[]): Promise<void> {
    const isThere = isAt(reference);
    const named = entries.filter(({ address }) => isThere(address));
    const gone = named.length > 0 ? named : entries;
    const listed = gone.find(({ inConfig }) => inConfig);
    if (listed === undefined) return this.#manual.remove(gone);
    const { host, port } = listed.address;
    throw new LoopsyError('conflict', {
      message: `${formatAddress(listed.address)} comes from config.yaml: no command takes it out`,
      hint: `remove it in config.yaml: discovery.manualPeers, the entry {address: ${JSON.stringify(host)}, port: ${port}}`,
      details: { field: 'discovery.manualPeers', address: host, port },
    });
  }

  /** The addresses that were added for a node join its row, now that it is trusted. */
  async #joinEntries(nodeId: string): Promise<void> {
    const entries = this.#manual.entries().filter((entry) => entry.nodeId === nodeId);
    if (entries.length === 0) return;
    for (const { address } of entries) this.#facts.seenAt(nodeId, address);
    this.#facts.learn(nodeId, { manual: true });
    await this.#manual.remove(entries);
  }

  /** The trusted machine that this is. One that the config pins by its fingerprint is met by that. */
  #trustedAs({ nodeId, leaf }: SeenMachine): Machine | undefined {
    const { trust } = this.#parts;
    return 'refused' in trust.identify(leaf) ? undefined : trust.machine(nodeId);
  }

  #meetAt(seen: SeenMachine, at: Address): void {
    const machine = this.#trustedAs(seen);
    if (machine === undefined) return;
    this.#facts.learn(machine.machineId, { manual: true });
    this.#facts.seenAt(machine.machineId, at);
    this.#contacts.suspectReturn(machine.machineId);
  }

  #isSomebodyMissing(): boolean {
    const { trust } = this.#parts;
    const isMissing = ({ machineId }: Machine): boolean => this.#contacts.state(machineId).presence !== 'online';
    return trust.unmetPins().length > 0 || trust.machines().some(isMissing);
  }
}
