import { describe, expect, it } from 'vitest';

import { ERRORS, EXIT, type ErrorRow } from '../../src/protocol/errors.ts';
import { FRAME, FRAMES_TYPE } from '../../src/protocol/frames.ts';
import { OPERATION_IDS, rowOf } from '../../src/protocol/operations.ts';
import { HEADERS } from '../../src/protocol/requests.ts';
import { LEVELS, LEVEL_SCOPES, SCOPES } from '../../src/protocol/scopes.ts';
import { BASE_PATH, DEFAULT_PORT } from '../../src/protocol/version.ts';
import { verifies } from '../requirements.ts';

// Programs and scripts rely on these literals. A change here is a change of the contract: say so in the commit.
const OPERATIONS = `
  GET /health · system.health · public
  GET /status · system.status · status · remote
  GET /identity · system.identity · status · remote
  GET /doctor · system.doctor · owner
  GET /openapi.json · system.openapi · status
  GET /metrics · system.metrics · status
  POST /stop · system.stop · owner
  GET /peers · peer.list · status
  POST /peers · peer.add · owner
  GET /peers/:nodeId · peer.show · status
  DELETE /peers/:nodeId · peer.remove · owner
  PATCH /peers/:nodeId · peer.rename · owner
  PUT /peers/:nodeId/grant · peer.grant · owner
  DELETE /peers/:nodeId/grant · peer.revoke · owner
  POST /peers/:nodeId/ping · peer.ping · status
  POST /peers/probe · peer.probe · owner
  POST /peers/trust · peer.trust · owner
  POST /peers/handshake · peer.handshake · link
  POST /peers/farewell · peer.farewell · link
  DELETE /requests/:requestId · request.cancel · link
  POST /pair/start · pair.start · owner
  POST /pair/join · pair.join · owner
  POST /pair/confirm · pair.confirm · owner
  GET /pair/status · pair.status · owner
  POST /pair/initiate · pair.initiate · pairing
  POST /pair/prove · pair.prove · pairing
  POST /pair/reveal · pair.reveal · pairing
  POST /pair/settle · pair.settle · pairing
  POST /execute · job.execute · exec · remote
  POST /execute/stream · job.stream · exec · remote
  GET /execute/jobs · job.list · exec · remote
  GET /execute/:jobId · job.get · exec · remote
  GET /execute/:jobId/output · job.output · exec · remote
  POST /execute/:jobId/stdin · job.stdin · exec · remote
  POST /execute/:jobId/signal · job.signal · exec · remote
  DELETE /execute/:jobId · job.cancel · exec · remote
  POST /transfer/list · file.list · files:read · remote
  POST /transfer/push · file.push · files:write · remote
  POST /transfer/pull · file.pull · files:read · remote
  POST /transfers · transfer.start · files:write
  POST /transfers/run · transfer.run · files:write
  GET /transfers · transfer.list · files:read · remote
  GET /transfers/:transferId · transfer.get · files:read · remote
  GET /transfers/:transferId/events · transfer.follow · files:read · remote
  DELETE /transfers/:transferId · transfer.cancel · files:read · remote
  POST /transfer/sources · source.open · files:read · remote
  POST /transfer/sources/:endId · source.read · files:read · remote
  POST /transfer/targets · target.open · files:write · remote
  POST /transfer/targets/:endId · target.write · files:write · remote
  POST /transfer/targets/:endId/bytes · target.put · files:write · remote
  DELETE /transfer/ends/:endId · end.close · files:read · remote
  PUT /context/:key · context.set · context:write · remote
  GET /context/:key · context.get · context:read · remote
  DELETE /context/:key · context.delete · context:write · remote
  GET /context · context.list · context:read · remote
  GET /context?watch=true · context.watch · context:read · remote
  POST /broadcast · context.broadcast · context:write
  POST /leases/:name · lease.acquire · context:write · remote
  PUT /leases/:name · lease.renew · context:write · remote
  DELETE /leases/:name · lease.release · context:write · remote
  GET /leases · lease.list · context:read · remote
  POST /messages · message.send · messages
  GET /messages · message.list · messages
  GET /messages/wait · message.wait · messages
  GET /messages/addresses · message.addresses · messages
  GET /messages/:id · message.show · messages
  POST /messages/:id/read · message.read · messages
  POST /messages/:id/ack · message.ack · messages
  DELETE /messages/:id · message.cancel · messages
  POST /messages/deliver · message.deliver · messages
  POST /messages/receipts · message.receipts · link
  GET /key · key.show · owner
  POST /key · key.generate · owner
  GET /keys · key.list · owner
  POST /keys · key.add · owner
  PUT /keys/:name/grant · key.grant · owner
  DELETE /keys/:name · key.revoke · owner
  POST /agents/connect · agent.connect · agent-secret
  GET /config · config.get · owner
  PATCH /config · config.change · owner
  GET /events · event.follow · status
  GET /audit · audit.list · owner
  GET /audit/stream · audit.follow · owner
`;

