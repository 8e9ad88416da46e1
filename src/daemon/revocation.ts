import type { Clock } from '../kernel/clock.ts';
import type { Service } from '../kernel/lifecycle.ts';
import type { Log } from '../kernel/log.ts';
import type { Grant } from '../protocol/grants.ts';
import { rowOf } from '../protocol/operations.ts';
import { type Caller, callerName } from '../trust/caller.ts';
import { decide, decideReach } from '../trust/grants.ts';
import type { AgentTokens } from '../trust/tokens.ts';
import type { TrustBook } from '../trust/pins.ts';
import { isTouched, type TrustChange } from '../trust/trust-changes.ts';
import type { Leases } from './context/leases.ts';
import type { EffectTable } from './edge/effects.ts';
import type { Listener } from './edge/listener.ts';
import type { NodeEnding, OpenRequest, OpenRequests } from './edge/open-requests.ts';
import type { Jobs } from './jobs/service.ts';
import type { Keys } from './keys/service.ts';
import type { Messages } from './messages/service.ts';
import type { Peers } from './peers/service.ts';
import type { Transfers } from './transfers/service.ts';

/** What a revocation acts on. */
export interface RevocationParts {
  readonly trust: TrustBook;
  readonly open: OpenRequests;
  readonly effects: EffectTable;
  readonly jobs: Jobs;
  readonly transfers: Transfers;
  readonly messages: Pick<Messages, 'dropped'>;
  readonly leases: Pick<Leases, 'endOf'>;
  readonly peers: Peers;
  readonly agents: AgentTokens;
  readonly listener: Listener;
  readonly keys: Keys;
  /** Called when another key is the owner's. Returns the way to stop that. */
  readonly onOwnerKey: (listener: () => void) => () => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** How long a reader has for the last words, which say why its stream ends. */
const LAST_WORDS_MS = 500;

const AGENTS = 'agent';

/** The names, as `callerName` makes them, that a change is about. */
const namesOf =
  ({ caller }: TrustChange) =>
  (name: string): boolean =>
    name === caller || (caller === AGENTS && name.startsWith(`${AGENTS}:`));

/**
 * What a removal, a narrowed grant, an expiry or another owner's key means for what is under way: each open request of
 * the caller is decided again, its sockets and our link to it are destroyed, and what it started ends. Pins went first.
 */
export class Revocation implements Service {
  readonly name = 'revocation';
  readonly #parts: RevocationParts;
  #stops: (() => void)[] = [];

