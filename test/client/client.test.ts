import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { createClient, type StreamPiece } from '../../src/client/client.ts';
import { ROUTES } from '../../src/client/routes.ts';
import { parseSse, type SseMessage } from '../../src/client/sse.ts';
import type { Transport, TransportRequest } from '../../src/client/transport.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';
import { FRAME, frameHeader } from '../../src/protocol/frames.ts';
import { OPERATION_IDS, rowOf } from '../../src/protocol/operations.ts';

const JOB = '01j8zq0v3m8k2t4n6p8r0s2v4w';

async function* chunks(...parts: (string | Uint8Array | Error)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (part instanceof Error) throw part;
    yield typeof part === 'string' ? Buffer.from(part) : part;
  }
}

interface Scripted {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: AsyncIterable<Uint8Array>;
  readonly trailers?: Readonly<Record<string, string>>;
}

/** A way to a node that answers each request with the next of `answers`. */
const scripted = (...answers: (() => Scripted)[]) => {
  const requests: TransportRequest[] = [];
  const transport: Transport = async (request) => {
    requests.push(request);
    const answer = answers[requests.length - 1];
    if (answer === undefined) throw new LoopsyError('node_not_running');
    const { status = 200, headers = {}, body, trailers = {} } = answer();
    return {
      status,
      header: (name) => headers[name],
      body,
      trailer: (name) => trailers[name],
    };
  };
  return { client: createClient({ transport, wait: async () => undefined }), requests };
};

const json =
  (value: unknown, status = 200) =>
  () => ({ status, body: chunks(JSON.stringify(value)) });
const frame = (type: number, payload: string | Uint8Array): Uint8Array => {
  const bytes = Buffer.from(payload);
  return Buffer.concat([frameHeader(type, bytes.length), bytes]);
};
const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};
const rejection = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => expect.fail('it resolved'),
    (thrown: unknown) => thrown,
  );

describe('routes', () => {
  it('are plain data, and follow the table for every operation', () => {
    expect(JSON.parse(JSON.stringify(ROUTES))).toEqual(ROUTES);
    for (const id of OPERATION_IDS) {
      const { method, path, kind, remote, effect } = rowOf(id);
      expect(ROUTES[id]).toMatchObject({ method, path, kind, remote, effect });
    }
  });

  it('has streams and uploads where the client’s types say so', () => {
    const of = (kind: string) => OPERATION_IDS.filter((id) => rowOf(id).kind === kind);
    expect(of('stream')).toEqual([
      'job.stream',
      'job.output',
      'transfer.run',
      'transfer.follow',
      'context.watch',
      'event.follow',
      'audit.follow',
    ]);
    expect(of('upload')).toEqual(['job.stdin', 'file.push', 'target.write']);
    expect(of('download')).toEqual(['file.pull', 'source.read']);
    // Between nodes alone: no client asks for it.
    expect(of('exchange')).toEqual(['target.put']);
  });
});

