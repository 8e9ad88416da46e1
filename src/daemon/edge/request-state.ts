import { createHash } from 'node:crypto';

import { LoopsyError } from '../../protocol/errors.ts';
import type { Operation } from '../../protocol/operation.ts';
import type { OperationId } from '../../protocol/operations.ts';
import { requestIdSchema } from '../../protocol/ids.ts';
import { HEADERS } from '../../protocol/requests.ts';
import { type Caller, callerName } from '../../trust/caller.ts';
import { decide, decideReach, type Decision } from '../../trust/grants.ts';
import { decideCaller, type Refusal } from './caller.ts';
import type { SocketFacts } from './connection.ts';
import type { Exchange } from './exchange.ts';
import { socketFacts } from './listener.ts';
import type { EdgeParts, Target } from './parts.ts';

/** What is known of a request once it was let in: the state that its later steps share. */
export interface RequestState {
  readonly startedAtMs: number;
  readonly timestamp: number;
  caller: Caller;
  readonly operation: OperationId | undefined;
  requestId: string;
  resumable: boolean;
  /** The peer that carries it out; undefined: this node. */
  target: Target | undefined;
  /** The ids of the peers that its input names. */
  readonly addressed: string[];
  audited: Record<string, unknown>;
  recorded: boolean;
}

/** Begins the record of a request, before anything about it is decided. */
export const beginState = (operation: OperationId | undefined, parts: EdgeParts): RequestState => ({
  startedAtMs: parts.clock.monotonicMs(),
  timestamp: parts.clock.now(),
  caller: { kind: 'stranger' },
  operation,
  requestId: '',
  resumable: false,
  target: undefined,
  addressed: [],
  audited: {},
  recorded: false,
});

const peerOf = ({ peer }: Exchange['query']): string | undefined => {
  if (peer === undefined) return undefined;
  if (typeof peer === 'string' && peer !== '') return peer;
  throw new LoopsyError('invalid_request', { message: 'the field "peer" names one peer', details: { field: 'peer' } });
};

const requestIdOf = (header: string | string[] | undefined): string | undefined => {
  if (header === undefined) return undefined;
  const parsed = requestIdSchema.safeParse(header);
  if (!parsed.success)
    throw new LoopsyError('invalid_request', { message: `the header ${HEADERS.requestId} is not a request id` });
  return parsed.data;
};

/** An effect of one caller: what a repeat is known by. */
export const effectKey = ({ caller, requestId }: RequestState): string => `${callerName(caller)}\n${requestId}`;

/** What an effect is to do, and where: a repeat of its request has the same. */
export const digestOf = (
  op: OperationId,
  target: Target | undefined,
  input: Readonly<Record<string, unknown>>,
): string =>
  createHash('sha256')
    .update(`${op}\n${target?.nodeId ?? ''}\n${JSON.stringify(input)}`)
    .digest('base64');

let requests = 0;

/** Unique among all starts of all nodes: the start, and a number. */
export const nextRequestId = (boot: string): string => {
  requests += 1;
  return boot + requests.toString(16).padStart(16, '0');
};

const check = (decision: Decision, refusal?: Refusal): void => {
  if (decision.allowed) return;
  // A stranger who showed something is told why that made nobody.
  if (decision.error === 'missing_key' && refusal !== undefined) throw new LoopsyError(refusal);
  const { error, message, hint } = decision;
  throw new LoopsyError(error, { message, ...(hint === undefined ? {} : { hint }) });
};

/** Who asks, without regard to what for. */
export const identify = ({ state, request }: Exchange, facts: SocketFacts, parts: EdgeParts): Refusal | undefined => {
  const { headers, method = '' } = request;
  const { caller, refusal } = decideCaller({ headers, method, facts, pageFile: false }, parts.sources);
  state.caller = caller;
  return refusal;
};

/** Who the same request would be from now: a key may have been replaced while it is open. */
export const callerNow = ({ request }: Exchange, parts: EdgeParts): Caller => {
  const { headers, method = '' } = request;
  try {
    return decideCaller({ headers, method, facts: socketFacts(request.socket), pageFile: false }, parts.sources).caller;
  } catch (error) {
    if (error instanceof LoopsyError) return { kind: 'stranger' };
    throw error;
  }
};

