import type { Clock } from '../../kernel/clock.ts';
import type { Service } from '../../kernel/lifecycle.ts';
import type { Log } from '../../kernel/log.ts';
import { type Beat, PresenceWatch } from '../../discovery/presence.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { GrantInput } from '../../protocol/grants.ts';
import { slugOf, uniqueName } from '../../protocol/names.ts';
import type { Handshake, Peer } from '../../protocol/peers.ts';
import type { Identity as Facts } from '../../protocol/system.ts';
import { DEFAULT_PORT, LINK_VERSION } from '../../protocol/version.ts';
import type { Store } from '../../store/store.ts';
import type { Caller } from '../../trust/caller.ts';
import type { Identity } from '../../trust/identity.ts';
import type { TrustBook } from '../../trust/pins.ts';
import type { Machine } from '../../trust/trust-records.ts';
import type { Target } from '../edge/parts.ts';
import { type Address, formatAddress } from './dial.ts';
import { PeerFactsBook } from './facts.ts';
import type { PeerWay } from './forward.ts';
import { bidFarewell, greet } from './greet.ts';
import { Links } from './links.ts';
import { LOOK_LIMIT_MS, lookAt, ownAddresses } from './look.ts';
import { manualRow, trustedRow, withManualRows } from './rows.ts';

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
}

const FAREWELL_LIMIT_MS = 2000;

const short = (nodeId: string): string => nodeId.slice(0, 8);

/** The other nodes: who is trusted, where they are, whether they answer, and the links to them. */
export class Peers implements Service {
  readonly name = 'peers';
  readonly #parts: PeersParts;
  readonly #facts: PeerFactsBook;
  readonly #links: Links;
  readonly #presence: PresenceWatch;
  /** Names that are being taken over. */
  #naming: Promise<void> = Promise.resolve();
  #unfollow: () => void = () => undefined;
  readonly #keeping = new Set<string>();

  constructor(parts: PeersParts) {
    this.#parts = parts;
    this.#facts = new PeerFactsBook(parts.store, parts.log);
    this.#links = new Links({ identity: parts.identity, trust: parts.trust, facts: this.#facts, clock: parts.clock });
    this.#presence = new PresenceWatch({
      clock: parts.clock,
      beat: (nodeId, limitMs) => this.#beat(nodeId, limitMs),
      onChange: (nodeId, state) => {
        parts.log.info(`peer ${state.presence}`, { peer: this.#nameOf(nodeId), reason: state.reason });
        if (state.presence === 'offline') this.#facts.saveSeen(nodeId);
      },
    });
  }