describe('a call', () => {
  it('puts path fields into the path, reads into the query, and the rest into the body', async () => {
    const { client, requests } = scripted(json({}), json({}), json({}), json({}));
    await client.call('peer.grant', { nodeId: 'a b/..', level: 'full' });
    await client.call('job.list', { state: 'all', limit: 5 }, { peer: 'kai & co' });
    await client.call('peer.show', { nodeId: '..' });
    await client.call('system.status', {});
    expect(requests.map(({ method, path, body }) => [method, path, body])).toEqual([
      ['PUT', '/api/v1/peers/a%20b%2F../grant', '{"level":"full"}'],
      ['GET', '/api/v1/execute/jobs?peer=kai+%26+co&state=all&limit=5', undefined],
      ['GET', '/api/v1/peers/%2E%2E', undefined],
      ['GET', '/api/v1/status', undefined],
    ]);
  });

  it('carries any name through a path exactly', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ minLength: 1, unit: 'binary' }), async (nodeId) => {
        const { client, requests } = scripted(json({}));
        await client.call('peer.show', { nodeId });
        const segment = requests[0]?.path.split('/').at(-1) ?? '';
        expect(decodeURIComponent(segment)).toBe(nodeId);
      }),
    );
  });

  it('rejects with the error that the node answered with', async () => {
    const body = new LoopsyError('peer_not_found', {
      message: 'no bo here',
      hint: 'kai, maria',
      details: { known: ['kai'] },
    }).toBody();
    const { client } = scripted(json(body, 404));
    expect(await rejection(client.call('peer.show', { nodeId: 'bo' }))).toMatchObject({
      error: 'peer_not_found',
      message: 'no bo here',
      hint: 'kai, maria',
      details: { known: ['kai'] },
    });
  });

  it('rejects with `internal` where the answer makes no sense', async () => {
    const { client } = scripted(json('<html>', 502), () => ({ body: chunks('<html>') }));
    expect(await rejection(client.call('system.status', {}))).toMatchObject({ error: 'internal' });
    expect(await rejection(client.call('system.status', {}))).toMatchObject({ error: 'internal' });
  });

  it('says `node_not_running` where there is no node, and never "failed" where an effect may have happened', async () => {
    const cut = () => ({ body: chunks('{"pee', new Error('ECONNRESET')) });
    expect(await rejection(scripted().client.call('peer.list', {}))).toMatchObject({ error: 'node_not_running' });
    expect(await rejection(scripted(cut).client.call('peer.list', {}))).toMatchObject({ error: 'node_not_running' });
    expect(await rejection(scripted(cut).client.call('peer.revoke', { nodeId: 'kai' }))).toMatchObject({
      error: 'outcome_unknown',
    });
  });

  it('rejects with the reason of its signal', async () => {
    const controller = new AbortController();
    controller.abort('enough');
    const { client } = scripted(() => ({ body: chunks(new Error('aborted')) }));
    expect(await rejection(client.call('peer.list', {}, { signal: controller.signal }))).toBe('enough');
  });
});

describe('bytes that are asked for', () => {
  const END = '0'.repeat(26);
  const textOf = async (body: AsyncIterable<Uint8Array>): Promise<string> =>
    Buffer.concat(await collect(body)).toString();

  it('come with status, headers and what follows them; a part is asked for as HTTP says it', async () => {
    const { client, requests } = scripted(() => ({
      status: 206,
      headers: { 'content-range': 'bytes 1-2/9' },
      body: chunks('a', 'b'),
      trailers: { 'loopsy-checksum': 'c' },
    }));
    const answer = await client.download('file.pull', { sourcePath: '~/x' }, { peer: 'kai', range: 'bytes=1-2' });
    expect([answer.status, answer.header('content-range')]).toEqual([206, 'bytes 1-2/9']);
    expect(await textOf(answer.body)).toBe('ab');
    expect(answer.trailer('loopsy-checksum')).toBe('c');
    expect(requests[0]).toMatchObject({
      method: 'POST',
      path: '/api/v1/transfer/pull?peer=kai',
      headers: { accept: 'application/octet-stream', 'content-type': 'application/json', range: 'bytes=1-2' },
      body: '{"sourcePath":"~/x"}',
    });
  });

  it('that break off are never taken for all of them, and are no word about the node', async () => {
    const { client } = scripted(() => ({ body: chunks('a', new Error('cut')) }));
    const { body } = await client.download('source.read', { endId: END, want: { kind: 'group', at: 0 } });
    expect(await rejection(collect(body))).toMatchObject({ error: 'transfer_failed' });
    const controller = new AbortController();
    const left = scripted(() => ({ body: chunks('a', new Error('cut')) })).client;
    const answer = await left.download('file.pull', { sourcePath: 'x' }, { signal: controller.signal });
    controller.abort('enough');
    expect(await rejection(collect(answer.body))).toBe('enough');
  });

  it('are an error where the node answers with one', async () => {
    const { client } = scripted(json(new LoopsyError('file_not_found').toBody(), 404));
    expect(await rejection(client.download('file.pull', { sourcePath: 'x' }))).toMatchObject({
      error: 'file_not_found',
    });
  });

  it('of one file have its size before them and its checksum behind them', async () => {
    const { client } = scripted(
      () => ({ headers: { 'loopsy-size': '3' }, body: chunks('abc'), trailers: { 'loopsy-checksum': 'sum' } }),
      () => ({ body: chunks('abc') }),
    );
    const file = await client.pullFile({ sourcePath: 'x' });
    expect([file.size, await textOf(file.body), file.checksum()]).toEqual([3, 'abc', 'sum']);
    expect(await rejection(client.pullFile({ sourcePath: 'x' }))).toMatchObject({ error: 'internal' });
  });
});

