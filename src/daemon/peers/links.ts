import type { SecureContext, TLSSocket } from 'node:tls';

import { LoopsyError } from '../../protocol/errors.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { Identity } from '../../trust/identity.ts';
import type { TrustBook } from '../../trust/pins.ts';
import { dial, linkContext } from './dial.ts';
import type { Machine } from '../../trust/trust-records.ts';
import type { Address } from './dial.ts';
import type { PeerFactsBook } from './facts.ts';
import { Link } from './link.ts';

interface Known {
  readonly link: Link;
  boot: string;
}

/** One link for each peer, made when it is first needed and closed when trust ends. */
export class Links {
  readonly #context: SecureContext;
  readonly #clock: Clock;
  readonly #trust: TrustBook;
  readonly #facts: PeerFactsBook;
  readonly #links = new Map<string, Known>();
  readonly #leaving = new Map<string, { machine: Machine; addresses: readonly Address[] }>();

  constructor(parts: { identity: Identity; trust: TrustBook; facts: PeerFactsBook; clock: Clock }) {
    this.#context = linkContext({ keyPem: parts.identity.keyPem, certPem: parts.identity.certificatePem });
    this.#clock = parts.clock;
    this.#trust = parts.trust;
    this.#facts = parts.facts;
  }

  /** @throws {LoopsyError} `peer_not_found` where the node is not trusted. */
  to(nodeId: string): Known {
    const known = this.#links.get(nodeId);
    if (known !== undefined) return known;
    if (this.#trust.machine(nodeId) === undefined) throw new LoopsyError('peer_not_found');
    const made = { link: new Link((signal) => this.#dial(nodeId, signal)), boot: '' };
    this.#links.set(nodeId, made);
    return made;
  }

  /** The peer said which start of it answers. */
  booted(nodeId: string, boot: string): void {
    const known = this.#links.get(nodeId);
    if (known !== undefined) known.boot = boot;
  }

  close(nodeId: string): void {
    this.#links.get(nodeId)?.link.close();
    this.#links.delete(nodeId);
  }

  /** Takes the link to a peer for a last word. It still leads there when trust has ended, until `release`. */
  detach(nodeId: string): { link: Link; release: () => void } {
    const machine = this.#trust.machine(nodeId);
    const { link } = this.to(nodeId);
    this.#links.delete(nodeId);
    if (machine !== undefined) this.#leaving.set(nodeId, { machine, addresses: this.#facts.get(nodeId).addresses });
    const release = (): void => {
      this.#leaving.delete(nodeId);
      link.close();
    };
    return { link, release };
  }

  closeAll(): void {
    for (const nodeId of [...this.#links.keys()]) this.close(nodeId);
  }

  async #dial(nodeId: string, signal: AbortSignal): Promise<TLSSocket> {
    const leaving = this.#leaving.get(nodeId);
    const machine = leaving?.machine ?? this.#trust.machine(nodeId);
    if (machine === undefined) throw new LoopsyError('revoked', { message: 'this peer is no longer trusted' });
    const { addresses } = leaving ?? this.#facts.get(nodeId);
    const pinned = {
      nodeId,
      name: machine.name,
      machine: { machineId: machine.machineId, publicKey: machine.publicKey },
      spkiHash: machine.spkiHash,
      addresses,
    };
    const { socket, address } = await dial(pinned, this.#context, { signal, now: () => this.#clock.now() });
    // What has ended is not remembered anew.
    if (leaving === undefined) this.#facts.reached(nodeId, address);
    return socket;
  }
}
