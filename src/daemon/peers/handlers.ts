import { pageOf } from '../../kernel/page.ts';
import type { Peer } from '../../protocol/peers.ts';
import type { HandlersOf } from '../edge/call.ts';
import { callerName } from '../../trust/caller.ts';
import type { Peers } from './service.ts';

/** Trusted nodes by name, then addresses that nobody trusts yet. */
const placeOf = ({ trusted, name, address = '', port = 0 }: Peer): string =>
  `${trusted ? 0 : 1}${name} ${address} ${port}`;

/** The operations on peers, and those that nodes use among themselves. */
export const peerHandlers = (peers: Peers): HandlersOf<'peer'> => ({
  'peer.list': (input) => {
    const { items, next } = pageOf(peers.registry.list(), placeOf, input);
    return { peers: items, ...next };
  },
  'peer.add': (input) => peers.add(input),
  'peer.show': ({ nodeId }) => peers.registry.show(nodeId),
  'peer.remove': async ({ nodeId, keepRuns }) => ({ success: true, ...(await peers.remove(nodeId, keepRuns)) }),
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

/** Ends what a caller's request began. @returns false where there is nothing to end. */
export type EndRequest = (caller: string, requestId: string) => boolean;

/** Ending a request whose first node no longer wants its answer: it may be open, kept for a repeat, or a run. */
export const requestHandlers = (ends: readonly EndRequest[]): HandlersOf<'request'> => ({
  'request.cancel': ({ requestId }, { caller }) => {
    const found = ends.map((end) => end(callerName(caller), requestId));
    return { success: true, requestId, found: found.includes(true) };
  },
});