  constructor(parts: RevocationParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    this.#stops = [
      this.#parts.trust.onChange((changes) => {
        for (const change of changes) this.#follow(change);
      }),
      this.#parts.onOwnerKey(() => this.#endOldOwner()),
    ];
    // Trust may have ended while this node was away and its detached runs went on.
    const ended = this.#parts.jobs.endOrphans((caller) => this.#mayRun(caller));
    if (ended > 0) this.#parts.log.info('runs of revoked callers ended', { ended });
    this.#endLeases((caller) => !this.#isSomebody(caller));
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops) stop();
  }

  #follow(change: TrustChange): void {
    const { log } = this.#parts;
    log.info(`trust ${change.what}`, { caller: change.caller, name: change.name });
    if (change.what === 'removed' || change.what === 'expired') this.#end(change);
    else if (change.what === 'narrowed') this.#narrow(change);
  }

  /** Nothing of this caller goes on, but the runs that the person keeps. */
  #end(change: TrustChange): void {
    const { listener, agents, peers, jobs, messages } = this.#parts;
    const isIts = namesOf(change);
    const reason = change.what === 'expired' ? 'expired_key' : 'revoked';
    this.#parts.transfers.endOf(isIts, reason);
    if (peers.keepsRuns(change.caller)) jobs.keepRunsOf(isIts);
    else this.#endRuns(change, reason);
    this.#abort(({ caller }) => isTouched(caller, change), reason);
    listener.destroySockets((_, caller) => caller !== undefined && isIts(caller));
    this.#endLeases(isIts);
    if (change.caller === AGENTS) agents.endAll();
    const [kind, machineId] = change.caller.split(':');
    if (kind === 'peer' && machineId !== undefined && change.what === 'removed') {
      peers.dropped(machineId);
      messages.dropped(machineId);
    }
  }

  /** What it may still do goes on. */
  #narrow(change: TrustChange): void {
    const reason = 'scope_missing';
    this.#abort((request) => isTouched(request.caller, change) && !this.#isStillAllowed(request), reason);
    // Its folders and its reach may be fewer: what is still allowed is begun anew, by the rules of now.
    this.#parts.transfers.endOf(namesOf(change), reason);
    if (this.#grantOf(change.caller)?.scopes.includes('exec') !== true) this.#endRuns(change, reason);
  }

  /** Who came in with the owner's old key is nobody any more. What the owner started is the owner's, and goes on. */
  #endOldOwner(): void {
    const { keys } = this.#parts;
    const isOld = (request: OpenRequest): boolean =>
      request.caller.kind === 'owner' &&
      !keys.isGeneratingFor(request.requestId) &&
      request.callerNow().kind !== 'owner';
    this.#abort(isOld, 'revoked');
  }

  /** Ends requests: each is told why, and its connection goes where it does not take that. */
  #abort(denied: (request: OpenRequest) => boolean, reason: NodeEnding): void {
    const { open, clock } = this.#parts;
    const ended = open.abortWhere(denied, reason);
    if (ended.length === 0) return;
    clock.after(LAST_WORDS_MS, () => {
      for (const request of ended) request.cut();
    });
  }

  /** Its runs, and what it began elsewhere through this node and could still come back for. */
  #endRuns(change: TrustChange, reason: NodeEnding): void {
    const { effects, jobs, log } = this.#parts;
    const isIts = namesOf(change);
    effects.cancelOf(isIts, reason);
    void jobs.endRunsOf(isIts).then((ended) => log.info('runs ended by revocation', { caller: change.caller, ended }));
  }

  /** Others need not wait for the time of what nobody holds any more. */
  #endLeases(isGone: (caller: string) => boolean): void {
    const { leases, log } = this.#parts;
    leases.endOf(isGone).then(
      (ended) => ended > 0 && log.info('leases of revoked callers ended', { ended }),
      (error: unknown) => log.warn('leases of revoked callers end with their time', { error: String(error) }),
    );
  }

  #mayRun(caller: string): boolean {
    if (caller === 'owner') return true;
    return this.#isSomebody(caller) && this.#grantOf(caller)?.scopes.includes('exec') === true;
  }

  #isSomebody(caller: string): boolean {
    if (caller === 'owner') return true;
    const grant = this.#grantOf(caller);
    return grant !== undefined && (grant.expiresAt ?? Number.POSITIVE_INFINITY) > this.#parts.clock.now();
  }

  #grantOf(caller: string): Grant | undefined {
    const { trust } = this.#parts;
    const [kind, ...rest] = caller.split(':');
    const name = rest.join(':');
    if (kind === 'peer') return trust.machine(name)?.grant;
    return kind === 'agent' ? trust.agentGrant : trust.keys().find((key) => key.name === name)?.grant;
  }

  #isStillAllowed(request: OpenRequest): boolean {
    const grant = this.#grantOf(callerName(request.caller));
    if (grant === undefined) return false;
    const caller: Caller = 'grant' in request.caller ? { ...request.caller, grant } : request.caller;
    const viaLink = caller.kind === 'peer';
    const facts = { viaLink, loopback: !viaLink, now: this.#parts.clock.now() };
    const mayReach = (nodeId: string): boolean => decideReach(caller, { machineId: nodeId, nodeId }).allowed;
    return decide(caller, rowOf(request.operation), facts).allowed && request.peers.every(mayReach);
  }
}
