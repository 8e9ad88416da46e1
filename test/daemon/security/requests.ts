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
  ['context.set', { key: 'set', value: 'v' }],
  ['context.get', { key: 'kept' }],
  ['context.delete', { key: 'not there' }],
  ['context.broadcast', { key: 'broadcast', value: 'v' }],
  ['lease.renew', { name: 'not there', ttl: 1, fence: 1 }],
  ['lease.release', { name: 'not there', fence: 1 }],
  ['message.wait', { timeoutMs: 0 }],
  ['message.show', { id: '0'.repeat(26) }],
  ['message.read', { id: '0'.repeat(26) }],
  ['message.ack', { id: '0'.repeat(26) }],
  ['message.cancel', { id: '0'.repeat(26) }],
  ['message.receipts', { receipts: [{ kind: 'state', id: '0'.repeat(26), state: 'read', at: 1 }] }],
  [
    'message.deliver',
    {
      epoch: '0'.repeat(32),
      messages: [{ id: '1'.repeat(26), ts: 1, type: 'chat', body: 'x', hops: 0, ageMs: 0, leftMs: 60_000 }],
    },
  ],
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

/** What a request is about: runs, transfers and open ends are the owner's, the files are there on both nodes. */
export interface About {
  readonly jobId: string;
  readonly transferId: string;
  readonly sourceId: string;
  readonly targetId: string;
  /** Open ends, one for each turn. */
  readonly ends: readonly string[];
  /** A folder that may be read and written, and a file in it. */
  readonly folder: string;
  readonly file: string;
  readonly turn: number;
  readonly peer?: string;
}

/** Input fields that name an object. */
const idsFor = (id: OperationId, { jobId, transferId, sourceId, targetId, ends, turn }: About): object => {
  const { object } = rowOf(id);
  if (object?.role !== 'uses') return {};
  if (object.kind === 'job') return { jobId };
  if (object.field === 'transferId') return { transferId };
  if (id === 'end.close') return { endId: ends[turn] };
  return { endId: id === 'source.read' ? sourceId : targetId };
};

const fileInputFor = (id: OperationId, { file, folder }: About): object => {
  switch (id) {
    case 'file.list':
      return { path: folder };
    case 'file.pull':
      return { sourcePath: file };
    case 'transfer.start':
    case 'transfer.run':
      return { sources: [file], dest: `${folder}/copy`, dryRun: true };
    case 'source.open':
      return { paths: [file] };
    case 'source.read':
      return { want: { kind: 'group', at: 0 } };
    case 'target.open':
      return { dest: `${folder}/copy`, roots: [{ name: 'a', type: 'file' }], source: 'x', platform: 'linux' };
    case 'target.write':
      return { step: 'plan' };
    case 'target.put':
      return { file: 1, at: 0, to: 1, turn: 0 };
    default:
      return {};
  }
};

/** Nobody takes a lease that was taken. */
let leases = 0;
/** Who writes to the same one again and again has to rest. */
let labels = 0;

/** A sound input for an operation. */
const inputFor = (id: OperationId, { node, other }: Cast, about: About): Record<string, unknown> => {
  const { turn } = about;
  const at = { address: '127.0.0.1', port: other.port };
  if (id === 'peer.add' || id === 'peer.probe') return at;
  if (id === 'peer.trust') return { ...at, fingerprint: other.identity.fingerprint, name: 'other' };
  if (id === 'peer.handshake') return { ...node.composed.system.facts(), link: 1, boot: 'test' };
  if (id === 'peer.remove') return { nodeId: `spare-${turn}` };
  if (id === 'key.revoke') return { name: `spare-${turn}` };
  if (id === 'key.add') return { name: `fresh-${turn}` };
  if (id === 'lease.acquire') return { name: `lease ${(leases += 1)}`, ttl: 60 };
  if (id === 'message.send') return { to: `#label-${(labels += 1)}`, body: 'x' };
  if (id === 'job.signal') return { jobId: about.jobId, signal: 'SIGCONT' };
  return { ...TARGETS.get(id), ...idsFor(id, about), ...fileInputFor(id, about) };
};

const BOUNDARY = 'loopsy-matrix';
const part = (name: string, value: string): string =>
  `--${BOUNDARY}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;

/** The bytes of an upload, and what they are. */
const bytesFor = (id: OperationId, { folder }: About): Pick<Asking, 'body' | 'headers'> => {
  const { kind, form } = rowOf(id);
  if (kind !== 'upload' && kind !== 'exchange') return {};
  if (form === true) {
    const body = `${part('file', 'abc')}${part('destPath', `${folder}/pushed`)}--${BOUNDARY}--`;
    return { body, headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` } };
  }
  const bodies: Partial<Record<OperationId, string>> = { 'target.write': '{"entries":[]}', 'target.put': 'x' };
  const body = bodies[id] ?? '';
  return { body, headers: { 'content-type': 'application/octet-stream' } };
};

/** A sound request for an operation. */
export const requestFor = (id: OperationId, cast: Cast, about: About): Asking => {
  const row = rowOf(id);
  const { path, body } = encodeRequest(row, inputFor(id, cast, about), about.peer);
  return {
    method: row.method,
    path,
    headOnly: row.kind === 'stream',
    ...(body === undefined ? {} : { body }),
    ...bytesFor(id, about),
  };
};
