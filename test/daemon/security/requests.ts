import { rowOf, type OperationId } from '../../../src/protocol/operations.ts';
import { encodeRequest } from '../../../src/protocol/operation.ts';
import type { Asking } from '../../helpers/ask.ts';
import type { Cast } from './cast.ts';

const COMMAND = process.platform === 'win32' ? 'whoami' : 'true';
const TARGETS = new Map<OperationId, Record<string, unknown>>([
  ['peer.rename', { nodeId: 'spare-2', name: 'spare-2' }],
  ['peer.grant', { nodeId: 'spare-2', level: 'observe' }],
  ['peer.revoke', { nodeId: 'spare-2' }],
  ['peer.show', { nodeId: 'spare-2' }],
  ['peer.ping', { nodeId: 'other' }],
  ['request.cancel', { requestId: 'ab'.repeat(16) }],
  ['job.execute', { command: COMMAND }],
  ['job.stream', { command: COMMAND }],
  ['key.grant', { name: 'spare-2', level: 'observe' }],
  ['agent.connect', { label: 'codex' }],
  ['config.change', { changes: { 'logging.level': 'info' } }],
  ['audit.list', { limit: 1 }],
  ['peer.farewell', { reason: 'removed' }],
  // The joiner finds nobody there; with no number, no yes.
  ['pair.join', { address: '127.0.0.1', port: 1, code: '123456' }],
  ['pair.confirm', { confirmed: true, role: 'joiner' }],
  ['pair.settle', { attempt: 'A'.repeat(22), tokens: [] }],
]);

/** How often the owner has carried out what can be done once to one thing. */
export class Turns {
  #taken = 0;

  get next(): number {
    return this.#taken;
  }

  take(): void {
    this.#taken += 1;
  }
}

/** A sound input for an operation; `jobId` is a run of the owner's. */
const inputFor = (
  id: OperationId,
  { node, other }: Cast,
  { jobId, turn }: { jobId: string; turn: number },
): Record<string, unknown> => {
  const at = { address: '127.0.0.1', port: other.port };
  if (id === 'peer.add' || id === 'peer.probe') return at;
  if (id === 'peer.trust') return { ...at, fingerprint: other.identity.fingerprint, name: 'other' };
  if (id === 'peer.handshake') return { ...node.composed.system.facts(), link: 1, boot: 'test' };
  if (id === 'peer.remove') return { nodeId: `spare-${turn}` };
  if (id === 'key.revoke') return { name: `spare-${turn}` };
  if (id === 'key.add') return { name: `fresh-${turn}` };
  if (id === 'job.signal') return { jobId, signal: 'SIGCONT' };
  if (rowOf(id).object?.role === 'uses') return { jobId };
  return TARGETS.get(id) ?? {};
};

/** A sound request for an operation. */
export const requestFor = (
  id: OperationId,
  cast: Cast,
  made: { jobId: string; turn: number; peer?: string },
): Asking => {
  const row = rowOf(id);
  const { path, body } = encodeRequest(row, inputFor(id, cast, made), made.peer);
  const bytes = row.kind === 'upload' ? { body: '', headers: { 'content-type': 'application/octet-stream' } } : {};
  return {
    method: row.method,
    path,
    headOnly: row.kind === 'stream',
    ...(body === undefined ? {} : { body }),
    ...bytes,
  };
};
