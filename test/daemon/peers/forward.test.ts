import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { Readable } from 'node:stream';

import { describe, expect, it, onTestFinished } from 'vitest';

import type { Call, StreamSource } from '../../../src/daemon/edge/call.ts';
import type { ForwardRequest, Target } from '../../../src/daemon/edge/parts.ts';
import { Forward } from '../../../src/daemon/peers/forward.ts';
import { send } from '../../../src/daemon/peers/exchange.ts';
import { Link, type LinkRequest } from '../../../src/daemon/peers/link.ts';
import { collectText } from '../../../src/kernel/collect.ts';
import { type Clock, systemClock } from '../../../src/kernel/clock.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FRAME, frameHeader } from '../../../src/protocol/frames.ts';
import { OPERATION_IDS, type OperationId, rowOf } from '../../../src/protocol/operations.ts';
import { callerName, type Caller } from '../../../src/trust/caller.ts';
import { verifies } from '../../requirements.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { driveClock } from '../../helpers/drive-clock.ts';
import { callOf } from '../call.ts';

const KAI: Target = { nodeId: 'k'.repeat(32), name: 'kai' };
const CI: Caller = { kind: 'key', name: 'ci', grant: { level: 'full', scopes: [], reach: 'all' } };
const DAY_MS = 86_400_000;
const JOB = '0'.repeat(26);

