import { LoopsyError } from '../../protocol/errors.ts';
import type { Operation } from '../../protocol/operation.ts';
import type { Exchange } from './exchange.ts';
import { socketFacts } from './listener.ts';
import type { EdgeParts, Target } from './parts.ts';
import { allowTarget } from './request-state.ts';

/** One operation and its validated input. */
interface Asked {
  readonly op: Operation;
  readonly input: Readonly<Record<string, unknown>>;
}

const NOT_FOUND = { job: 'job_not_found', transfer: 'transfer_not_found' } as const;

/**
 * Finds the peer on which the object lives that the input names: an id alone is enough for what was started from here,
 * by its starter.
 * @throws {LoopsyError} `job_not_found` or `transfer_not_found` where another caller started it, as for one that never
 *   was; what `decide` says of that peer.
 */
export const findObject = ({ state, request }: Exchange, { op, input }: Asked, parts: EdgeParts): void => {
  if (op.object?.role !== 'uses') return;
  const { kind, field } = op.object;
  const objectId = String(input[field]);
  const found = state.target ?? (state.caller.kind === 'peer' ? undefined : parts.forwarder.locate(objectId));
  if (found === undefined) return;
  if (state.target === undefined) allowTarget(state, { target: found, op, facts: socketFacts(request.socket) }, parts);
  if (parts.owners.maySee(state.caller, objectId)) return;
  throw new LoopsyError(NOT_FOUND[kind], { message: `no ${kind} ${objectId} was started by this caller` });
};

/**
 * Remembers who started an object on a peer.
 * @returns for one that outlives its request: when that is on disk; rejects where it can't be.
 */
export const rememberObject = (
  objectId: string,
  { op, input, target, exchange }: Asked & { target: Target; exchange: Exchange },
  { owners }: EdgeParts,
): Promise<void> | undefined => {
  const { caller } = exchange.state;
  const isLasting = op.object?.lasting !== undefined && input[op.object.lasting] === true;
  if (!isLasting) {
    owners.record(objectId, target, caller);
    return undefined;
  }
  const kept = owners.keep(objectId, target, caller).catch((cause: unknown) => {
    throw new LoopsyError('internal', {
      message: `${objectId} has begun on ${target.name}, but that could not be written down here: ${cause instanceof Error ? cause.message : String(cause)}`,
      hint: `it is found there: \`loopsy ${op.object?.kind ?? 'job'}s show --peer ${target.name} ${objectId}\``,
      cause,
    });
  });
  // It is waited for before the answer.
  kept.catch(() => undefined);
  return kept;
};
