import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { onTestFinished } from 'vitest';
import { z } from 'zod';

import { nodePaths } from '../../src/config/paths.ts';
import type { Registration } from '../../src/config/read-registration.ts';
import { writeRegistration } from '../../src/config/registration.ts';
import { answerChallenge, hashToken, keyIdOf } from '../../src/kernel/token-proof.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';
import { FRAME, frameHeader, FRAMES_TYPE } from '../../src/protocol/frames.ts';
import { inputInQuery, pathFields } from '../../src/protocol/operation.ts';
import { OPERATION_IDS, rowOf, type OperationId } from '../../src/protocol/operations.ts';
import { HEADERS } from '../../src/protocol/requests.ts';
import { SCOPES } from '../../src/protocol/scopes.ts';
import { contextEventSchema } from '../../src/protocol/context.ts';
import { eventSchema } from '../../src/protocol/events.ts';
import { transferEventSchema, type Transfer, type TransferEvent } from '../../src/protocol/transfers.ts';
import { BASE_PATH, VERSION } from '../../src/protocol/version.ts';
import { tempFolder } from '../helpers/temp-folder.ts';
import { MAIL_ANSWERS, MESSAGE_ID } from './fake-mail.ts';

/** One request as the fake saw it, after validation by the table. */
export interface Seen {
  readonly id: OperationId;
  readonly input: Record<string, unknown>;
  readonly peer: string | undefined;
  readonly token: string | undefined;
  /** Which connection it came on, counted from 1. */
  readonly connection: number;
  readonly headers: IncomingMessage['headers'];
}

/** What a handler may do beside returning an output. */
export interface Answering extends Seen {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Begins a stream of frames. */
  frames(): Frames;
}

/** Writes frames. */
interface Frames {
  send(type: number, payload: unknown): void;
  end(): void;
  cut(): void;
}

type Handler = (answering: Answering) => unknown;

/** A node that speaks the protocol and does nothing: each operation answers as its test says. */
export class FakeNode {
  readonly seen: Seen[] = [];
  readonly token = 'f'.repeat(64);
  readonly folder: string;
  readonly server: Server;
  version = VERSION;
  /** What the proof is made for; another token makes it wrong. */
  proves: string | undefined;
  readonly #handlers = new Map<OperationId, Handler>();
  readonly #connections = new Map<unknown, number>();

  private constructor(folder: string) {
    this.folder = folder;
    this.proves = this.token;
    this.server = createServer((request, response) => void this.#serve(request, response));
    this.server.on('connection', (socket) => this.#connections.set(socket, this.#connections.size + 1));
  }

  /** A node that listens and is registered in a data folder of its own, until the test ends. */
  static async start(handlers: Partial<Record<OperationId, Handler>> = {}): Promise<FakeNode> {
    const node = new FakeNode(await tempFolder());
    for (const id of OPERATION_IDS) if (handlers[id] !== undefined) node.on(id, handlers[id]);
    node.server.listen(0, '127.0.0.1');
    await once(node.server, 'listening');
    onTestFinished(() => node.close());
    await writeRegistration(nodePaths(node.folder), node.registration());
    return node;
  }

  get port(): number {
    return (this.server.address() as AddressInfo | null)?.port ?? 0;
  }

  get connections(): number {
    return this.#connections.size;
  }

  on(id: OperationId, handler: Handler): void {
    this.#handlers.set(id, handler);
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  registration(): Registration {
    return {
      url: `http://127.0.0.1:${this.port}`, host: '127.0.0.1', port: this.port, pid: process.pid, version: this.version,
      token: this.token, nodeId: NODE_ID, boot: 'boot', startedAt: 1, program: join(this.folder, 'main.js'), user: 'kai',
    }; // prettier-ignore
  }

  /** The inputs that an operation was asked with. */
  inputs(id: OperationId): Record<string, unknown>[] {
    return this.seen.filter((seen) => seen.id === id).map(({ input }) => input);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const seen = await this.#understand(request);
      this.seen.push(seen);
      const challenge = request.headers[HEADERS.challenge];
      if (typeof challenge === 'string') this.#prove(challenge, response);
      if (seen.id !== 'system.health' && seen.token !== this.token) throw new LoopsyError('invalid_key');
      const handler = this.#handlers.get(seen.id) ?? DEFAULTS[seen.id];
      if (handler === undefined) throw new LoopsyError('internal', { message: `the fake has no ${seen.id}` });
      const output = await handler({ ...seen, request, response, frames: () => framesOn(response) });
      if (response.headersSent) return;
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(rowOf(seen.id).output.parse(output)));
    } catch (thrown) {
      const error =
        thrown instanceof LoopsyError ? thrown : new LoopsyError('invalid_request', { message: String(thrown) });
      if (error.details?.['retryAfterMs'] !== undefined) response.setHeader('retry-after', '0');
      response.statusCode = error.status;
      response.end(JSON.stringify(error.toBody()));
    }
  }

  #prove(challenge: string, response: ServerResponse): void {
    const proof = answerChallenge(challenge, {
      localPort: this.port,
      findHash: (keyId) => {
        const hash = hashToken(this.proves ?? '');
        return this.proves !== undefined && keyIdOf(hash) === keyId ? hash : undefined;
      },
    });
    if (proof !== undefined) response.setHeader(HEADERS.proof, proof);
  }

