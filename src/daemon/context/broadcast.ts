import { type Broadcasted, type ContextEntry, MAX_VALUE_BYTES } from '../../protocol/context.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { ParsedInputOf } from '../../protocol/operations.ts';
import type { Peer } from '../../protocol/peers.ts';
import { decideReach } from '../../trust/grants.ts';
import type { Call } from '../edge/call.ts';

/** What a broadcast needs. */
export interface BroadcastParts {
  readonly peers: () => readonly Peer[];
  /** Sets a key on a peer. @throws {LoopsyError} why it could not. */
  readonly set: (peer: Peer, input: ParsedInputOf<'context.set'>, call: Call) => Promise<ContextEntry>;
}

type Result = Broadcasted['results'][number];

/** Sets a key on every peer that the caller may address: those that are away are named, not waited for. */
export const broadcast = async (
  input: ParsedInputOf<'context.broadcast'>,
  call: Call,
  { peers, set }: BroadcastParts,
): Promise<Broadcasted> => {
  if (Buffer.byteLength(input.value) > MAX_VALUE_BYTES) throw new LoopsyError('context_too_large');
  const reached = peers().filter(
    ({ trusted, nodeId = '' }) => trusted && decideReach(call.caller, { machineId: nodeId, nodeId }).allowed,
  );
  const results = await Promise.all(
    reached.map(async (peer): Promise<Result> => {
      const { name } = peer;
      if (peer.status === 'offline')
        return { peer: name, success: false, error: errorOf(new LoopsyError('peer_offline')) };
      try {
        const { revision } = await set(peer, input, call);
        return { peer: name, success: true, revision };
      } catch (thrown) {
        if (thrown instanceof LoopsyError) return { peer: name, success: false, error: errorOf(thrown) };
        throw thrown;
      }
    }),
  );
  return { results };
};

const errorOf = ({ error, message }: LoopsyError): { name: string; message: string } => ({ name: error, message });