describe('a file that is pushed', () => {
  it('is a form: its fields, then its bytes, under a boundary that nobody can guess', async () => {
    const { client, requests } = scripted(json({ path: '/x' }), json({ path: '/x' }));
    const push = (): Promise<unknown> =>
      client.pushFile({
        destPath: '~/größe "x".txt',
        body: chunks('ab', '\r\n--c'),
        checksum: 'e'.repeat(64),
        peer: 'kai',
      });
    expect(await push()).toEqual({ path: '/x' });
    const [boundary, other] = await Promise.all(
      [requests[0], (await push(), requests[1])].map(async (request) => {
        const type = request?.headers['content-type'] ?? '';
        return /^multipart\/form-data; boundary=([0-9a-f]{32})$/.exec(type)?.[1];
      }),
    );
    expect(boundary).not.toBe(other);
    expect(requests[0]).toMatchObject({ method: 'POST', path: '/api/v1/transfer/push?peer=kai' });
    const { body } = requests[0] ?? {};
    if (typeof body !== 'object') throw new Error('no bytes');
    const head = `--${boundary}\r\ncontent-disposition: form-data; name=`;
    expect(Buffer.concat(await collect(body)).toString()).toBe(
      `${head}"destPath"\r\n\r\n~/größe "x".txt\r\n${head}"checksum"\r\n\r\n${'e'.repeat(64)}\r\n` +
        `${head}"file"; filename="file"\r\ncontent-type: application/octet-stream\r\n\r\nab\r\n--c\r\n--${boundary}--\r\n`,
    );
  });

  it('may be written though its answer is lost', async () => {
    const { client } = scripted(() => ({ body: chunks('{"pa', new Error('cut')) }));
    expect(await rejection(client.pushFile({ destPath: 'x', body: chunks('a') }))).toMatchObject({
      error: 'outcome_unknown',
    });
  });
});

describe('a stream of frames', () => {
  it('gives pieces with their cursor, however the bytes are cut', async () => {
    const whole = Buffer.concat([
      frame(FRAME.started, '{"jobId":"x"}'),
      frame(FRAME.stdout, 'hello '),
      frame(FRAME.heartbeat, ''),
      frame(FRAME.stderr, Buffer.from([0, 255, 10])),
      frame(FRAME.gap, '{"from":19,"to":100}'),
      frame(FRAME.exit, '{"exitCode":0}'),
    ]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(whole.length), { maxLength: 20 }), async (cuts) => {
        const at = [0, ...cuts.toSorted((a, b) => a - b), whole.length];
        const parts = at.slice(1).map((end, index) => whole.subarray(at[index], end));
        const { client } = scripted(() => ({ body: chunks(...parts) }));
        const pieces: StreamPiece[] = await collect(client.stream('job.output', { jobId: JOB, since: 10 }));
        const output = Buffer.concat(
          pieces.filter(({ type }) => type === FRAME.stdout || type === FRAME.stderr).map(({ bytes }) => bytes),
        );
        expect(output).toEqual(Buffer.from([...Buffer.from('hello '), 0, 255, 10]));
        expect(pieces.at(-1)).toMatchObject({ type: FRAME.exit, cursor: 100 });
        expect(pieces.findLast(({ type }) => type === FRAME.stderr)?.cursor).toBe(19);
        expect(pieces.some(({ type }) => type === FRAME.heartbeat)).toBe(false);
      }),
    );
  });

  it('throws an error frame, and tells a cut from an end', async () => {
    const failed = frame(FRAME.error, JSON.stringify(new LoopsyError('revoked').toBody()));
    expect(
      await rejection(
        collect(scripted(() => ({ body: chunks(failed) })).client.stream('job.stream', { command: 'x' })),
      ),
    ).toMatchObject({ error: 'revoked' });
    const half = frame(FRAME.stdout, 'hello').subarray(0, 7);
    const { client } = scripted(() => ({ body: chunks(half) }));
    expect(await rejection(collect(client.stream('job.stream', { command: 'x' })))).toMatchObject({
      error: 'outcome_unknown',
    });
  });

  it('ends the request when the loop is left', async () => {
    let closed = false;
    const body = async function* () {
      try {
        for (;;) yield frame(FRAME.stdout, 'x');
      } finally {
        closed = true;
      }
    };
    for await (const piece of scripted(() => ({ body: body() })).client.stream('job.stream', { command: 'yes' })) {
      expect(piece.type).toBe(FRAME.stdout);
      break;
    }
    expect(closed).toBe(true);
  });
});

