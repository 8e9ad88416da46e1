import type { Clock } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import type { AuditRecord } from '../../protocol/audit.ts';
import type { LimitCategory, Operation } from '../../protocol/operation.ts';
import type { OperationId } from '../../protocol/operations.ts';
import type { Caller } from '../../trust/caller.ts';
import type { ByteAnswer, Call, Handlers, StreamSource } from './call.ts';
import type { CallerSources } from './caller.ts';
import type { EffectAnswer, EffectTable } from './effects.ts';
import type { OpenRequests } from './open-requests.ts';

/** A peer that a request is forwarded to. */
export interface Target {
  readonly nodeId: string;
  readonly name: string;
}

/** One request for another node: built anew from the validated input. */
export interface ForwardRequest {
  readonly target: Target;
  readonly id: OperationId;
  readonly op: Operation;
  readonly input: Record<string, unknown>;
  readonly call: Call;
  /** The bytes of an upload that this node makes itself, each good until the next is asked for; else those of the call. */
  readonly body?: AsyncIterable<Uint8Array>;
  readonly bodyLength?: number;
}

/** The way to other nodes, as far as the edge needs it. */
interface Forwarder {
  /**
   * @returns the peer that `reference` names, or undefined where it names this node itself.
   * @throws {LoopsyError} `peer_not_found`, with the known ones.
   */
  resolve(reference: string): Target | undefined;
  /** The peer on which an object lives that was started from here; undefined for what is this node's own. */
  locate(objectId: string): Target | undefined;
  json(request: ForwardRequest): Promise<EffectAnswer>;
  stream(request: ForwardRequest): Promise<StreamSource>;
  /** The peer's bytes, or the error that it answered with. */
  bytes(request: ForwardRequest): Promise<ByteAnswer | EffectAnswer>;
}

/** Who started which object on another node. */
export interface ObjectOwners {
  record(objectId: string, peer: Target, caller: Caller): void;
  /** The same for an object that outlives its request: resolves when it is on disk. @throws what the store does */
  keep(objectId: string, peer: Target, caller: Caller): Promise<void>;
  /** True where the caller may see it; what nobody remembers is the owner's alone. */
  maySee(caller: Caller, objectId: string): boolean;
}

/** What the edge needs to admit, carry out and record a request. */
export interface EdgeParts {
  readonly handlers: Handlers;
  readonly sources: CallerSources;
  readonly forwarder: Forwarder;
  readonly owners: ObjectOwners;
  readonly rates: { take(caller: Caller, category: LimitCategory, requestId?: string): void };
  readonly audit: { record(record: AuditRecord): void; flush(): Promise<void> };
  readonly effects: EffectTable;
  readonly open: OpenRequests;
  /** This start of the node. */
  readonly boot: string;
  readonly nodeId: string;
  /** Answers a client's question whether this node holds its token. */
  readonly prove: (challenge: string, port: number) => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}
