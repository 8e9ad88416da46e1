import type { HandlersOf } from '../edge/call.ts';
import type { OpenRequests } from '../edge/open-requests.ts';
import type { EffectTable } from '../edge/effects.ts';
import { callerName } from '../../trust/caller.ts';
import type { Peers } from './service.ts';

/** The operations on peers, and those that nodes use among themselves. */
export const peerHandlers = (peers: Peers): HandlersOf<'peer'> => ({
  'peer.list': () => ({ peers: peers.list() }),
  'peer.add': (input) => peers.add(input),
  'peer.show': ({ nodeId }) => peers.show(nodeId),
  'peer.remove': async ({ nodeId }) => ({ success: true, ...(await peers.remove(nodeId)) }),
  'peer.rename': ({ nodeId, name }) => peers.rename(nodeId, name),
  'peer.grant': ({ nodeId, ...grant }) => peers.grant(nodeId, grant),
  'peer.revoke': ({ nodeId }) => peers.grant(nodeId, { level: 'observe', scopes: [] }),
  'peer.ping': ({ nodeId }) => peers.ping(nodeId),
  'peer.probe': (input) => peers.probe(input),
  'peer.trust': (input) => peers.trust(input),
  'peer.handshake': (said, call) => peers.heard(call.caller, said, call.remoteAddress),
  'peer.farewell': (_, call) => {
    peers.farewell(call.caller);
    return {};
  },
});

/** Ending a request whose first node no longer wants its answer. */
export const requestHandlers = (open: OpenRequests, effects: EffectTable): HandlersOf<'request'> => ({
  'request.cancel': ({ requestId }, { caller }) => {
    const found = open.cancel(caller, requestId);
    const ended = effects.cancel(`${callerName(caller)}\n${requestId}`, 'client-gone');
    return { success: true, requestId, found: found || ended };
  },
});
