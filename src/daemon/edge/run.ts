import type { Readable } from 'node:stream';

import type { Ended, Ending } from '../../kernel/ending.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { type Operation, takesBytes } from '../../protocol/operation.ts';
import type { OperationId } from '../../protocol/operations.ts';
import { HEADERS } from '../../protocol/requests.ts';
import type { Caller } from '../../trust/caller.ts';
import { recordRequest } from './audit-hook.ts';
import type { Call, Handler } from './call.ts';
import { askForBody, type Exchange } from './exchange.ts';
import { socketFacts } from './listener.ts';
import { rememberObject } from './objects.ts';
import { endedByNode } from './open-requests.ts';
import type { EdgeParts, Target } from './parts.ts';

/** A long answer's record doesn't wait for its end. */
const RECORD_MS = 500;

/** One admitted request on its way. */
export interface Run {
  readonly id: OperationId;
  readonly op: Operation;
  readonly exchange: Exchange;
  readonly input: Record<string, unknown>;
  /** What a repeat of it is told from another request by. */
  readonly digest: string;
  /** The peer that carries it out; undefined: this node. */
  readonly target: Target | undefined;
  /** Aborted where the answer is no longer wanted: client gone, cancelled, revoked. */
  readonly ending: Ending;
  /** What its body is. */
  readonly contentType: string | undefined;
  /** That the object which it makes on a peer is remembered, where it is to outlive the request. */
  remembered: Promise<void> | undefined;
}

/** @throws why the node itself has ended the request, where it has. */
export const refuseEnded = (ending: Ended): void => {
  const ended = endedByNode(ending);
  if (ended !== undefined) throw ended;
};

/** What the handler of a run is told of it: read where it is wanted, as most handlers want little. */
class RunCall implements Call {
  readonly operation: OperationId;
  readonly caller: Caller;
  readonly requestId: string;
  readonly digest: string;
  readonly resumable: boolean;
  readonly repeatAgeMs: number | undefined;
  readonly #run: Run;
  readonly #wanted: Wanted;
  #isAsked = false;

  constructor(run: Run, wanted: Wanted) {
    const { state } = run.exchange;
    this.operation = run.id;
    this.caller = state.caller;
    this.requestId = state.requestId;
    this.digest = run.digest;
    this.resumable = state.resumable;
    this.repeatAgeMs = repeatAgeOf(run.exchange, wanted.parts);
    this.#run = run;
    this.#wanted = wanted;
  }

  get signal(): AbortSignal {
    return this.#wanted.ending.signal;
  }

  get onBehalfOf(): string | undefined {
    const note = this.#run.exchange.request.headers[HEADERS.onBehalfOf];
    return typeof note === 'string' ? note : undefined;
  }

  get remoteAddress(): string | undefined {
    return socketFacts(this.#run.exchange.request.socket).remoteAddress;
  }

  /** A body that its client holds back is asked for when somebody takes it: what is refused before is never sent. */
  get body(): Readable | undefined {
    const { op, exchange } = this.#run;
    if (!takesBytes(op)) return undefined;
    if (!this.#isAsked) askForBody(exchange);
    this.#isAsked = true;
    return exchange.request;
  }

  get bodyLength(): number | undefined {
    const length = Number(this.#run.exchange.request.headers['content-length']);
    return takesBytes(this.#run.op) && Number.isSafeInteger(length) ? length : undefined;
  }

  get contentType(): string | undefined {
    return takesBytes(this.#run.op) ? this.#run.contentType : undefined;
  }

  get range(): string | undefined {
    return this.#run.op.kind === 'download' ? this.#run.exchange.request.headers.range : undefined;
  }

  note(facts: Readonly<Record<string, unknown>>): void {
    Object.assign(this.#run.exchange.state.audited, facts);
  }

  announce(objectId: string): void {
    const run = this.#run;
    const { parts, named } = this.#wanted;
    const { op, target, exchange } = run;
    named(objectId);
    exchange.state.audited[op.object?.field ?? 'jobId'] = objectId;
    if (target !== undefined) run.remembered = rememberObject(objectId, { ...run, target }, parts);
    // A run that can't begin says so at once; one that goes on is in the log before it ends.
    parts.clock.after(RECORD_MS, () => recordRequest(exchange, { statusCode: 200, decision: 'allowed' }, parts));
  }
}

/** What ends a call, and who hears of it. */
interface Wanted {
  readonly ending: { readonly signal: AbortSignal };
  readonly parts: EdgeParts;
  /** Told the id of the object that the call makes. */
  readonly named: (id: string) => void;
}

/** What the handler of a run is told of it. */
export const callOf = (run: Run, wanted: Wanted): Call => new RunCall(run, wanted);

/**
 * For how long the first result may have been kept, where this is a repeat.
 * @throws {LoopsyError} `outcome_unknown` for a repeat of what another start of this node was asked.
 */
export const repeatAgeOf = ({ request }: Exchange, parts: EdgeParts): number | undefined => {
  const header = request.headers[HEADERS.repeat];
  if (header === undefined) return undefined;
  const [boot, age] = String(header).split('.');
  if (boot !== parts.boot || !/^\d{1,15}$/.test(age ?? '')) throw new LoopsyError('outcome_unknown');
  return Number(age);
};

/** The handler of an operation. The table types each handler by its own row; here all rows are treated alike. */
export const handle = (run: Run, call: Call, parts: EdgeParts): unknown => {
  // `input` was validated by the same row that types the handler.
  const handler = parts.handlers[run.id] as Handler<OperationId>;
  return handler(run.input, call);
};

/** Headers that say which object and which node the answer is about. */
export const nameObject = ({ exchange, target }: Run, object: string | undefined): void => {
  if (object !== undefined) exchange.response.setHeader(HEADERS.object, object);
  if (target !== undefined) exchange.response.setHeader(HEADERS.node, target.nodeId);
};