  async #understand(request: IncomingMessage): Promise<Seen> {
    const url = new URL(request.url ?? '', 'http://node');
    for (const id of OPERATION_IDS) {
      const op = rowOf(id);
      const [plain = '', mark = ''] = op.path.split('?');
      // A mark in the query tells one operation from another of the same path.
      if (mark !== '' && url.searchParams.get(mark.split('=')[0] ?? '') === null) continue;
      if (mark === '' && op.path === '/context' && url.searchParams.has('watch')) continue;
      const pattern = new RegExp(`^${BASE_PATH}${plain.replaceAll(/:[a-zA-Z]+/g, '([^/]+)')}$`);
      const match = op.method === request.method ? pattern.exec(url.pathname) : null;
      if (match === null) continue;
      const fields: Record<string, unknown> = Object.fromEntries(
        pathFields(op.path).map((name, at) => [name, decodeURIComponent(match[at + 1] ?? '')]),
      );
      const peer = op.remote ? (url.searchParams.get('peer') ?? undefined) : undefined;
      if (op.remote) url.searchParams.delete('peer');
      if (mark !== '') url.searchParams.delete(mark.split('=')[0] ?? '');
      Object.assign(fields, Object.fromEntries(url.searchParams));
      if (!inputInQuery(op)) Object.assign(fields, JSON.parse(await textOf(request)));
      const input = z.record(z.string(), z.unknown()).parse(op.input.parse(fields));
      const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
      return {
        id,
        input,
        peer,
        token,
        connection: this.#connections.get(request.socket) ?? 0,
        headers: request.headers,
      };
    }
    throw new LoopsyError('unknown_route', { message: `${request.method ?? ''} ${request.url ?? ''}` });
  }
}

/** A whole body as text. */
export const textOf = async (request: AsyncIterable<Uint8Array>): Promise<string> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
};

const framesOn = (response: ServerResponse): Frames => {
  response.writeHead(200, { 'content-type': FRAMES_TYPE });
  return {
    send: (type, payload) => {
      const bytes = payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload));
      response.write(Buffer.concat([frameHeader(type, bytes.length), bytes]));
    },
    end: () => void response.end(),
    cut: () => void response.destroy(),
  };
};

const NODE_ID = 'a'.repeat(32);
export const JOB_ID = '01j8zq0v3m8k2t4n6p8r0s2v4w';
export const FINGERPRINT = '3f9a'.repeat(16);