interface Heard {
  readonly line: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

type Answer = (heard: Heard, response: http.ServerResponse, nth: number) => void;

/** A peer of this test, the way to it, and what it heard. */
const peerThat = async (answer: Answer, known: { clock?: Clock; bootAtMs?: number; offline?: string } = {}) => {
  const { clock = systemClock, bootAtMs = -DAY_MS, offline } = known;
  const heard: Heard[] = [];
  const server = http.createServer((request, response) => {
    void collectText(request, 1_000_000).then((body) => {
      const one = { line: `${request.method} ${request.url}`, headers: request.headers, body };
      heard.push(one);
      answer(one, response, heard.length);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // It listens on an address.
  const { port } = server.address() as AddressInfo;
  const link = new Link(async () => {
    const socket = net.connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return socket;
  });
  onTestFinished(() => {
    link.close();
    server.closeAllConnections();
    server.close();
  });
  const recorded: string[] = [];
  const forward = new Forward({
    way: () => ({ name: 'kai', link, boot: 'boot-1', bootAtMs, offline }),
    owners: {
      record: (objectId, _peer, caller) => void recorded.push(`${objectId} ${callerName(caller)}`),
      keep: async (objectId, _peer, caller) => void recorded.push(`${objectId} ${callerName(caller)}`),
      maySee: (caller, objectId) => caller.kind === 'owner' || objectId.endsWith('mine'),
    },
    clock,
  });
  return { heard, forward, recorded };
};

const requestFor = (id: OperationId, input: Record<string, unknown>, call: Partial<Call> = {}): ForwardRequest => ({
  target: KAI,
  id,
  op: rowOf(id),
  input,
  call: callOf(id, { caller: CI, ...call }),
});

describe('a request for another node', () => {
  it(verifies('link.forward', 'is built anew: nothing of the caller leaves but its name, as a note'), async () => {
    const { heard, forward } = await peerThat((_, response) => response.end('{"ok":true}'));
    const answer = await forward.json(requestFor('job.execute', { command: 'a', args: ['b c'] }));
    expect(answer).toMatchObject({ status: 200, body: '{"ok":true}' });
    expect(heard).toHaveLength(1);
    const [{ line, headers, body } = { line: '', headers: {}, body: '' }] = heard;
    expect([line, JSON.parse(body)]).toEqual(['POST /api/v1/execute', { command: 'a', args: ['b c'] }]);
    expect(headers['loopsy-on-behalf-of']).toBe('key:ci');
    const known = [
      'accept',
      'connection',
      'content-length',
      'content-type',
      'host',
      'keep-alive',
      'loopsy-on-behalf-of',
      'loopsy-request-id',
    ];
    expect(Object.keys(headers).filter((name) => !known.includes(name))).toEqual([]);
    expect(headers.host).not.toContain('127.0.0.1');
  });

  it(verifies('link.forward', 'carries its query, and bytes as they come'), async () => {
    const { heard, forward } = await peerThat((_, response) => response.end('{}'));
    await forward.json(requestFor('job.list', { state: 'all', limit: 3 }));
    const body = Readable.from([Buffer.from('ab'), Buffer.from('cd')]);
    await forward.json(requestFor('job.stdin', { jobId: JOB }, { body }));
    expect(heard.map(({ line, body: sent }) => [line, sent])).toEqual([
      ['GET /api/v1/execute/jobs?state=all&limit=3', ''],
      [`POST /api/v1/execute/${JOB}/stdin`, 'abcd'],
    ]);
  });

  it(verifies('link.once', 'that was cut is repeated under its id, and two callers with one id are two'), async () => {
    const { heard, forward } = await peerThat((_, response, nth) =>
      nth === 1 ? response.destroy() : response.end('{}'),
    );
    const requestId = '1'.repeat(32);
    await forward.json(requestFor('job.execute', { command: 'a' }, { requestId }));
    await forward.json(requestFor('job.execute', { command: 'a' }, { requestId, resumable: true }));
    await forward.json(
      requestFor('job.execute', { command: 'a' }, { requestId, resumable: true, caller: { kind: 'owner' } }),
    );
    const ids = heard.map(({ headers }) => headers['loopsy-request-id']);
    expect(ids[0]).toBe(ids[1]);
    expect(new Set(ids).size).toBe(3);
    expect(heard[0]?.headers['loopsy-repeat']).toBeUndefined();
    expect(heard[1]?.headers['loopsy-repeat']).toMatch(/^boot-1/);
  });

  it('of bytes is not repeated: they were sent once', async () => {
    const { heard, forward } = await peerThat((_, response) => response.destroy());
    const sent = forward.json(requestFor('job.stdin', { jobId: JOB }, { body: Readable.from([Buffer.from('x')]) }));
    await expect(sent).rejects.toMatchObject({ error: 'outcome_unknown' });
    expect(heard).toHaveLength(1);
  });

  it(verifies('trust.owners', 'leaves out of lists what other callers of this machine started'), async () => {
    const jobs = [{ jobId: '1-mine' }, { jobId: '2-other' }, { jobId: '3-mine' }];
    const { forward } = await peerThat((_, response) => response.end(JSON.stringify({ jobs, nextCursor: 'c' })));
    const listed = async (caller: Caller): Promise<unknown> =>
      JSON.parse((await forward.json(requestFor('job.list', {}, { caller }))).body);
    expect(await listed(CI)).toEqual({ jobs: [jobs[0], jobs[2]], nextCursor: 'c' });
    expect(await listed({ kind: 'owner' })).toEqual({ jobs, nextCursor: 'c' });
  });

  it('passes the error of the peer on, and says so where the answer is none of a node', async () => {
    const error = { error: { code: 3001, name: 'command_denied', message: 'rm is denied here' } };
    const denied = await peerThat((_, response) => {
      response.statusCode = 403;
      response.end(JSON.stringify(error));
    });
    expect(await denied.forward.json(requestFor('job.execute', { command: 'rm' }))).toMatchObject({
      status: 403,
      body: JSON.stringify(error),
    });
    const odd = await peerThat((_, response) => {
      response.statusCode = 500;
      response.end('<html>');
    });
    await expect(odd.forward.stream(requestFor('job.stream', { command: 'a' }))).rejects.toMatchObject({
      error: 'peer_handshake',
    });
  });

  it('names the run before its answer, so that it can be reached', async () => {
    const { forward } = await peerThat((_, response) => {
      response.setHeader('loopsy-object', JOB);
      response.end('{}');
    });
    const named: string[] = [];
    await forward.json(requestFor('job.execute', { command: 'a' }, { announce: (id) => void named.push(id) }));
    expect(named).toEqual([JOB]);
  });
});

describe("a client's late repeat through two nodes is never run twice:", () => {
  const again: Partial<Call> = { requestId: '1'.repeat(32), resumable: true, repeatAgeMs: 400_000 };
  const command = { command: 'a' };
  const agesOf = (heard: readonly Heard[]): number[] =>
    heard.map(({ headers }) => Number(/^boot-1\.(\d+)$/.exec(String(headers['loopsy-repeat']))?.[1]));

  it(verifies('link.once', "the peer is told the client's age with this node's own"), async () => {
    const { heard, forward } = await peerThat((_, response, nth) =>
      nth === 1 ? response.destroy() : response.end('{}'),
    );
    await forward.json(requestFor('job.execute', command, again));
    const [first = 0, second = 0] = agesOf(heard);
    expect(first).toBeGreaterThanOrEqual(400_000);
    expect(second).toBeGreaterThanOrEqual(first);
    expect(second).toBeLessThan(420_000);
  });

  it(verifies('link.once', 'a stream that was begun long ago is as old as its first attempt'), async () => {
    const clock = new FakeClock();
    const { heard, forward } = await peerThat(
      (_, response, nth) => {
        clock.advance(60_000);
        if (nth === 1) return response.destroy();
        response.setHeader('loopsy-object', JOB);
        return response.end();
      },
      { clock },
    );
    const source = await driveClock(clock, forward.stream(requestFor('job.stream', command)));
    source.close();
    expect(heard[0]?.headers['loopsy-repeat']).toBeUndefined();
    expect(agesOf(heard)[1]).toBeGreaterThanOrEqual(60_000);
  });

  it('nothing is sent where the peer may have restarted since the first attempt', async () => {
    const bootAtMs = systemClock.monotonicMs() - 300_000;
    const { heard, forward } = await peerThat((_, response) => response.end('{}'), { bootAtMs });
    for (const id of ['job.execute', 'job.signal'] as const) {
      const repeated = forward.json(requestFor(id, { ...command, jobId: JOB, signal: 'SIGINT' }, again));
      await expect(repeated).rejects.toMatchObject({
        error: 'outcome_unknown',
        message: expect.stringContaining('kai may have restarted'),
      });
    }
    expect(heard).toEqual([]);
    // What changes nothing is asked again.
    await forward.json(requestFor('job.list', {}, again));
    expect(heard).toHaveLength(1);
  });

  it('a peer that can not be asked leaves it unknown', async () => {
    const { forward } = await peerThat((_, response) => response.destroy(), { offline: 'silent' });
    const body = Readable.from([Buffer.from('x')]);
    await expect(forward.json(requestFor('job.stdin', { jobId: JOB }, { ...again, body }))).rejects.toMatchObject({
      error: 'outcome_unknown',
      message: expect.stringContaining('the connection to kai was cut: whether this was done on kai'),
    });
  });
});

describe('a stream of another node', () => {
  const frame = (type: number, bytes: string): Buffer =>
    Buffer.concat([frameHeader(type, bytes.length), Buffer.from(bytes)]);

  it(
    verifies('link.forward', 'goes on by cursor where it was cut, without a gap and without a repetition'),
    async () => {
      const { heard, forward } = await peerThat((_, response, nth) => {
        response.setHeader('loopsy-object', JOB);
        response.write(frame(FRAME.started, `{"jobId":"${JOB}"}`));
        if (nth > 1) return response.end(Buffer.concat([frame(FRAME.stdout, 'def'), frame(FRAME.exit, '{}')]));
        return response.write(frame(FRAME.stdout, 'abc'), () => setTimeout(() => response.destroy(), 20));
      });
      const source = await forward.stream(requestFor('job.stream', { command: 'a' }));
      const types: number[] = [];
      let text = '';
      for (let piece = await source.next(); piece !== undefined; piece = await source.next()) {
        types.push(piece.type);
        if (piece.type === FRAME.stdout) text += Buffer.from(piece.bytes).toString();
      }
      expect(text).toBe('abcdef');
      expect(types.filter((type) => type === FRAME.started)).toHaveLength(1);
      expect(types.at(-1)).toBe(FRAME.exit);
      expect(heard[1]?.line).toBe(`GET /api/v1/execute/${JOB}/output?since=3`);
      expect(heard[0]?.headers.accept).toBe('application/vnd.loopsy.frames');
      source.close();
    },
  );
});

describe('a stream of another node that is no run', () => {
  const frame = (event: object): Buffer => {
    const bytes = Buffer.from(JSON.stringify(event));
    return Buffer.concat([frameHeader(FRAME.event, bytes.length), bytes]);
  };
  const follow = (more: Partial<Call> = {}): ForwardRequest => requestFor('transfer.follow', { transferId: JOB }, more);
  const all = async (source: StreamSource): Promise<unknown[]> => {
    const events: unknown[] = [];
    for (let piece = await source.next(); piece !== undefined; piece = await source.next())
      events.push(JSON.parse(Buffer.from(piece.bytes).toString()));
    return events;
  };

  it(
    verifies('link.forward', 'ends where it ends, and is asked for anew, with how things are, where it is cut'),
    async () => {
      const { heard, forward } = await peerThat((_, response, nth) => {
        response.write(frame({ type: 'started', nth }));
        if (nth > 1) return response.end(frame({ type: 'end' }));
        return response.write(frame({ type: 'progress' }), () => setTimeout(() => response.destroy(), 20));
      });
      const source = await forward.stream(follow());
      expect(await all(source)).toEqual([
        { type: 'started', nth: 1 },
        { type: 'progress' },
        { type: 'started', nth: 2 },
        { type: 'end' },
      ]);
      expect(heard.map(({ line }) => line)).toEqual([
        `GET /api/v1/transfers/${JOB}/events`,
        `GET /api/v1/transfers/${JOB}/events`,
      ]);
      source.close();
    },
  );

  it('is unknown where the peer has forgotten it meanwhile', async () => {
    const { forward } = await peerThat((_, response, nth) => {
      if (nth === 1) return response.write(frame({ type: 'started' }), () => setTimeout(() => response.destroy(), 20));
      response.statusCode = 404;
      return response.end('{"error":{"code":4012,"name":"transfer_not_found","message":"no"}}');
    });
    const source = await forward.stream(follow());
    await expect(all(source)).rejects.toMatchObject({
      error: 'outcome_unknown',
      message: expect.stringContaining('no longer knows this transfer'),
    });
  });
});

describe('a request whose answer may take its time', () => {
  it('is not given up for silence: presence tells whether the peer is there', async () => {
    const asked = new Map<string, Pick<LinkRequest, 'long' | 'idleMs'>>();
    for (const id of OPERATION_IDS.filter((one) => rowOf(one).remote)) {
      const link = {
        request: ({ long, idleMs }: LinkRequest) => {
          asked.set(id, { long, idleMs });
          return Promise.reject(new LoopsyError('internal'));
        },
      };
      // Nothing else of it is used.
      const way = { name: 'kai', link: link as Partial<Link> as Link, boot: 'b', bootAtMs: 0, offline: undefined };
      const request = requestFor(id, { jobId: JOB, transferId: JOB, endId: JOB }, { body: Readable.from([]) });
      const exchange = { request, way, op: request.op, input: request.input, accept: '' };
      await expect(send(exchange, undefined)).rejects.toThrow();
    }
    const patient = [...asked].filter(([, { idleMs }]) => idleMs === 0).map(([id]) => id);
    expect(patient).toEqual([
      'job.execute',
      'job.stdin',
      'file.push',
      'file.pull',
      'source.open',
      'source.read',
      'target.open',
      'target.write',
      'target.put',
    ]);
    for (const id of patient) expect([id, asked.get(id)?.long]).toEqual([id, true]);
    expect(asked.get('transfer.follow')).toEqual({ long: true, idleMs: 25_000 });
    expect(asked.get('system.status')).toEqual({ long: false, idleMs: 25_000 });
  });
});
