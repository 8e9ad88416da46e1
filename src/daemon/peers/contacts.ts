import { type Beat, type PresenceState, PresenceWatch } from '../../discovery/presence.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { slugOf } from '../../protocol/names.ts';
import type { Handshake } from '../../protocol/peers.ts';
import type { Identity as Facts } from '../../protocol/system.ts';
import { LINK_VERSION } from '../../protocol/version.ts';
import type { Caller } from '../../trust/caller.ts';
import type { Identity } from '../../trust/identity.ts';
import type { TrustBook } from '../../trust/pins.ts';
import type { PeerFactsBook } from './facts.ts';
import type { PeerWay } from './exchange.ts';
import { type Greeting, greet } from './greet.ts';
import type { Link } from './link.ts';
import { Links } from './links.ts';
import { LOOK_LIMIT_MS } from './look.ts';

/** What the contact to peers needs. */
export interface ContactsParts {
  readonly identity: Identity;
  readonly trust: TrustBook;
  readonly facts: PeerFactsBook;
  readonly clock: Clock;
  readonly log: Log;
  /** What this node says of itself now. */
  readonly own: () => Facts;
  /** This start of the node. */
  readonly boot: string;
  /** Neither side has heard from the other for long: called again and again while it lasts. */
  readonly onSilence: (nodeId: string) => void;
  /** Called when a peer has shown that it trusts this node: it asked over a link, or answered over one. */
  readonly onContact: (nodeId: string) => void;
  /** Called when a peer is no longer there. */
  readonly onLost: () => void;
}

/** The talk with trusted peers: a link to each, whether it answers, and what it says of itself. */
export class Contacts {
  readonly #parts: ContactsParts;
  readonly #links: Links;
  readonly #presence: PresenceWatch;
  /** Names that are being taken over. */
  #naming: Promise<void> = Promise.resolve();

  constructor(parts: ContactsParts) {
    const { clock, log, facts } = parts;
    this.#parts = parts;
    this.#links = new Links(parts);
    this.#presence = new PresenceWatch({
      clock,
      beat: (nodeId, limitMs) => this.#beat(nodeId, limitMs),
      onChange: (nodeId, state) => {
        log.info(`peer ${state.presence}`, { peer: this.#nameOf(nodeId), reason: state.reason });
        if (state.presence !== 'offline') return;
        facts.saveSeen(nodeId);
        parts.onLost();
      },
      onSilence: parts.onSilence,
    });
  }

  /** Begins to watch a peer; a second call makes contact at once. */
  watch(nodeId: string): void {
    this.#presence.watch(nodeId);
  }

  /** Where the peer isn't known to be online, looks whether it is. */
  suspectReturn(nodeId: string): void {
    this.#presence.heard(nodeId);
  }

  state(nodeId: string): PresenceState {
    return this.#presence.state(nodeId);
  }

  /** The link to a trusted peer. */
  way(nodeId: string): PeerWay {
    const machine = this.#parts.trust.machine(nodeId);
    if (machine === undefined) throw new LoopsyError('peer_not_found');
    const { presence, reason = '' } = this.state(nodeId);
    const { link, boot, bootAtMs } = this.#links.to(nodeId);
    return { name: machine.name, link, boot, bootAtMs, offline: presence === 'offline' ? reason : undefined };
  }

  /** A way to a peer for a last word when trust in it has ended. */
  lastWay(nodeId: string): Link {
    return this.#links.farewell(nodeId);
  }

  /** Makes contact now; its name and state are known when this resolves. @returns whether the peer trusts this node too. */
  async meet(nodeId: string): Promise<boolean> {
    const beat = await this.#beat(nodeId, LOOK_LIMIT_MS);
    await this.#naming;
    this.#presence.found(nodeId, beat);
    return beat.ok;
  }

  /** One exchange over the link to a trusted peer. */
  async greet(nodeId: string, limitMs: number): Promise<Greeting> {
    const { clock } = this.#parts;
    const { link } = this.#links.to(nodeId);
    const greeting = await greet(link, { handshake: this.#own(), limitMs, clock, name: this.#nameOf(nodeId) });
    this.#learn(nodeId, greeting.handshake);
    return greeting;
  }

  /** A peer's own words about itself; they change its row and no other. */
  heard(caller: Caller, said: Handshake, remoteAddress: string | undefined): Handshake {
    if (caller.kind !== 'peer') throw new LoopsyError('missing_key');
    const { facts, own } = this.#parts;
    if (said.link !== LINK_VERSION) {
      throw new LoopsyError('peer_version', {
        message: `${said.hostname} speaks version ${said.link} of the link, ${own().hostname} version ${LINK_VERSION}`,
        hint: `update loopsy on ${said.link < LINK_VERSION ? said.hostname : own().hostname}`,
      });
    }
    this.#learn(caller.machineId, said);
    if (remoteAddress !== undefined) facts.seenAt(caller.machineId, { host: remoteAddress, port: said.port });
    this.#presence.heard(caller.machineId);
    return this.#own();
  }

  /** The other side no longer trusts this one: the link is of no use any more. */
  farewell(caller: Caller): void {
    if (caller.kind !== 'peer') return;
    this.#links.close(caller.machineId);
    this.#presence.suspect(caller.machineId);
  }

  /** Ends the contact to a peer that is no longer trusted. */
  drop(nodeId: string): void {
    this.#presence.forget(nodeId);
    this.#links.close(nodeId);
  }

  stop(): void {
    this.#presence.stop();
    this.#links.closeAll();
  }

  #own(): Handshake {
    return { ...this.#parts.own(), link: LINK_VERSION, boot: this.#parts.boot };
  }

  async #beat(nodeId: string, limitMs: number): Promise<Beat> {
    try {
      const { latencyMs } = await this.greet(nodeId, limitMs);
      this.#links.answered(nodeId);
      return { ok: true, latencyMs };
    } catch (error) {
      this.#links.missed(nodeId, error);
      const refused = error instanceof LoopsyError && error.error === 'scope_missing';
      return { ok: false, reason: error instanceof Error ? error.message : String(error), refused };
    }
  }

  #learn(nodeId: string, said: Handshake): void {
    const { facts, clock, trust } = this.#parts;
    const { hostname, platform, version, capabilities } = said;
    this.#links.booted(nodeId, said.boot);
    this.#parts.onContact(nodeId);
    facts.learn(nodeId, { hostname, platform, version, capabilities, lastSeen: clock.now() });
    // A pin of the config has its name from there.
    if (facts.get(nodeId).named === true || trust.machine(nodeId)?.source === 'config') return;
    facts.learn(nodeId, { named: true });
    this.#naming = this.#naming.then(() => this.#nameAfter(nodeId, hostname));
  }

  /** The first name that a peer proposes is taken over once; from then on names are changed here alone. */
  async #nameAfter(nodeId: string, hostname: string): Promise<void> {
    const { trust, log } = this.#parts;
    try {
      await trust.renameMachine(nodeId, trust.freeName(slugOf(hostname), nodeId));
    } catch (error) {
      log.warn('peer not named', { nodeId, error: String(error) });
    }
  }

  #nameOf(nodeId: string): string {
    return this.#parts.trust.machine(nodeId)?.name ?? nodeId.slice(0, 8);
  }
}
