import type { SecureContext, TLSSocket } from 'node:tls';

import { type ErrorName, LoopsyError } from '../../protocol/errors.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { Identity } from '../../trust/identity.ts';
import type { TrustBook } from '../../trust/pins.ts';
import { type Address, dial, linkContext, type Reached } from './dial.ts';
import type { Machine } from '../../trust/trust-records.ts';
import type { PeerFactsBook } from './facts.ts';
import { Link, SILENCE_MS } from './link.ts';

interface Known {
  readonly link: Link;
  /** The peer's start that its last handshake named, and since when it is known, monotonic. */
  boot: string;
  bootAtMs: number;
  answeredAtMs: number;
}

/** Errors of a beat to which nobody answered. */
const SILENT: ReadonlySet<string> = new Set<ErrorName>(['peer_unreachable', 'request_timeout']);

/** One link for each peer, made when it is first needed and closed when trust ends. */
export class Links {
  readonly #context: SecureContext;
  readonly #clock: Clock;
  readonly #trust: TrustBook;
  readonly #facts: PeerFactsBook;
  readonly #links = new Map<string, Known>();

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
    const link = new Link((signal) => this.#dial(nodeId, signal));
    const now = this.#clock.monotonicMs();
    const made = { link, boot: '', bootAtMs: now, answeredAtMs: now };
    this.#links.set(nodeId, made);
    return made;
  }

  /** The peer said which start of it answers. */
  booted(nodeId: string, boot: string): void {
    const known = this.#links.get(nodeId);
    if (known === undefined || known.boot === boot) return;
    known.boot = boot;
    known.bootAtMs = this.#clock.monotonicMs();
  }

  /** The peer answered over its link: more than a contact of its own, which comes another way. */
  answered(nodeId: string): void {
    const known = this.#links.get(nodeId);
    if (known !== undefined) known.answeredAtMs = this.#clock.monotonicMs();
  }

  /** A beat brought no answer. Where none has come for long, what waits on a connection there is waits in vain. */
  missed(nodeId: string, error: unknown): void {
    const known = this.#links.get(nodeId);
    const silent = error instanceof LoopsyError && SILENT.has(error.error);
    if (known === undefined || !silent || this.#clock.monotonicMs() - known.answeredAtMs < SILENCE_MS) return;
    known.answeredAtMs = this.#clock.monotonicMs();
    known.link.cut();
  }

  close(nodeId: string, why?: LoopsyError): void {
    this.#links.get(nodeId)?.link.close(why);
    this.#links.delete(nodeId);
  }

  /** A way to a peer for a last word when trust in it has ended: the link itself ends with the trust. */
  farewell(nodeId: string): Link {
    const machine = this.#trust.machine(nodeId);
    if (machine === undefined) throw new LoopsyError('peer_not_found');
    const { addresses } = this.#facts.get(nodeId);
    return new Link(async (signal) => (await this.#reach(machine, addresses, signal)).socket);
  }

  closeAll(): void {
    // Nobody's trust has ended: the node has.
    for (const nodeId of [...this.#links.keys()]) this.close(nodeId, new LoopsyError('node_stopping'));
  }

  async #dial(nodeId: string, signal: AbortSignal): Promise<TLSSocket> {
    const machine = this.#trust.machine(nodeId);
    if (machine === undefined) throw new LoopsyError('revoked', { message: 'this peer is no longer trusted' });
    const { socket, address } = await this.#reach(machine, this.#facts.get(nodeId).addresses, signal);
    this.#facts.reached(nodeId, address);
    return socket;
  }

  #reach(machine: Machine, addresses: readonly Address[], signal: AbortSignal): Promise<Reached> {
    const { machineId, name, publicKey, spkiHash } = machine;
    const pinned = { nodeId: machineId, name, machine: { machineId, publicKey }, spkiHash, addresses };
    return dial(pinned, this.#context, { signal, now: () => this.#clock.now() });
  }
}
