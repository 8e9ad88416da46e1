import { LoopsyError } from '../../protocol/errors.ts';
import { ownNames } from '../../protocol/names.ts';
import type { Peer } from '../../protocol/peers.ts';
import type { Identity as Facts } from '../../protocol/system.ts';
import type { Identity } from '../../trust/identity.ts';
import type { TrustBook } from '../../trust/pins.ts';
import { shownGrant } from '../../trust/grants.ts';
import { ownNameError } from '../../trust/trust-edits.ts';
import type { Machine } from '../../trust/trust-records.ts';
import type { Target } from '../edge/parts.ts';
import type { Contacts } from './contacts.ts';
import type { PeerFactsBook } from './facts.ts';
import type { ManualPeers } from './manual.ts';
import { pickKnown } from './references.ts';
import { type Known, manualPeers, pinnedPeer, suspendedPeer, trustedPeer, unsettledPeer } from './rows.ts';

/** What is known of peers, from those who know. */
export interface RegistryParts {
  readonly identity: Identity;
  readonly trust: TrustBook;
  readonly facts: PeerFactsBook;
  readonly contacts: Pick<Contacts, 'state'>;
  readonly manual: Pick<ManualPeers, 'entries'>;
  /** What this node says of itself now. */
  readonly own: () => Facts;
  /** Wall time, ms since 1970. */
  readonly now: () => number;
}

/** Who is known here, under which names. */
export class Registry {
  readonly #parts: RegistryParts;

  constructor(parts: RegistryParts) {
    this.#parts = parts;
  }

  /** The rows of GET /peers. */
  list(): Peer[] {
    return this.#known().map(({ row }) => this.#shown(row));
  }

  show(reference: string): Peer {
    return this.#shown(this.pick(reference).row);
  }

  /** Whoever or whatever a person means. @throws {LoopsyError} `peer_not_found`; `invalid_request` where ambiguous. */
  pick(reference: string): Known {
    return pickKnown(reference, this.#known());
  }

  counts(): { total: number; online: number; offline: number } {
    const { trust, contacts } = this.#parts;
    const states = trust.machines().map(({ machineId }) => contacts.state(machineId).presence);
    const count = (wanted: string): number => states.filter((state) => state === wanted).length;
    return { total: states.length, online: count('online'), offline: count('offline') };
  }

  /** The trusted machine that a person means. @throws {LoopsyError} as `pick`, also for what is not trusted. */
  machine(reference: string): Machine {
    try {
      return this.#parts.trust.resolve(reference);
    } catch (error) {
      if (!(error instanceof LoopsyError)) throw error;
      const known = this.pick(reference);
      if (known.kind === 'machine') return known.machine;
      const { name, reason = '' } = known.row;
      throw new LoopsyError('peer_not_found', { message: `there is no link to ${name}`, hint: reason });
    }
  }

  /**
   * The peer that a person named; undefined for this node itself.
   * @throws {LoopsyError} as `machine`; `invalid_request` where this node was given a name that a peer has.
   */
  resolve(reference: string): Target | undefined {
    const wanted = reference.toLowerCase();
    if (wanted === this.#parts.identity.nodeId) return undefined;
    if (this.#ownNames.includes(wanted)) {
      const rival = this.#parts.trust.machines().find(({ name }) => name === wanted);
      if (rival === undefined) return undefined;
      throw meansBoth(rival);
    }
    const machine = this.machine(reference);
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

  /** @throws {LoopsyError} `conflict` where the name is another's, or this node's own. */
  checkName(name: string, nodeId: string): void {
    if (this.#ownNames.includes(name)) throw ownNameError(name, this.#parts.trust.freeName(name, nodeId));
    const holder = this.#known().find(({ row }) => row.name === name && row.nodeId !== nodeId);
    if (holder === undefined) return;
    const details = { field: 'name', name };
    throw new LoopsyError('conflict', { message: `another peer is called ${name} already`, details });
  }

  #shown(row: Peer): Peer {
    return row.grant === undefined ? row : { ...row, grant: shownGrant(row.grant, this.#parts.now()) };
  }

  get #ownNames(): string[] {
    return ownNames(this.#parts.own().hostname);
  }

  #known(): Known[] {
    const { trust, facts, contacts, manual } = this.#parts;
    const unsettled = new Set(trust.pairings().map(({ stage, peer }) => (stage === 'trusted' ? peer.machineId : '')));
    const machines = trust.machines().map((one) => {
      const state = contacts.state(one.machineId);
      const known = trustedPeer(one, facts.get(one.machineId), state);
      return unsettled.has(one.machineId) ? unsettledPeer(known) : known;
    });
    const suspended = trust.suspended().map((one) => suspendedPeer(one, facts.get(one.machineId)));
    const trusted = [...machines, ...trust.unmetPins().map(pinnedPeer), ...suspended];
    return [...trusted, ...manualPeers(manual.entries(), trusted, (at) => facts.nodesAt(at)[0])];
  }
}

/** Nothing runs where it is not sure on which machine it is wanted. */
const meansBoth = ({ name, machineId }: Machine): LoopsyError =>
  new LoopsyError('invalid_request', {
    message: `"${name}" can mean this machine, and the peer of that name (${machineId})`,
    hint: `call this machine localhost; give the peer another name: \`loopsy peers rename ${name} <name>\``,
    details: { peer: name, matches: [machineId] },
  });
