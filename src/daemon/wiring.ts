import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../config/schema.ts';
import { answerChallenge } from '../kernel/token-proof.ts';
import { auditHandlers } from './audit/handlers.ts';
import type { Handlers } from './edge/call.ts';
import type { BroadcastParts } from './context/broadcast.ts';
import { contextHandlers, leaseHandlers } from './context/handlers.ts';
import { eventHandlers } from './events/handlers.ts';
import type { EdgeParts } from './edge/parts.ts';
import { RateLimits } from './edge/rate-limit.ts';
import { messageHandlers } from './messages/handlers.ts';
import { jobHandlers } from './jobs/handlers.ts';
import { keyHandlers } from './keys/handlers.ts';
import { checkedFiles } from './node-options.ts';
import { peerHandlers, requestHandlers } from './peers/handlers.ts';
import { pairingHandlers } from './pairing/handlers.ts';
import { settingsHandlers } from './settings/service.ts';
import { endHandlers, fileHandlers, transferHandlers } from './transfers/handlers.ts';
import type { DoctorParts } from './system/doctor.ts';
import { systemHandlers } from './system/handlers.ts';
import { trustNotes } from './system/trust-notes.ts';
import type { Parts } from './compose.ts';

const doctorParts = ({ options, peers, trust, jobs }: Parts): DoctorParts => ({
  ...checkedFiles(options),
  tlsEnabled: () => options.config.current.tls.enabled,
  warnings: () => options.config.warnings,
  restartNeeded: () => options.config.restartNeeded,
  trust: () => trustNotes(trust),
  supervisors: () => jobs.supervisors(),
  peers: () => peers.registry.list(),
  ping: (nodeId) => peers.ping(nodeId),
});

/** A peer that does not answer is named, and keeps nobody waiting. */
const BROADCAST_MS = 15_000;

const broadcastParts = ({ peers, forward }: Parts): BroadcastParts => ({
  peers: () => peers.registry.list(),
  set: ({ name, nodeId = '' }, input, { caller, signal }) => {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(BROADCAST_MS)]);
    return forward.ask({ name, nodeId }, { id: 'context.set', input, caller, signal: limited });
  },
});

const makeHandlers = (parts: Parts): Handlers => {
  const { options, open, effects, events, jobs, transfers, context, leases, messages, peers } = parts;
  const { pairing, keys, audit, system } = parts;
  return {
    ...systemHandlers(system, {
      doctor: doctorParts(parts),
      metrics: parts.metrics,
      connections: () => parts.listener.size,
      stop: options.onStop,
    }),
    ...peerHandlers(peers),
    ...pairingHandlers(pairing),
    ...requestHandlers([
      (caller, requestId) => open.cancel(caller, requestId),
      (caller, requestId) => effects.cancel(`${caller}\n${requestId}`, 'client-gone'),
      (caller, requestId) => jobs.leave(caller, requestId),
    ]),
    ...jobHandlers(jobs),
    ...fileHandlers(transfers),
    ...transferHandlers(transfers),
    ...endHandlers(transfers),
    ...keyHandlers(keys),
    ...settingsHandlers(options.config),
    ...contextHandlers(context, broadcastParts(parts)),
    ...leaseHandlers(leases),
    ...messageHandlers(messages),
    ...eventHandlers(events),
    ...auditHandlers(audit),
  };
};

/** What the edge is given: a handler for every operation, and what decides before one is asked. */
export const makeEdge = (parts: Parts): EdgeParts => {
  const { options, peers, owners, forward, transfers, keys, sources, audit, effects, open, jobs } = parts;
  const { clock, log, config, boot, identity } = options;
  const isOwn = (objectId: string): boolean => jobs.knows(objectId) || transfers.knows(objectId);
  return {
    handlers: makeHandlers(parts),
    sources,
    forwarder: {
      resolve: (reference) => peers.registry.resolve(reference),
      // What is this node's own is never looked for elsewhere, whatever a peer may have called what it has.
      locate: (objectId) => (isOwn(objectId) ? undefined : owners.locate(objectId)),
      json: (request) => forward.json(request),
      stream: (request) => forward.stream(request),
      bytes: (request) => forward.bytes(request),
    },
    owners,
    rates: new RateLimits(clock, () => config.current.rateLimits),
    audit: {
      record: (record) => {
        parts.metrics.count(record);
        audit.record(record);
      },
      flush: () => audit.flush(),
    },
    effects,
    open,
    boot,
    nodeId: identity.nodeId,
    prove: (challenge, localPort) => answerChallenge(challenge, { localPort, findHash: (id) => keys.hashByKeyId(id) }),
    clock,
    log: log.child({ room: 'edge' }),
  };
};

/** What follows a change of the settings beyond those who ask for them each time. */
export const followConfig = ({ options, audit, jobs, transfers, peers }: Parts): void => {
  options.config.subscribe({
    name: 'node',
    commit: (next, previous) => {
      audit.setBounds(next.audit);
      jobs.refresh();
      transfers.refresh();
      if (next.server.hostname !== previous.server.hostname) peers.announce();
      const named = ({ discovery, tls }: Config): unknown => [discovery.manualPeers, tls.pinnedCerts];
      if (!isDeepStrictEqual(named(next), named(previous))) peers.findManualPeers();
    },
  });
};