export const STARTED = {
  jobId: JOB_ID,
  state: 'running',
  host: 'maria',
  nodeId: NODE_ID,
  user: 'maria',
  cwd: '/home/maria',
};
export const OUTCOME = {
  jobId: JOB_ID, exitCode: 0, duration: 12, killed: false, endedBy: 'exit', host: 'maria', nodeId: NODE_ID, user: 'maria', cwd: '/home/maria',
}; // prettier-ignore

export const GRANT = { level: 'full', scopes: SCOPES, reach: 'all' };
export const PEER = {
  nodeId: 'b'.repeat(32), name: 'maria', hostname: 'Maria’s Mac', address: '192.168.1.20', port: 19532, platform: 'darwin', version: VERSION,
  capabilities: ['execute'], status: 'online', lastSeen: 1_799_999_990_000, trusted: true, manuallyAdded: false, fingerprint: FINGERPRINT, grant: GRANT,
}; // prettier-ignore
export const STATUS = {
  nodeId: NODE_ID, hostname: 'kai', platform: 'linux', version: VERSION, port: 19532, capabilities: ['execute'], fingerprint: FINGERPRINT,
  user: 'kai', pid: 4711, uptime: 7_200_000, dataDir: '/home/kai/.loopsy', listening: ['0.0.0.0:19532'], addresses: ['192.168.1.20:19532'], tls: true,
  peers: { total: 0, online: 0, offline: 0 }, jobs: { active: 1, queued: 0, detached: 0, held: 0, total: 3 }, memory: { rss: 71_000_000 }, restartNeeded: [], warnings: [],
}; // prettier-ignore
export const JOB = {
  jobId: JOB_ID, command: 'make', args: ['test'], cwd: '/home/maria', shell: false, state: 'ended', createdAt: 1_799_999_000_000, startedAt: 1_799_999_000_000,
  endedAt: 1_799_995_000_000, duration: 12_345.6, fromNodeId: NODE_ID, caller: 'owner', exitCode: 2, endedBy: 'exit', outputBytes: 12_345, host: 'maria', user: 'maria',
}; // prettier-ignore
export const TRANSFER_ID = '01j8zq0v3m8k2t4n6p8r0s2v6y';
export const TRANSFER: Transfer = {
  transferId: TRANSFER_ID, role: 'mover', from: { name: 'kai', nodeId: NODE_ID }, to: { name: 'maria', nodeId: 'b'.repeat(32) }, sources: ['/srv/kai/x'],
  dest: 'inbox/', state: 'running', caller: 'owner', startedAt: 1_799_999_990_000, duration: 1400, counting: false, folders: 1, links: 0, removed: 0,
  files: { found: 8, done: 3, skipped: 5, failed: 0 }, bytes: { found: 20_000_000, sent: 12_000_000, done: 20_000_000 }, failures: [],
}; // prettier-ignore
export const MOVED: Transfer = { ...TRANSFER, state: 'ended', outcome: 'done', endedAt: 1_799_999_991_400 };
export const FILE = {
  name: 'notes.txt', path: '/home/maria/notes.txt', type: 'file', size: 12_345, modified: 1_799_999_000_000, mode: 0o644,
}; // prettier-ignore
export const RECORD = {
  timestamp: 1_799_999_000_000, requestId: '1', caller: 'peer:maria', fromIp: '192.168.1.20', operation: 'job.execute', method: 'POST', path: '/api/v1/execute',
  decision: 'command_denied', statusCode: 403, duration: 1, command: 'rm', count: 3,
}; // prettier-ignore
export const ENTRY = {
  key: 'build/status', value: 'green\nsince noon', fromNodeId: NODE_ID, agent: 'claude', createdAt: 1_799_999_000_000, updatedAt: 1_799_999_000_000,
  ttl: 3600, expiresAt: 1_800_003_600_000, revision: 7,
}; // prettier-ignore
export const WATCHED = [
  { cursor: 0, type: 'compacted', revision: 7 }, { cursor: 0, type: 'snapshot', revision: 7 }, { cursor: 0, type: 'set', entry: ENTRY },
  { cursor: 7, type: 'ready', revision: 7 }, { cursor: 8, type: 'delete', key: 'old\u202E', revision: 8 }, { cursor: 9, type: 'delete', key: 'b', revision: 9, expired: true },
].map((event) => contextEventSchema.parse(event)); // prettier-ignore
const LEASE = { name: 'deploy', owner: 'peer:maria agent:claude', fence: 41, expiresAt: 1_800_000_060_000 };
const { sources: _sources, ...MOVING } = TRANSFER;
export const EVENTS = [
  { type: 'transfer.started', at: 1_799_999_990_000, transfer: { ...MOVING, source: '/srv/kai/x', more: 2 } },
  { type: 'transfer.ended', at: 1_799_999_991_400, transfer: { ...MOVING, source: '/srv/kai/x', more: 0, outcome: 'failed', message: 'full\u202E', files: { found: 1, done: 0, skipped: 0, failed: 1 } } },
  { type: 'file.written', at: 1_799_999_992_000, file: { path: '/home/kai/a', bytes: 5, caller: 'peer:maria' } },
  { type: 'file.failed', at: 1_799_999_992_500, file: { path: '/home/kai/b', bytes: 0, caller: 'peer:maria', error: 'disk_full', message: 'it does not fit' } },
  { type: 'lease.changed', at: 1_799_999_992_550, name: 'deploy', change: 'acquired', owner: 'peer:maria', fence: 41 },
  { type: 'message.received', at: 1_799_999_992_600, message: { id: MESSAGE_ID, from: 'maria', fromAgent: 'codex', type: 'chat' } },
  { type: 'message.state', at: 1_799_999_992_700, message: { id: MESSAGE_ID, box: 'outbox', from: 'kai', to: 'maria', state: 'read' } },
  { type: 'message.rest', at: 1_799_999_992_800, from: 'kai', to: 'maria#codex', restMs: 300_000 },
  { type: 'gap', at: 1_799_999_993_000, reason: 'not kept' },
].map((event) => eventSchema.parse(event)); // prettier-ignore