describe('a stream of events', () => {
  const event = (id: number) => `id: ${id}\ndata: {"n":${id}}\n\n`;

  it('resumes a read behind the last event that arrived', async () => {
    const { client, requests } = scripted(
      () => ({ body: chunks(event(1), event(2), 'id: 3\ndata: {"n"', new Error('cut')) }),
      () => ({ body: chunks(new Error('cut again')) }),
      () => ({ body: chunks(event(3)) }),
    );
    const events = await collect(client.events('audit.follow', {}));
    expect(events.map(({ event }) => event)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
    expect(requests.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, '2', '2']);
  });

  it('gives up after five attempts that bring nothing, and never repeats an effect', async () => {
    const cut = () => ({ body: chunks(new Error('cut')) });
    const read = scripted(...Array.from({ length: 9 }, () => cut));
    expect(await rejection(collect(read.client.events('audit.follow', {})))).toMatchObject({
      error: 'node_not_running',
    });
    expect(read.requests).toHaveLength(6);
    const effect = scripted(cut, cut);
    expect(await rejection(collect(effect.client.events('job.stream', { command: 'x' })))).toMatchObject({
      error: 'outcome_unknown',
    });
    expect(effect.requests).toHaveLength(1);
  });

  it('ends at once where it is left', async () => {
    const controller = new AbortController();
    const read = scripted(() => {
      controller.abort(new Error('left'));
      return { body: chunks(new Error('cut')) };
    });
    const events = read.client.events('audit.follow', {}, { signal: controller.signal });
    expect(await rejection(collect(events))).toMatchObject({ message: 'left' });
    expect(read.requests).toHaveLength(1);
  });
});

describe('server-sent events', () => {
  const text =
    '\uFEFF: comment\nid: 1\nevent: job\ndata: a\ndata:b\ndata:  c\r\n\r\nid: 2\rdata\r\rretry: 5\n\nid: x\0\ndata: é😀\n\n data: no field\ndata: cut off';
  const expected: SseMessage[] = [
    { id: '1', event: 'job', data: 'a\nb\n c' },
    { id: '2', event: 'message', data: '' },
    { id: '2', event: 'message', data: 'é😀' },
  ];

  it('are parsed as the standard says, however the bytes are cut', async () => {
    const bytes = Buffer.from(text);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 30 }), async (cuts) => {
        const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
        const parts = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
        expect(await collect(parseSse(chunks(...parts)))).toEqual(expected);
      }),
    );
  });

  it('are refused when they are endless', async () => {
    const endless = Array.from({ length: 10 }, () => 'x'.repeat(1_048_576));
    await expect(collect(parseSse(chunks('data: ', ...endless)))).rejects.toThrow(RangeError);
    await expect(collect(parseSse(chunks(...endless.map((line) => `data: ${line}\n`))))).rejects.toThrow(RangeError);
  });
});