const ERROR_ROWS = `
  1001 missing_key 401 exit 4
  1002 invalid_key 403 exit 4
  1003 expired_key 401 exit 4
  1004 scope_missing 403 exit 4
  1005 revoked 403 exit 4
  1006 foreign_origin 403 exit 4
  1007 plain_http 426 exit 4
  2001 peer_not_found 404 exit 1
  2002 peer_offline 503 exit 5 retry
  2003 peer_unreachable 503 exit 5 retry
  2004 peer_handshake 502 exit 5
  2005 peer_version 409 exit 1
  2006 outcome_unknown 504 exit 5
  3001 command_denied 403 exit 4
  3002 execution_timeout 408 exit 6
  3003 too_many_jobs 429 exit 1 retry
  3004 execution_failed 422 exit 2
  3005 execution_cancelled 409 exit 1
  3006 job_not_found 404 exit 1
  4001 path_denied 403 exit 4
  4002 file_not_found 404 exit 1
  4003 file_too_large 413 exit 1
  4004 checksum_mismatch 422 exit 1
  4005 transfer_failed 500 exit 1
  4006 source_changed 409 exit 1 retry
  4007 target_busy 409 exit 1 retry
  4008 disk_full 507 exit 1
  4009 disk_read_only 403 exit 1
  4010 name_unusable 422 exit 1
  4011 wrong_type 409 exit 1
  4012 transfer_not_found 404 exit 1
  4013 transfer_cancelled 409 exit 1
  4014 range_unsatisfiable 416 exit 2
  5001 context_not_found 404 exit 1
  5002 context_too_large 413 exit 1
  5003 context_full 507 exit 1
  5004 context_conflict 409 exit 1
  5005 lease_held 409 exit 1 retry
  5006 lease_lost 409 exit 1
  7001 message_not_found 404 exit 1
  7002 message_refused 403 exit 1
  7003 message_too_large 413 exit 1
  7004 message_loop 429 exit 1 retry
  7005 message_expired 410 exit 1
  7006 message_taken 409 exit 1
  7007 mailbox_full 507 exit 1
  8001 pair_not_open 404 exit 1
  8002 pair_expired 410 exit 1
  8003 pair_wrong_code 403 exit 1
  8004 pair_busy 409 exit 1
  8005 pair_open 409 exit 1
  8006 pair_refused 409 exit 1
  9001 internal 500 exit 1
  9002 rate_limited 429 exit 1 retry
  9003 invalid_request 400 exit 2
  9004 unknown_route 404 exit 2
  9005 body_too_large 413 exit 1
  9006 node_stopping 503 exit 5 retry
  9007 node_not_running 503 exit 3
  9008 request_timeout 408 exit 6 retry
  9009 conflict 409 exit 1
  9010 too_many_streams 429 exit 1 retry
  9011 config_invalid 422 exit 1
  9012 data_folder 500 exit 1
`;

const lines = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

const operationLine = (id: (typeof OPERATION_IDS)[number]): string => {
  const { method, path, access, remote } = rowOf(id);
  return `${method} ${path} · ${id} · ${access}${remote ? ' · remote' : ''}`;
};

const errorLine = ([name, row]: [string, ErrorRow]): string =>
  `${row.code} ${name} ${row.status} exit ${row.exit}${row.retry ? ' retry' : ''}`;

describe('the protocol', () => {
  it(verifies('repo.pins', 'has these routes, for these callers'), () => {
    expect(OPERATION_IDS.map(operationLine)).toEqual(lines(OPERATIONS));
  });

  it('has these headers', () => {
    expect(HEADERS).toEqual({
      requestId: 'loopsy-request-id',
      repeat: 'loopsy-repeat',
      object: 'loopsy-object',
      onBehalfOf: 'loopsy-on-behalf-of',
      node: 'loopsy-node',
      size: 'loopsy-size',
      checksum: 'loopsy-checksum',
      modified: 'loopsy-modified',
      challenge: 'loopsy-challenge',
      proof: 'loopsy-proof',
    });
  });

  it('has one route for one method and path', () => {
    const routes = OPERATION_IDS.map((id) => `${rowOf(id).method} ${rowOf(id).path.replaceAll(/:[a-zA-Z]+/g, ':')}`);
    expect(new Set(routes).size).toBe(routes.length);
  });

  it('has these errors, each with its code, status and exit code', () => {
    expect(Object.entries(ERRORS).map(errorLine)).toEqual(lines(ERROR_ROWS));
    const codes = Object.values(ERRORS).map(({ code }) => code);
    expect(new Set(codes).size).toBe(codes.length);
  });

  it('has these exit codes', () => {
    expect(EXIT).toEqual({
      ok: 0,
      failed: 1,
      usage: 2,
      notRunning: 3,
      notAuthorised: 4,
      unreachable: 5,
      timedOut: 6,
    });
  });

  it(verifies('trust.admin', 'has these scopes and levels, and admin is none of them'), () => {
    expect(LEVELS).toEqual(['observe', 'collaborate', 'full']);
    expect(SCOPES).toEqual([
      'status',
      'context:read',
      'context:write',
      'messages',
      'files:read',
      'files:write',
      'tasks',
      'tasks:approve',
      'exec',
      'terminal',
      'wake',
    ]);
    expect(LEVEL_SCOPES.observe).toEqual(['status', 'context:read', 'files:read']);
    expect(LEVEL_SCOPES.collaborate).toEqual([
      'status',
      'context:read',
      'files:read',
      'context:write',
      'messages',
      'files:write',
      'tasks',
    ]);
    expect(LEVEL_SCOPES.full).toEqual(SCOPES);
    expect(SCOPES).not.toContain('admin');
  });

  it('has these frames, this base and this port', () => {
    expect(FRAME).toEqual({ stdout: 1, stderr: 2, exit: 3, error: 4, heartbeat: 5, gap: 6, started: 7, event: 8 });
    expect(FRAMES_TYPE).toBe('application/vnd.loopsy.frames');
    expect(BASE_PATH).toBe('/api/v1');
    expect(DEFAULT_PORT).toBe(19_532);
  });
});