/** Begins a stream of a transfer's events. */
export const transferEvents = ({ response }: Answering) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (type: TransferEvent['type'], transfer: Transfer, items?: TransferEvent['items']): void =>
    void response.write(`data: ${JSON.stringify(transferEventSchema.parse({ type, transfer, items }))}\n\n`);
  return { send, end: () => void response.end(), cut: () => void response.destroy() };
};

/** A transfer that begins, and has ended at once. */
export const moving =
  (ended: Transfer) =>
  (answering: Answering): void => {
    const { send, end } = transferEvents(answering);
    send('started', { ...TRANSFER, transferId: ended.transferId });
    send('end', ended);
    end();
  };

/** A transfer that begins, and then goes on for ever. */
export const endless = (answering: Answering): Promise<never> => {
  transferEvents(answering).send('started', TRANSFER);
  return new Promise(() => undefined);
};

/** What each operation answers where a test says nothing else. */
const DEFAULTS: Partial<Record<OperationId, Handler>> = {
  'system.health': () => ({ status: 'ok', nodeId: NODE_ID, uptime: 7_200_000, version: VERSION }),
  'system.status': () => STATUS,
  'system.doctor': () => ({ checks: [{ name: 'disk', ok: true, level: 'ok', detail: '12 GB free' }] }),
  'system.stop': () => ({ success: true, pid: process.pid }),
  'peer.list': () => ({ peers: [PEER] }),
  'peer.show': () => PEER,
  'peer.add': ({ input }) => ({ ...PEER, trusted: false, ...input }),
  'peer.remove': () => ({ success: true, nodeId: PEER.nodeId, name: 'maria', trusted: true, told: true }),
  'peer.rename': ({ input }) => ({ ...PEER, name: input['name'] }),
  'peer.grant': ({ input }) => ({ ...PEER, grant: { ...GRANT, level: input['level'] } }),
  'peer.revoke': () => ({ ...PEER, grant: { ...GRANT, scopes: [] } }),
  'peer.ping': () => ({ nodeId: PEER.nodeId, latencyMs: 1.25, clockSkewMs: 3, version: VERSION }),
  'peer.probe': () => ({
    nodeId: PEER.nodeId,
    fingerprint: FINGERPRINT,
    address: '192.168.1.20',
    port: 19532,
    ownFingerprint: '00ff'.repeat(16),
    trusted: false,
  }),
  'peer.trust': () => ({
    peer: PEER,
    mutual: false,
    ownFingerprint: '00ff'.repeat(16),
    ownAddresses: ['192.168.1.5:19532'],
  }),
  'job.stream': ({ frames }) => {
    const { send, end } = frames();
    send(FRAME.started, STARTED);
    send(FRAME.exit, OUTCOME);
    end();
  },
  'job.list': () => ({ jobs: [JOB] }),
  'job.get': () => JOB,
  'job.output': ({ frames }) => {
    const { send, end } = frames();
    send(FRAME.started, { ...STARTED, state: 'ended' });
    send(FRAME.stdout, Buffer.from('old output\n'));
    send(FRAME.exit, { ...OUTCOME, exitCode: 2 });
    end();
  },
  'job.signal': () => ({ success: true, jobId: JOB_ID, delivered: true }),
  'job.cancel': () => ({ success: true, jobId: JOB_ID, state: 'cancelled' }),
  'job.stdin': async ({ request }) => ({ success: true, jobId: JOB_ID, bytes: (await textOf(request)).length }),
  'file.list': () => ({ path: '/home/maria', files: [FILE] }),
  'transfer.start': () => ({ ...TRANSFER, detached: true }),
  'transfer.run': moving(MOVED),
  'transfer.follow': moving(MOVED),
  'transfer.list': () => ({ transfers: [TRANSFER] }),
  'transfer.get': () => MOVED,
  'transfer.cancel': () => ({ success: true, transferId: TRANSFER_ID, state: 'cancelled', resumable: true }),
  'context.set': ({ input }) => ({ ...ENTRY, key: input['key'], value: input['value'] }),
  'context.get': () => ENTRY,
  'context.delete': ({ input }) => ({ success: true, key: input['key'], revision: 8 }),
  'context.list': () => ({ entries: [ENTRY] }),
  'context.watch': ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(WATCHED.map((event) => `id: 7\ndata: ${JSON.stringify(event)}\n\n`).join(''));
  },
  'context.broadcast': () => ({
    results: [
      { peer: 'maria', success: true, revision: 3 },
      { peer: 'kai', success: false, error: { name: 'peer_offline', message: 'the peer is offline' } },
    ],
  }),
  'lease.acquire': ({ input }) => ({ ...LEASE, name: input['name'] }),
  'lease.renew': ({ input }) => ({ ...LEASE, name: input['name'] }),
  'lease.release': ({ input }) => ({ success: true, name: input['name'] }),
  'lease.list': () => ({ leases: [LEASE] }),
  ...MAIL_ANSWERS,
  'key.show': () => ({ key: 'a'.repeat(64) }),
  'key.generate': () => ({ key: 'b'.repeat(64) }),
  'key.list': () => ({ keys: [{ name: 'ci', kind: 'named', grant: GRANT }] }),
  'key.add': ({ input }) => ({ name: input['name'], key: 'c'.repeat(64), grant: GRANT }),
  'key.grant': ({ input }) => ({ name: input['name'], kind: 'named', grant: { ...GRANT, level: input['level'] } }),
  'key.revoke': ({ input }) => ({ success: true, name: input['name'] }),
  'event.follow': ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(EVENTS.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''));
  },
  'audit.list': () => ({ records: [RECORD] }),
  'audit.follow': ({ frames }) => {
    const { send, end } = frames();
    send(FRAME.event, RECORD);
    end();
  },
};