/**
 * Takes over what the caller may do now: its grant may have been narrowed while its body was on the way.
 * @throws {LoopsyError} `revoked` where it is nobody any more.
 */
export const refreshCaller = (exchange: Exchange, parts: EdgeParts): void => {
  const { state } = exchange;
  const now = callerNow(exchange, parts);
  if (callerName(now) !== callerName(state.caller)) throw new LoopsyError('revoked');
  state.caller = now;
};

/** What is asked for, and from where. */
export interface Asking {
  readonly op: Operation;
  readonly facts: SocketFacts;
  readonly refusal?: Refusal | undefined;
}

/** May the caller have this peer carry it out? */
export const allowTarget = (state: RequestState, asking: Asking & { target: Target }, parts: EdgeParts): void => {
  const { target } = asking;
  const { loopback } = asking.facts;
  const viaLink = state.caller.kind === 'peer';
  const peer = { machineId: target.nodeId, nodeId: target.nodeId };
  check(decide(state.caller, asking.op, { loopback, viaLink, now: parts.clock.now(), peer }));
  state.target = target;
};

/** The peer that a name means. Which names are known here is told to nobody who may not address them all. */
const findTarget = (
  state: RequestState,
  { named, op, facts }: Asking & { named: string },
  parts: EdgeParts,
): Target | undefined => {
  try {
    return parts.forwarder.resolve(named);
  } catch (error) {
    check(decide(state.caller, op, { loopback: facts.loopback, viaLink: false, now: parts.clock.now(), peer: {} }));
    throw error;
  }
};

/**
 * The input with ids in place of the peers that it names; the name of this node itself is left out. Which names are
 * known here is told to nobody who may not address them all.
 * @throws {LoopsyError} `scope_missing` for a peer beyond the caller's reach, `peer_not_found` with the known ones.
 */
export const resolvePeers = (
  state: RequestState,
  { op, input }: { op: Operation; input: Record<string, unknown> },
  parts: EdgeParts,
): Record<string, unknown> => {
  const resolved = { ...input };
  for (const field of op.peers ?? []) {
    const named = input[field];
    if (typeof named !== 'string') continue;
    const target = peerWithinReach(state, named, parts);
    if (target === undefined) delete resolved[field];
    else {
      resolved[field] = target.nodeId;
      state.addressed.push(target.nodeId);
      // People read names.
      state.audited[field] = target.name;
    }
  }
  return resolved;
};

const peerWithinReach = ({ caller }: RequestState, named: string, { forwarder }: EdgeParts): Target | undefined => {
  try {
    const target = forwarder.resolve(named);
    if (target !== undefined) check(decideReach(caller, { machineId: target.nodeId, nodeId: target.nodeId }));
    return target;
  } catch (error) {
    check(decideReach(caller, {}));
    throw error;
  }
};

/** Scope, reach and rate: decided before a byte of the body is read. */
export const admit = ({ state, request, query }: Exchange, asking: Asking, parts: EdgeParts): void => {
  const { op, facts, refusal } = asking;
  const named = peerOf(query);
  const given = op.effect ? requestIdOf(request.headers[HEADERS.requestId]) : undefined;
  state.requestId = given ?? nextRequestId(parts.boot);
  state.resumable = given !== undefined;
  const viaLink = state.caller.kind === 'peer';
  const anonymousTls = facts.tls && facts.certificate === undefined && request.headers.authorization === undefined;
  const here = { loopback: facts.loopback, viaLink, anonymousTls, now: parts.clock.now() };
  // Who may not ask at all learns nothing about peers.
  check(decide(state.caller, op, viaLink && named !== undefined ? { ...here, peer: {} } : here), refusal);
  const target = named === undefined ? undefined : findTarget(state, { ...asking, named }, parts);
  if (target !== undefined) allowTarget(state, { ...asking, target }, parts);
  if (op.limit === undefined || parts.effects.isUnderWay(effectKey(state))) return;
  parts.rates.take(state.caller, op.limit, given);
};