  async start(): Promise<void> {
    this.#unfollow = this.#parts.trust.onChange((changes) => {
      // Trusted by the config, or by another process of this machine.
      for (const { what, caller } of changes) if (what === 'added') this.#presence.watch(caller.replace(/^peer:/, ''));
    });
    for (const machine of this.#parts.trust.machines()) this.#presence.watch(machine.machineId);
    this.findManualPeers();
  }

  /** Looks whether addresses that a person listed are those of trusted peers. */
  findManualPeers(): void {
    for (const { address, port } of this.#parts.manualPeers()) void this.#findManual({ host: address, port });
  }

  async stop(): Promise<void> {
    this.#unfollow();
    this.#presence.stop();
    this.#links.closeAll();
  }

  /** The rows of GET /peers. */
  list(): Peer[] {
    const trusted = this.#parts.trust.machines().map((machine) => this.#row(machine));
    const listed = this.#parts
      .manualPeers()
      .map(({ address, port }) => ({ v: 1 as const, address: { host: address, port } }));
    return withManualRows(trusted, [...this.#facts.manual(), ...listed], (at) => this.#facts.nodesAt(at)[0]);
  }

  show(reference: string): Peer {
    return this.#row(this.#resolve(reference));
  }

  counts(): { total: number; online: number; offline: number } {
    const states = this.#parts.trust.machines().map(({ machineId }) => this.#presence.state(machineId).presence);
    const count = (wanted: string): number => states.filter((state) => state === wanted).length;
    return { total: states.length, online: count('online'), offline: count('offline') };
  }

  /** The peer that a person named; undefined for this node itself. */
  resolve(reference: string): Target | undefined {
    const { identity, facts } = this.#parts;
    if (reference === identity.nodeId || reference === 'localhost' || reference === facts().hostname) {
      const taken = this.#parts.trust.machines().some(({ name }) => name === reference);
      if (!taken) return undefined;
    }
    const machine = this.#resolve(reference);
    return { nodeId: machine.machineId, name: machine.name };
  }

  /** As `resolve`, where a name that means nobody is no error. */
  find(reference: string): Target | undefined {
    try {
      return this.resolve(reference);
    } catch (error) {
      if (error instanceof LoopsyError) return undefined;
      throw error;
    }
  }

  /** The link to a trusted peer. */
  way(nodeId: string): PeerWay {
    const machine = this.#parts.trust.machine(nodeId);
    if (machine === undefined) throw new LoopsyError('peer_not_found');
    const state = this.#presence.state(nodeId);
    const { link, boot } = this.#links.to(nodeId);
    return { name: machine.name, link, boot, offline: state.presence === 'offline' ? (state.reason ?? '') : undefined };
  }

  /** What this node says of itself has changed: its peers hear it now, not at the next beat. */
  announce(): void {
    for (const { machineId } of this.#parts.trust.machines()) this.#presence.watch(machineId);
  }

  /** True where connections from this address are let in first. */
  isKnownAddress(ip: string): boolean {
    return this.#facts.isKnownHost(ip);
  }

  /** True while a peer is removed whose runs are to go on. */
  keepsRuns(caller: string): boolean {
    return this.#keeping.has(caller);
  }

  /** Ends the link to a peer that is no longer trusted, and all that is remembered of it. */
  dropped(nodeId: string): void {
    this.#presence.forget(nodeId);
    this.#links.close(nodeId);
    this.#facts.forget(nodeId);
  }

  async add({
    address,
    port,
    name,
  }: {
    address: string;
    port?: number | undefined;
    name?: string | undefined;
  }): Promise<Peer> {
    const at = { host: address, port: port ?? DEFAULT_PORT };
    const leaf = await lookAt(at, this.#parts.identity);
    const machine = this.#parts.trust.machine(leaf.nodeId);
    if (machine !== undefined) {
      this.#facts.learn(machine.machineId, { manual: true });
      this.#facts.reached(machine.machineId, at);
      this.#presence.watch(machine.machineId);
      return this.#row(machine);
    }
    const entry = { v: 1 as const, address: at, nodeId: leaf.nodeId, ...(name === undefined ? {} : { name }) };
    await this.#facts.addManual(entry);
    return manualRow(entry);
  }

  /** Takes trust away, at once; then tells the other side, as far as it can be reached. */
  async remove(reference: string, keepRuns = false): Promise<{ nodeId: string; name: string; told: boolean }> {
    const manual = this.#facts
      .manual()
      .find(
        ({ address, name }) => name === reference || address.host === reference || formatAddress(address) === reference,
      );
    if (manual !== undefined && !this.#isTrusted(reference)) {
      await this.#facts.removeManual(manual.address);
      return { nodeId: manual.nodeId ?? '', name: manual.name ?? manual.address.host, told: false };
    }
    const { machineId, name } = this.#resolve(reference);
    const lastWay = this.#links.farewell(machineId);
    if (keepRuns) this.#keeping.add(`peer:${machineId}`);
    try {
      await this.#parts.trust.removeMachine(machineId);
      return { nodeId: machineId, name, told: await bidFarewell(lastWay, FAREWELL_LIMIT_MS) };
    } finally {
      this.#keeping.delete(`peer:${machineId}`);
      lastWay.close();
    }
  }

  async rename(reference: string, name: string): Promise<Peer> {
    const { machineId } = this.#resolve(reference);
    await this.#parts.trust.renameMachine(machineId, name);
    this.#facts.learn(machineId, { named: true });
    return this.show(machineId);
  }

  async grant(reference: string, input: GrantInput): Promise<Peer> {
    const { machineId } = this.#resolve(reference);
    await this.#parts.trust.setGrant(machineId, input);
    return this.show(machineId);
  }

  async probe({ address, port }: { address: string; port?: number | undefined }): Promise<{
    nodeId: string;
    fingerprint: string;
    address: string;
    port: number;
    ownFingerprint: string;
    trusted: boolean;
    name?: string;
  }> {
    const at = { host: address, port: port ?? DEFAULT_PORT };
    const { nodeId, fingerprint } = await lookAt(at, this.#parts.identity);
    const machine = this.#parts.trust.machine(nodeId);
    return {
      nodeId,
      fingerprint,
      address,
      port: at.port,
      ownFingerprint: this.#parts.identity.fingerprint,
      trusted: machine !== undefined,
      ...(machine === undefined ? {} : { name: machine.name }),
    };
  }

  /** Writes trust on this side for the machine with this fingerprint. Nothing is sent before it has been compared. */
  async trust(input: {
    address: string;
    port?: number | undefined;
    fingerprint: string;
    name?: string | undefined;
    grant?: GrantInput['level'] | undefined;
  }): Promise<{ peer: Peer; mutual: boolean; ownFingerprint: string; ownAddresses: string[] }> {
    const at = { host: input.address, port: input.port ?? DEFAULT_PORT };
    const shown = await lookAt(at, this.#parts.identity);
    const { identity, trust } = this.#parts;
    if (shown.fingerprint !== input.fingerprint) {
      throw new LoopsyError('peer_handshake', {
        message: `the machine at ${formatAddress(at)} has another fingerprint; nothing was sent to it\n  expected ${input.fingerprint}\n  it shows ${shown.fingerprint}`,
        details: { expected: input.fingerprint, shown: shown.fingerprint, ownFingerprint: identity.fingerprint },
      });
    }
    const known = trust.machine(shown.nodeId);
    const taken = (name: string): boolean =>
      trust.machines().some((other) => other.name === name && other.machineId !== shown.nodeId);
    const name = input.name ?? known?.name ?? uniqueName(`peer-${shown.nodeId.slice(0, 4)}`, taken);
    await trust.trustMachine({
      certificate: shown.certificate,
      name,
      ...(input.grant === undefined ? {} : { grant: { level: input.grant } }),
    });
    if (input.name !== undefined || known !== undefined) this.#facts.learn(shown.nodeId, { named: true });
    this.#facts.reached(shown.nodeId, at);
    await this.#facts.removeManual(at);
    const beat = await this.#beat(shown.nodeId, LOOK_LIMIT_MS);
    // The answer shows the name that commands take from now on.
    await this.#naming;
    this.#presence.watch(shown.nodeId);
    return {
      peer: this.show(shown.nodeId),
      mutual: beat.ok,
      ownFingerprint: identity.fingerprint,
      ownAddresses: ownAddresses(this.#parts.facts().port),
    };
  }

  async ping(reference: string): Promise<{ nodeId: string; latencyMs: number; clockSkewMs: number; version: string }> {
    const { machineId, name } = this.#resolve(reference);
    const greeting = await greet(this.#links.to(machineId).link, {
      ...this.#own(),
      limitMs: LOOK_LIMIT_MS,
      clock: this.#parts.clock,
      name,
    });
    this.#learn(machineId, greeting.handshake);
    return {
      nodeId: machineId,
      latencyMs: greeting.latencyMs,
      clockSkewMs: greeting.clockSkewMs,
      version: greeting.handshake.version,
    };
  }

  /** A peer's own words about itself; they change its row and no other. */
  heard(caller: Caller, said: Handshake, remoteAddress: string | undefined): Handshake {
    if (caller.kind !== 'peer') throw new LoopsyError('missing_key');
    if (said.link !== LINK_VERSION) {
      throw new LoopsyError('peer_version', {
        message: `${said.hostname} speaks version ${said.link} of the link, ${this.#parts.facts().hostname} version ${LINK_VERSION}`,
        hint: `update loopsy on ${said.link < LINK_VERSION ? said.hostname : this.#parts.facts().hostname}`,
      });
    }
    this.#learn(caller.machineId, said);
    if (remoteAddress !== undefined) this.#facts.seenAt(caller.machineId, { host: remoteAddress, port: said.port });
    this.#presence.heard(caller.machineId);
    return this.#own().handshake;
  }

  /** The other side no longer trusts this one: the link is of no use any more. */
  farewell(caller: Caller): void {
    if (caller.kind !== 'peer') return;
    this.#links.close(caller.machineId);
    this.#presence.suspect(caller.machineId);
  }

  #own(): { handshake: Handshake } {
    return { handshake: { ...this.#parts.facts(), link: LINK_VERSION, boot: this.#parts.boot } };
  }

  async #beat(nodeId: string, limitMs: number): Promise<Beat> {
    try {
      const [name, { link }, { clock }] = [this.#nameOf(nodeId), this.#links.to(nodeId), this.#parts];
      const greeting = await greet(link, { ...this.#own(), limitMs, clock, name });
      this.#links.answered(nodeId);
      this.#learn(nodeId, greeting.handshake);
      return { ok: true, latencyMs: greeting.latencyMs };
    } catch (error) {
      this.#links.missed(nodeId, error);
      return { ok: false, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  #learn(nodeId: string, said: Handshake): void {
    const { hostname, platform, version, capabilities } = said;
    this.#links.booted(nodeId, said.boot);
    this.#facts.learn(nodeId, { hostname, platform, version, capabilities, lastSeen: this.#parts.clock.now() });
    if (this.#facts.get(nodeId).named === true) return;
    this.#facts.learn(nodeId, { named: true });
    this.#naming = this.#naming.then(() => this.#nameAfter(nodeId, hostname));
  }

  /** The first name that a peer proposes is taken over once; from then on names are changed here alone. */
  async #nameAfter(nodeId: string, hostname: string): Promise<void> {
    const { trust, log } = this.#parts;
    const taken = (name: string): boolean =>
      trust.machines().some((other) => other.name === name && other.machineId !== nodeId);
    try {
      await trust.renameMachine(nodeId, uniqueName(slugOf(hostname), taken));
    } catch (error) {
      log.warn('peer not named', { nodeId, error: String(error) });
    }
  }

  /** An address from the config may be a trusted peer's: then it joins that peer's row. */
  async #findManual(at: Address): Promise<void> {
    try {
      const { nodeId } = await lookAt(at, this.#parts.identity);
      if (this.#parts.trust.machine(nodeId) === undefined) return;
      this.#facts.learn(nodeId, { manual: true });
      this.#facts.seenAt(nodeId, at);
      this.#presence.heard(nodeId);
    } catch (error) {
      this.#parts.log.info('manual peer not found', { address: formatAddress(at), error: String(error) });
    }
  }

  #isTrusted(reference: string): boolean {
    return this.#parts.trust.machines().some(({ name, machineId }) => name === reference || machineId === reference);
  }

  /** A name, or a part of an id; only what is neither may be an address. */
  #resolve(reference: string): Machine {
    const { trust } = this.#parts;
    try {
      return trust.resolve(reference);
    } catch (error) {
      const [nodeId, ...others] = this.#facts.nodesAt(reference).filter((id) => trust.machine(id) !== undefined);
      if (nodeId === undefined) throw error;
      if (others.length === 0) return trust.resolve(nodeId);
      const names = [nodeId, ...others].map((id) => this.#nameOf(id)).join(', ');
      throw new LoopsyError('invalid_request', {
        message: `several peers were met at ${reference}: ${names}`,
        hint: 'use a name',
      });
    }
  }

  #row(machine: Machine): Peer {
    return trustedRow(machine, this.#facts.get(machine.machineId), this.#presence.state(machine.machineId));
  }

  #nameOf(nodeId: string): string {
    return this.#parts.trust.machine(nodeId)?.name ?? short(nodeId);
  }
}
