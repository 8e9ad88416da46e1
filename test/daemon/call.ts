import type { Call } from '../../src/daemon/edge/call.ts';
import type { OperationId } from '../../src/protocol/operations.ts';

/** What a handler is told of a request of the owner's. */
export const callOf = (operation: OperationId, more: Partial<Call> = {}): Call => ({
  operation,
  caller: { kind: 'owner' },
  requestId: '0'.repeat(32),
  digest: '',
  resumable: false,
  signal: new AbortController().signal,
  announce: () => undefined,
  note: () => undefined,
  ...more,
});
