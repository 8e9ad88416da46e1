import type { z } from 'zod';

import { auditFollowSchema, auditInputSchema, auditListSchema } from './audit.ts';
import * as jobs from './jobs.ts';
import * as keys from './keys.ts';
import { CONTEXT_OPERATIONS } from './context-operations.ts';
import { MESSAGE_OPERATIONS } from './message-operations.ts';
import { eventFollowSchema, eventSchema } from './events.ts';
import { type Kind, operation, type Operation } from './operation.ts';
import { pageInputSchema } from './page.ts';
import * as pairing from './pairing.ts';
import * as peers from './peers.ts';
import { requestCancelledSchema, requestRefSchema } from './requests.ts';
import { configChangeSchema, configOutputSchema } from './settings.ts';
import * as system from './system.ts';
import * as transfers from './transfers.ts';

const MiB = 1_048_576;
const PAIR_BODY_BYTES = 8192;
const PAIR_ERRORS = ['pair_not_open', 'pair_expired', 'pair_busy', 'rate_limited', 'peer_version'] as const;
const READ_ERRORS = ['path_denied', 'file_not_found', 'file_too_large', 'transfer_failed'] as const;
const WRITE_ERRORS = [
  'path_denied', 'file_not_found', 'file_too_large', 'target_busy', 'disk_full', 'disk_read_only', 'name_unusable',
  'wrong_type', 'transfer_failed',
] as const;
const JOB_ERRORS = ['command_denied', 'path_denied', 'too_many_jobs', 'execution_failed'] as const;

/**
 * The single source of the API. Routes, validation, authorisation, limits, audit, the typed client, OpenAPI, the
 * reference and the authorisation tests are derived from it.
 */
