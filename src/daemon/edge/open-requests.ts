import type { Ended, Ending } from '../../kernel/ending.ts';
import type { OperationId } from '../../protocol/operations.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { type Caller, callerName } from '../../trust/caller.ts';

/** A request that has been admitted and not yet been answered in full. */
export interface OpenRequest {
  readonly caller: Caller;
  readonly operation: OperationId;
  /** The nodeIds of the peers that this node addresses for it: where it is forwarded to, and whom its input names. */
  readonly peers: readonly string[];
  readonly requestId: string;
  readonly ending: Ending;
  /** Who the same certificate or token makes by what holds now. */
  callerNow(): Caller;
  /** Destroys its connection where the answer has not left. */
  cut(): void;
}

/** Why the node itself ends a request: in the words of the answer. */
export type NodeEnding = 'revoked' | 'expired_key' | 'scope_missing' | 'node_stopping';

const ENDINGS: ReadonlySet<unknown> = new Set<NodeEnding>(['revoked', 'expired_key', 'scope_missing', 'node_stopping']);
const isEnding = (reason: unknown): reason is NodeEnding => ENDINGS.has(reason);

/** What a request is answered that the node itself has ended; undefined where it has not. */
export const endedByNode = ({ aborted, reason }: Ended): LoopsyError | undefined => {
  const why: unknown = reason;
  return aborted && isEnding(why) ? new LoopsyError(why) : undefined;
};

/** All open requests: what a revocation walks through, and what a cancel finds. */
export class OpenRequests {
  #open = new Set<OpenRequest>();

  /** @returns what takes it out again. */
  add(request: OpenRequest): () => void {
    this.#open.add(request);
    return () => this.#open.delete(request);
  }

  get size(): number {
    return this.#open.size;
  }

  /** Aborts every request that `denied` says is no longer allowed. @returns those, to be cut where they stay. */
  abortWhere(denied: (request: OpenRequest) => boolean, reason: NodeEnding): OpenRequest[] {
    const ended = [...this.#open].filter(denied);
    for (const { ending } of ended) ending.abort(reason);
    return ended;
  }

  /** Aborts the request of this caller with this id. @returns false where it has ended. */
  cancel(caller: string, requestId: string): boolean {
    for (const request of this.#open) {
      if (request.requestId === requestId && callerName(request.caller) === caller) {
        request.ending.abort('client-gone');
        return true;
      }
    }
    return false;
  }
}
