import type { AuditRecord } from '../../protocol/audit.ts';
import type { Operation } from '../../protocol/operation.ts';
import { HEADERS } from '../../protocol/requests.ts';
import { callerName } from '../../trust/caller.ts';
import type { MalformedVisit } from './malformed.ts';
import { nextRequestId, type RequestState } from './request-state.ts';
import type { Exchange } from './exchange.ts';
import { socketFacts } from './listener.ts';
import type { EdgeParts } from './parts.ts';

const noteOf = (request: Exchange['request']): string | undefined => {
  const note = request.headers[HEADERS.onBehalfOf];
  return typeof note === 'string' ? note.slice(0, 200) : undefined;
};

/** Keeps the fields that the operation names. */
export const noteInput = (state: RequestState, op: Operation, input: Record<string, unknown>): void => {
  for (const field of op.audit) if (input[field] !== undefined) state.audited[field] = input[field];
};

/**
 * The one record of a request. Called where its decision is known: for a run when it has an id, else with the answer.
 * A second call does nothing.
 */
export const recordRequest = (
  { state, request, path }: Exchange,
  { statusCode, decision }: { statusCode: number; decision: string },
  parts: EdgeParts,
): void => {
  if (state.recorded) return;
  state.recorded = true;
  const { caller } = state;
  const onBehalfOf = caller.kind === 'peer' ? noteOf(request) : undefined;
  const record: AuditRecord = {
    timestamp: state.timestamp,
    requestId: state.requestId,
    caller: callerName(caller),
    agent: caller.kind === 'agent' ? caller.label : undefined,
    fromIp: socketFacts(request.socket).remoteAddress ?? 'unknown',
    operation: state.operation ?? 'unknown',
    method: request.method ?? '',
    path,
    peer: state.target?.name,
    onBehalfOf,
    decision,
    statusCode,
    duration: Math.round((parts.clock.monotonicMs() - state.startedAtMs) * 100) / 100,
  };
  // What the input says stands beside what is known of the request, and never in its place.
  for (const [field, value] of Object.entries(state.audited))
    record[field in record ? `input.${field}` : field] = value;
  parts.audit.record(record);
};

/** The record of bytes that were no request: counted by their source, as other refusals are. */
export const recordMalformed =
  (parts: EdgeParts) =>
  ({ caller = 'stranger', remoteAddress = 'unknown', method = '', status, error }: MalformedVisit): void =>
    parts.audit.record({
      timestamp: parts.clock.now(),
      requestId: nextRequestId(parts.boot),
      caller,
      fromIp: remoteAddress,
      operation: 'unknown',
      method,
      path: '',
      decision: error.error,
      statusCode: status,
      duration: 0,
    });