export const OPERATIONS = {
  'system.health': operation({
    summary: 'Say that the node is up', method: 'GET', path: '/health', access: 'public', remote: false, effect: false,
    audit: [], kind: 'json', input: system.emptySchema, output: system.healthSchema, errors: [], cli: 'status',
  }),
  'system.status': operation({
    summary: "Show the node's facts and counts", method: 'GET', path: '/status', access: 'status', remote: true, effect: false,
    audit: [], kind: 'json', input: system.emptySchema, output: system.statusSchema, errors: [], cli: 'status',
  }),
  'system.identity': operation({
    summary: 'Say who the node is and what it can do', method: 'GET', path: '/identity', access: 'status', remote: true,
    effect: false, audit: [], kind: 'json', input: system.emptySchema, output: system.identitySchema, errors: [], cli: 'status',
  }),
  'system.doctor': operation({
    summary: "Check the node's health", method: 'GET', path: '/doctor', access: 'owner', remote: false, effect: false,
    audit: [], kind: 'json', input: system.emptySchema, output: system.doctorSchema, errors: [], cli: 'doctor',
  }),
  'system.openapi': operation({
    summary: 'Describe this API', method: 'GET', path: '/openapi.json', access: 'status', remote: false, effect: false,
    audit: [], kind: 'json', input: system.emptySchema, output: system.openapiSchema, errors: [],
    cli: { none: 'for programs' },
  }),
  'system.metrics': operation({
    summary: 'Count what the node does, for Prometheus', method: 'GET', path: '/metrics', access: 'status', remote: false,
    effect: false, audit: [], kind: 'json', text: 'text/plain; version=0.0.4; charset=utf-8', input: system.emptySchema,
    output: system.metricsSchema, errors: [], cli: { none: 'for programs' },
  }),
  'system.stop': operation({
    summary: 'Stop the node', method: 'POST', path: '/stop', access: 'owner', remote: false, effect: true, audit: [],
    kind: 'json', input: system.emptySchema, output: system.stopOutputSchema, errors: [], cli: 'stop',
  }),

  'peer.list': operation({
    summary: 'List peers', method: 'GET', path: '/peers', access: 'status', remote: false, effect: false, audit: [],
    kind: 'json', input: pageInputSchema, output: peers.peerListSchema, errors: [], cli: 'peers',
  }),
  'peer.add': operation({
    summary: 'Add an address', method: 'POST', path: '/peers', access: 'owner', remote: false, effect: true,
    audit: ['address', 'port', 'name'], kind: 'json', input: peers.peerAddSchema, output: peers.peerSchema,
    errors: ['peer_unreachable', 'peer_handshake', 'conflict'], cli: 'peers add',
  }),
  'peer.show': operation({
    summary: 'Show one peer', method: 'GET', path: '/peers/:nodeId', access: 'status', remote: false, effect: false,
    audit: ['nodeId'], kind: 'json', input: peers.peerRefInputSchema, output: peers.peerSchema, errors: ['peer_not_found'],
    cli: 'peers show',
  }),
  'peer.remove': operation({
    summary: 'Stop trusting a peer, at once', method: 'DELETE', path: '/peers/:nodeId', access: 'owner', remote: false,
    effect: true, audit: ['nodeId', 'keepRuns'], auditFirst: true, kind: 'json', input: peers.peerRemoveSchema,
    output: peers.peerRemovedSchema, errors: ['peer_not_found', 'conflict'], cli: 'peers remove',
  }),
  'peer.rename': operation({
    summary: "Change a peer's local name", method: 'PATCH', path: '/peers/:nodeId', access: 'owner', remote: false,
    effect: true, audit: ['nodeId', 'name'], kind: 'json', input: peers.peerRenameSchema, output: peers.peerSchema,
    errors: ['peer_not_found', 'conflict'], cli: 'peers rename',
  }),
  'peer.grant': operation({
    summary: 'Set what a peer may do here', method: 'PUT', path: '/peers/:nodeId/grant', access: 'owner', remote: false,
    effect: true, audit: ['nodeId', 'level', 'scopes', 'folders', 'expires', 'reach'], auditFirst: true, kind: 'json',
    input: peers.peerGrantSchema, output: peers.peerSchema, errors: ['peer_not_found'], cli: 'peers grant',
  }),
  'peer.revoke': operation({
    summary: 'Take away all that a peer may do here', method: 'DELETE', path: '/peers/:nodeId/grant', access: 'owner',
    remote: false, effect: true, audit: ['nodeId'], auditFirst: true, kind: 'json', input: peers.peerRefInputSchema,
    output: peers.peerSchema, errors: ['peer_not_found'], cli: 'peers revoke',
  }),
  'peer.ping': operation({
    summary: 'Measure the way to a peer', method: 'POST', path: '/peers/:nodeId/ping', access: 'status', remote: false,
    effect: false, audit: ['nodeId'], kind: 'json', input: peers.peerRefInputSchema, output: peers.pingSchema,
    errors: ['peer_not_found', 'peer_unreachable', 'peer_handshake', 'request_timeout'], cli: 'doctor',
  }),
  'peer.probe': operation({
    summary: "See an address's fingerprint", method: 'POST', path: '/peers/probe', access: 'owner', remote: false,
    effect: false, audit: ['address', 'port'], kind: 'json', input: peers.probeSchema, output: peers.probedSchema,
    errors: ['peer_unreachable', 'peer_handshake'], cli: 'connect',
  }),
  'peer.trust': operation({
    summary: 'Trust the machine with this fingerprint', method: 'POST', path: '/peers/trust', access: 'owner', remote: false,
    effect: true, audit: ['address', 'port', 'fingerprint', 'name', 'grant'], auditFirst: true, kind: 'json',
    input: peers.trustSchema, output: peers.trustedSchema,
    errors: ['peer_unreachable', 'peer_handshake', 'conflict'], cli: 'connect',
  }),
  'peer.handshake': operation({
    summary: 'Exchange facts at the start of a link', method: 'POST', path: '/peers/handshake', access: 'link', remote: false,
    effect: false, audit: ['hostname', 'version', 'port'], kind: 'json', input: peers.handshakeSchema,
    output: peers.handshakeSchema, errors: ['peer_version'], cli: { none: 'nodes only' },
  }),
  'peer.farewell': operation({
    summary: 'Say that the sender no longer trusts this node', method: 'POST', path: '/peers/farewell', access: 'link',
    remote: false, effect: false, audit: ['reason'], kind: 'json', input: peers.farewellSchema, output: system.emptySchema,
    errors: [], cli: { none: 'nodes only' },
  }),
  'request.cancel': operation({
    summary: 'End a request whose answer is no longer wanted', method: 'DELETE', path: '/requests/:requestId', access: 'link',
    remote: false, effect: false, audit: ['requestId'], kind: 'json', input: requestRefSchema, output: requestCancelledSchema,
    errors: [], cli: { none: 'nodes only' },
  }),

  'pair.start': operation({
    summary: 'Show a code that another machine enters', method: 'POST', path: '/pair/start', access: 'owner', remote: false,
    effect: true, audit: ['invite', 'name', 'grant'], auditFirst: true, kind: 'json', input: pairing.pairStartSchema,
    output: pairing.pairStartedSchema, errors: ['pair_open'], cli: 'pair',
  }),
  'pair.join': operation({
    summary: 'Enter the code that another machine shows', method: 'POST', path: '/pair/join', access: 'owner', remote: false,
    effect: true, audit: ['address', 'port', 'name', 'grant'], auditFirst: true, kind: 'json', status: 202,
    input: pairing.pairJoinSchema, output: pairing.pairJoinedSchema, errors: ['pair_open'], cli: 'pair',
  }),
  'pair.confirm': operation({
    summary: 'Say yes or no to the other machine', method: 'POST', path: '/pair/confirm', access: 'owner', remote: false,
    effect: true, audit: ['confirmed', 'name', 'grant', 'replace', 'role'], auditFirst: true, kind: 'json',
    input: pairing.pairConfirmSchema, output: pairing.pairConfirmedSchema,
    errors: ['conflict', 'pair_not_open', 'pair_expired', 'pair_refused'], cli: 'pair',
  }),
  'pair.status': operation({
    summary: 'Say where a pairing stands', method: 'GET', path: '/pair/status', access: 'owner', remote: false, effect: false,
    audit: ['role'], kind: 'json', input: pairing.pairStatusInputSchema, output: pairing.pairStatusSchema, errors: [],
    cli: 'pair',
  }),
  'pair.initiate': operation({
    summary: 'Begin an attempt at an open code', method: 'POST', path: '/pair/initiate', access: 'pairing', remote: false,
    effect: false, audit: [], auditFirst: true, kind: 'json', bodyLimit: PAIR_BODY_BYTES, input: pairing.pairMessageSchema,
    output: pairing.pairMessageSchema, errors: PAIR_ERRORS, cli: { none: 'nodes only' },
  }),
  'pair.prove': operation({
    summary: 'Prove that the code is known', method: 'POST', path: '/pair/prove', access: 'pairing', remote: false,
    effect: false, audit: [], auditFirst: true, kind: 'json', bodyLimit: PAIR_BODY_BYTES, input: pairing.pairMessageSchema,
    output: pairing.pairMessageSchema, errors: ['pair_wrong_code', ...PAIR_ERRORS], cli: { none: 'nodes only' },
  }),
  'pair.reveal': operation({
    summary: 'Open what was fixed before', method: 'POST', path: '/pair/reveal', access: 'pairing', remote: false,
    effect: false, audit: [], auditFirst: true, kind: 'json', bodyLimit: PAIR_BODY_BYTES, input: pairing.pairMessageSchema,
    output: pairing.pairMessageSchema, errors: PAIR_ERRORS, cli: { none: 'nodes only' },
  }),
  'pair.settle': operation({
    summary: 'Exchange what both people said', method: 'POST', path: '/pair/settle', access: 'pairing', remote: false,
    effect: false, audit: [], auditFirst: true, kind: 'json', bodyLimit: PAIR_BODY_BYTES, input: pairing.pairMessageSchema,
    output: pairing.pairMessageSchema, errors: PAIR_ERRORS, cli: { none: 'nodes only' },
  }),

  'job.execute': operation({
    summary: 'Run a command and answer with its output', method: 'POST', path: '/execute', access: 'exec', remote: true,
    effect: true, limit: 'execute', audit: ['command', 'args', 'cwd', 'shell', 'timeout', 'detach'], kind: 'json', bodyLimit: 8 * MiB,
    input: jobs.executeSchema, output: jobs.executeResultSchema, errors: JOB_ERRORS,
    object: { kind: 'job', role: 'creates', field: 'jobId', lasting: 'detach' }, cli: 'exec',
  }),
  'job.stream': operation({
    summary: 'Run a command and stream its output', method: 'POST', path: '/execute/stream', access: 'exec', remote: true,
    effect: true, limit: 'execute', audit: ['command', 'args', 'cwd', 'shell', 'timeout', 'detach'], kind: 'stream', bodyLimit: 8 * MiB,
    input: jobs.executeSchema, output: jobs.jobEventSchema, errors: JOB_ERRORS,
    object: { kind: 'job', role: 'creates', field: 'jobId', lasting: 'detach' }, resumeWith: 'job.output', cli: 'exec',
  }),
  'job.list': operation({
    summary: 'List runs', method: 'GET', path: '/execute/jobs', access: 'exec', remote: true, effect: false, audit: ['state'],
    kind: 'json', input: jobs.jobListInputSchema, output: jobs.jobListSchema, errors: [],
    object: { kind: 'job', role: 'lists', field: 'jobId', list: 'jobs' }, cli: 'jobs list',
  }),
  'job.get': operation({
    summary: 'Show one run', method: 'GET', path: '/execute/:jobId', access: 'exec', remote: true, effect: false,
    audit: ['jobId'], kind: 'json', input: jobs.jobRefSchema, output: jobs.jobSchema, errors: ['job_not_found'],
    object: { kind: 'job', role: 'uses', field: 'jobId' }, cli: 'jobs show',
  }),
  'job.output': operation({
    summary: "Read or follow a run's output from a cursor", method: 'GET', path: '/execute/:jobId/output', access: 'exec',
    remote: true, effect: false, audit: ['jobId', 'since'], kind: 'stream', input: jobs.jobOutputInputSchema,
    output: jobs.jobEventSchema, errors: ['job_not_found'], object: { kind: 'job', role: 'uses', field: 'jobId' },
    cli: 'jobs attach',
  }),
  'job.stdin': operation({
    summary: "Send bytes to a run's stdin; their end closes it", method: 'POST', path: '/execute/:jobId/stdin', access: 'exec',
    remote: true, effect: true, audit: ['jobId'], kind: 'upload', input: jobs.jobRefSchema, output: jobs.stdinOutputSchema,
    errors: ['job_not_found', 'conflict'], object: { kind: 'job', role: 'uses', field: 'jobId' }, cli: 'exec',
  }),
  'job.signal': operation({
    summary: "Send a signal to a run's process group", method: 'POST', path: '/execute/:jobId/signal', access: 'exec',
    remote: true, effect: true, audit: ['jobId', 'signal'], kind: 'json', input: jobs.jobSignalInputSchema,
    output: jobs.jobSignalOutputSchema, errors: ['job_not_found'], object: { kind: 'job', role: 'uses', field: 'jobId' },
    cli: 'jobs kill',
  }),
  'job.cancel': operation({
    summary: 'End a run and its whole process tree', method: 'DELETE', path: '/execute/:jobId', access: 'exec', remote: true,
    effect: true, audit: ['jobId'], kind: 'json', input: jobs.jobRefSchema, output: jobs.jobCancelOutputSchema,
    errors: ['job_not_found'], object: { kind: 'job', role: 'uses', field: 'jobId' }, cli: 'jobs kill',
  }),

  'file.list': operation({
    summary: 'List a folder', method: 'POST', path: '/transfer/list', access: 'files:read', remote: true, effect: false,
    audit: ['path'], kind: 'json', input: transfers.fileListInputSchema, output: transfers.fileListSchema,
    errors: ['path_denied', 'file_not_found', 'wrong_type', 'transfer_failed'], cli: 'ls',
  }),
  'file.push': operation({
    summary: 'Write one file', method: 'POST', path: '/transfer/push', access: 'files:write', remote: true, effect: true,
    limit: 'transfer', audit: ['destPath'], kind: 'upload', form: true, input: transfers.filePushSchema,
    output: transfers.filePushedSchema, errors: [...WRITE_ERRORS, 'checksum_mismatch'], cli: 'send',
  }),
  'file.pull': operation({
    summary: 'Read one file', method: 'POST', path: '/transfer/pull', access: 'files:read', remote: true, effect: false,
    limit: 'transfer', audit: ['sourcePath'], kind: 'download', input: transfers.filePullSchema,
    output: transfers.targetWrittenSchema, cli: 'pull',
    errors: [...READ_ERRORS, 'source_changed', 'wrong_type', 'range_unsatisfiable'],
  }),
  'transfer.start': operation({
    summary: 'Move files between nodes, behind the answer', method: 'POST', path: '/transfers', access: 'files:write',
    remote: false, outbound: true, peers: ['from', 'to'], effect: true,
    audit: ['from', 'to', 'sources', 'dest', 'delete', 'dryRun', 'detach'], kind: 'json', status: 202, bodyLimit: 8 * MiB,
    input: transfers.transferInputSchema, output: transfers.transferSchema, errors: WRITE_ERRORS,
    object: { kind: 'transfer', role: 'creates', field: 'transferId', lasting: 'detach' }, cli: 'send',
  }),
  'transfer.run': operation({
    summary: 'Move files between nodes, and follow it; leaving ends it', method: 'POST', path: '/transfers/run',
    access: 'files:write', remote: false, outbound: true, peers: ['from', 'to'], effect: true,
    audit: ['from', 'to', 'sources', 'dest', 'delete', 'dryRun'], kind: 'stream', bodyLimit: 8 * MiB,
    input: transfers.transferInputSchema, output: transfers.transferEventSchema, errors: WRITE_ERRORS,
    object: { kind: 'transfer', role: 'creates', field: 'transferId' }, resumeWith: 'transfer.follow', cli: 'send',
  }),
  'transfer.list': operation({
    summary: 'List transfers', method: 'GET', path: '/transfers', access: 'files:read', remote: true, effect: false,
    audit: ['state'], kind: 'json', input: transfers.transferListInputSchema, output: transfers.transferListSchema, errors: [],
    object: { kind: 'transfer', role: 'lists', field: 'transferId', list: 'transfers' }, cli: 'transfers list',
  }),
  'transfer.get': operation({
    summary: 'Show one transfer', method: 'GET', path: '/transfers/:transferId', access: 'files:read', remote: true,
    effect: false, audit: ['transferId'], kind: 'json', input: transfers.transferRefSchema, output: transfers.transferSchema,
    errors: ['transfer_not_found'], object: { kind: 'transfer', role: 'uses', field: 'transferId' }, cli: 'transfers show',
  }),
  'transfer.follow': operation({
    summary: 'Follow a transfer', method: 'GET', path: '/transfers/:transferId/events', access: 'files:read', remote: true,
    effect: false, audit: ['transferId'], kind: 'stream', input: transfers.transferRefSchema,
    output: transfers.transferEventSchema, errors: ['transfer_not_found'],
    object: { kind: 'transfer', role: 'uses', field: 'transferId' }, cli: 'transfers attach',
  }),
  'transfer.cancel': operation({
    summary: 'End a transfer; what has arrived stays', method: 'DELETE', path: '/transfers/:transferId', access: 'files:read',
    remote: true, effect: true, audit: ['transferId'], kind: 'json', input: transfers.transferRefSchema,
    output: transfers.transferCancelSchema, errors: ['transfer_not_found'],
    object: { kind: 'transfer', role: 'uses', field: 'transferId' }, cli: 'transfers cancel',
  }),
  'source.open': operation({
    summary: 'Begin to read files for another node', method: 'POST', path: '/transfer/sources', access: 'files:read',
    remote: true, effect: true, limit: 'transfer', audit: ['paths', 'to'], kind: 'json', bodyLimit: 8 * MiB,
    input: transfers.sourceOpenSchema, output: transfers.sourceOpenedSchema, errors: READ_ERRORS,
    object: { kind: 'transfer', role: 'creates', field: 'endId' }, cli: { none: 'nodes only' },
  }),
  'source.read': operation({
    summary: 'Read from an open source', method: 'POST', path: '/transfer/sources/:endId', access: 'files:read', remote: true,
    effect: false, audit: ['endId'], kind: 'download', bodyLimit: 8 * MiB, input: transfers.sourceReadSchema,
    output: transfers.targetWrittenSchema, errors: ['transfer_not_found', 'source_changed', ...READ_ERRORS],
    object: { kind: 'transfer', role: 'uses', field: 'endId' }, cli: { none: 'nodes only' },
  }),
  'target.open': operation({
    summary: 'Begin to write files for another node', method: 'POST', path: '/transfer/targets', access: 'files:write',
    remote: true, effect: true, limit: 'transfer', audit: ['dest', 'from', 'delete', 'dryRun'], kind: 'json', bodyLimit: 8 * MiB,
    input: transfers.targetOpenSchema, output: transfers.targetOpenedSchema, errors: WRITE_ERRORS,
    object: { kind: 'transfer', role: 'creates', field: 'endId' }, cli: { none: 'nodes only' },
  }),
  // Each step may be said again: a repeat does no harm, and no result of it has to be kept.
  'target.write': operation({
    summary: 'One step of an open target', method: 'POST', path: '/transfer/targets/:endId', access: 'files:write',
    remote: true, effect: false, audit: ['endId', 'step'], kind: 'upload', input: transfers.targetWriteSchema,
    output: transfers.targetWrittenSchema, errors: ['transfer_not_found', 'transfer_cancelled', ...WRITE_ERRORS],
    object: { kind: 'transfer', role: 'uses', field: 'endId' }, cli: { none: 'nodes only' },
  }),
  'target.put': operation({
    summary: 'Bytes of a large file of an open target; each line of the answer is JSON and says how many have come',
    method: 'POST', path: '/transfer/targets/:endId/bytes', access: 'files:write', remote: true, effect: false,
    audit: ['endId'], kind: 'exchange', input: transfers.targetPutSchema, output: transfers.targetTakenSchema,
    errors: ['transfer_not_found', 'transfer_cancelled', ...WRITE_ERRORS], object: { kind: 'transfer', role: 'uses', field: 'endId' },
    cli: { none: 'nodes only' },
  }),
  'end.close': operation({
    summary: 'Leave an open source or target', method: 'DELETE', path: '/transfer/ends/:endId', access: 'files:read',
    remote: true, effect: true, audit: ['endId', 'outcome', 'files', 'bytes', 'failed'], kind: 'json',
    input: transfers.endCloseSchema, output: transfers.endClosedSchema, errors: ['transfer_not_found'],
    object: { kind: 'transfer', role: 'uses', field: 'endId' }, cli: { none: 'nodes only' },
  }),

  ...CONTEXT_OPERATIONS,
  ...MESSAGE_OPERATIONS,

  'key.show': operation({
    summary: "Show the owner's key", method: 'GET', path: '/key', access: 'owner', remote: false, effect: false, audit: [],
    auditFirst: true, kind: 'json', input: system.emptySchema, output: keys.ownerKeySchema, errors: [], cli: 'key show',
  }),
  'key.generate': operation({
    summary: "Replace the owner's key, at once", method: 'POST', path: '/key', access: 'owner', remote: false, effect: true,
    audit: [], auditFirst: true, kind: 'json', input: system.emptySchema, output: keys.ownerKeySchema, errors: ['conflict'],
    cli: 'key generate',
  }),
  'key.list': operation({
    summary: 'List named keys', method: 'GET', path: '/keys', access: 'owner', remote: false, effect: false, audit: [],
    kind: 'json', input: pageInputSchema, output: keys.keyListSchema, errors: [], cli: 'key list',
  }),
  'key.add': operation({
    summary: 'Add a named key for a program', method: 'POST', path: '/keys', access: 'owner', remote: false, effect: true,
    audit: ['name', 'grant'], auditFirst: true, kind: 'json', input: keys.keyAddSchema, output: keys.keyAddedSchema,
    errors: ['conflict'], cli: 'key add',
  }),
  'key.grant': operation({
    summary: 'Set what a named key, or the agents of this machine, may do', method: 'PUT', path: '/keys/:name/grant',
    access: 'owner', remote: false, effect: true, audit: ['name', 'level', 'scopes', 'folders', 'expires', 'reach'],
    auditFirst: true, kind: 'json', input: keys.keyGrantSchema, output: keys.keyRowSchema, errors: ['invalid_key'],
    cli: 'key grant',
  }),
  'key.revoke': operation({
    summary: 'Revoke a named key, at once', method: 'DELETE', path: '/keys/:name', access: 'owner', remote: false, effect: true,
    audit: ['name'], auditFirst: true, kind: 'json', input: keys.keyRefSchema, output: keys.keyChangedSchema,
    errors: ['invalid_key'], cli: 'key revoke',
  }),
  'agent.connect': operation({
    summary: 'Get a token for one agent process', method: 'POST', path: '/agents/connect', access: 'agent-secret',
    remote: false, effect: true, audit: ['label'], auditFirst: true, kind: 'json', input: keys.agentConnectSchema,
    output: keys.agentConnectedSchema, errors: [], cli: { none: 'agents only' },
  }),

  'config.get': operation({
    summary: 'Show the configuration in force', method: 'GET', path: '/config', access: 'owner', remote: false, effect: false,
    audit: [], kind: 'json', input: system.emptySchema, output: configOutputSchema, errors: [],
    cli: { none: 'people edit config.yaml' },
  }),
  'config.change': operation({
    summary: 'Change the configuration; all of it, or nothing', method: 'PATCH', path: '/config', access: 'owner',
    remote: false, effect: true, audit: [], auditFirst: true, kind: 'json', input: configChangeSchema,
    output: configOutputSchema, errors: ['conflict'], cli: { none: 'people edit config.yaml' },
  }),
  'event.follow': operation({
    summary: 'Follow what happens on the node', method: 'GET', path: '/events', access: 'status', remote: false, effect: false,
    audit: [], kind: 'stream', input: eventFollowSchema, output: eventSchema, errors: [], cli: 'events',
  }),
  'audit.list': operation({
    summary: 'Read the audit log', method: 'GET', path: '/audit', access: 'owner', remote: false, effect: false, audit: [],
    kind: 'json', input: auditInputSchema, output: auditListSchema, errors: [], cli: 'logs',
  }),
  'audit.follow': operation({
    summary: 'Follow the audit log', method: 'GET', path: '/audit/stream', access: 'owner', remote: false, effect: false,
    audit: [], kind: 'stream', input: auditFollowSchema, output: auditListSchema.shape.records.element, errors: [], cli: 'logs',
  }),
} as const;

/** The id of an operation, e.g. `job.execute`. */
export type OperationId = keyof typeof OPERATIONS;
/** The ids of the operations whose bytes have this shape. */
export type IdOf<Shape extends Kind> = {
  [Id in OperationId]: (typeof OPERATIONS)[Id]['kind'] extends Shape ? Id : never;
}[OperationId];
/** What callers send, before defaults. */
export type InputOf<Id extends OperationId> = z.input<(typeof OPERATIONS)[Id]['input']>;
/** What handlers receive, after validation. */
export type ParsedInputOf<Id extends OperationId> = z.output<(typeof OPERATIONS)[Id]['input']>;
/** What callers receive. */
export type OutputOf<Id extends OperationId> = z.output<(typeof OPERATIONS)[Id]['output']>;

/** All ids, in the table's order. */
// The cast is the one place where the table's keys become a list; Object.keys is typed as string[].
export const OPERATION_IDS = Object.keys(OPERATIONS) as OperationId[];

/** A row with its types widened, for code that works on every operation. */
export const rowOf = (id: OperationId): Operation => OPERATIONS[id];
