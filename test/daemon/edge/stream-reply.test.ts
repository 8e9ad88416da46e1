import http from 'node:http';
import type { AddressInfo } from 'node:net';

import { describe, expect, it, onTestFinished } from 'vitest';

import type { StreamPiece, StreamSource } from '../../../src/daemon/edge/call.ts';
import { FrameSource, StreamCut } from '../../../src/daemon/edge/frame-source.ts';
import { replyStream, type StreamReplyOptions } from '../../../src/daemon/edge/stream-reply.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FRAME, FRAMES_TYPE } from '../../../src/protocol/frames.ts';
import { jobEventSchema, jobSliceSchema } from '../../../src/protocol/jobs.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { silentLog } from './listening.ts';

const JOB = '01hzy3v7q8k4m2n6p0r5s9t1w3';
type Output = 'stdout' | 'stderr';
type Step = [Output, string | Uint8Array] | ['gap', number] | ['exit'] | ['fail', Error] | ['wait'];

/** A source with a script. `wait`: nothing more until it is closed. */
class ScriptedSource implements StreamSource {
  closes = 0;
  pulls = 0;
  #cursor: number;
  #end: () => void = () => undefined;
  readonly #closed = new Promise<void>((resolve) => (this.#end = resolve));
  readonly #steps: Step[];

  constructor(steps: readonly Step[], since = 0) {
    this.#steps = [...steps];
    this.#cursor = since;
  }

  async next(): Promise<StreamPiece | undefined> {
    this.pulls += 1;
    const step = this.closes > 0 ? undefined : this.#steps.shift();
    if (step === undefined) return undefined;
    switch (step[0]) {
      case 'wait':
        await this.#closed;
        return undefined;
      case 'fail':
        throw step[1];
      case 'exit':
        return { type: FRAME.exit, bytes: Buffer.from('{"exitCode":0}'), cursor: this.#cursor };
      case 'gap': {
        const from = this.#cursor;
        this.#cursor = step[1];
        return { type: FRAME.gap, bytes: Buffer.from(JSON.stringify({ from, to: step[1] })), cursor: step[1] };
      }
      case 'stdout':
      case 'stderr': {
        const bytes = Buffer.from(step[1]);
        this.#cursor += bytes.length;
        return { type: FRAME[step[0]], bytes, cursor: this.#cursor };
      }
    }
  }

  close(): void {
    this.closes += 1;
    this.#end();
  }
}

interface Asked {
  readonly answer: http.IncomingMessage;
  readonly options: StreamReplyOptions;
  readonly done: Promise<void>;
}

/** Asks a real server for the stream of `source`. */
const ask = async (
  source: StreamSource,
  { accept, method = 'GET', ...more }: Partial<StreamReplyOptions> & { accept?: string; method?: string } = {},
): Promise<Asked> => {
  let begun: (asked: Omit<Asked, 'answer'>) => void;
  const serving = new Promise<Omit<Asked, 'answer'>>((resolve) => (begun = resolve));
  const server = http.createServer((request, response) => {
    const options = {
      jobId: JOB,
      since: 0,
      waitMs: 0,
      signal: new AbortController().signal,
      clock: systemClock,
      log: silentLog,
      ...more,
      request,
      response,
    };
    begun({ options, done: replyStream(source, options) });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  // An ephemeral TCP server has an address object.
  const { port } = server.address() as AddressInfo;
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    http
      .request({ port, host: '127.0.0.1', method, headers: accept === undefined ? {} : { accept } }, resolve)
      .once('error', reject)
      .end();
  });
  return { answer, ...(await serving) };
};

const text = async (answer: http.IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
};

interface Sse {
  readonly id: number;
  readonly event: { type: string; data: unknown; encoding?: string };
}

const parseSse = (said: string): Sse[] =>
  [...said.matchAll(/id: (\d+)\ndata: (.*)\n\n/g)].map((match) => ({
    id: Number(match[1]),
    event: JSON.parse(match[2] ?? '') as Sse['event'],
  }));

const bytesOf = ({ event }: Sse): Buffer =>
  Buffer.from(String(event.data), event.encoding === 'base64' ? 'base64' : 'utf8');

const readFrames = async (answer: http.IncomingMessage): Promise<StreamPiece[]> => {
  const source = new FrameSource(answer, 0);
  const pieces: StreamPiece[] = [];
  for (let piece = await source.next(); piece !== undefined; piece = await source.next()) pieces.push(piece);
  return pieces;
};

describe('frames', () => {
  it('carry output byte for byte, then the exit, and the answer ends', async () => {
    const bytes = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 256));
    const source = new ScriptedSource([['stdout', bytes], ['stderr', 'err'], ['exit']]);
    const { answer, done } = await ask(source, { accept: FRAMES_TYPE });
    expect(answer.headers['content-type']).toBe(FRAMES_TYPE);
    const pieces = await readFrames(answer);
    const out = pieces.filter(({ type }) => type === FRAME.stdout).map((piece) => piece.bytes);
    expect(Buffer.concat(out).equals(bytes)).toBe(true);
    expect(pieces.at(-1)).toMatchObject({ type: FRAME.exit, cursor: 1003 });
    await done;
    expect(source.closes).toBe(1);
  });

  it('are cut where a piece is longer than a frame may be', async () => {
    const bytes = Buffer.alloc(3_000_000, 'x');
    const { answer } = await ask(new ScriptedSource([['stdout', bytes], ['exit']]), { accept: FRAMES_TYPE });
    const pieces = await readFrames(answer);
    expect(pieces.at(-1)?.cursor).toBe(3_000_000);
  });

  it('say what went wrong as the last one', async () => {
    const failure = new LoopsyError('job_not_found', { message: 'gone' });
    const { answer } = await ask(
      new ScriptedSource([
        ['stdout', 'a'],
        ['fail', failure],
      ]),
      { accept: FRAMES_TYPE },
    );
    const last = (await readFrames(answer)).at(-1);
    expect(last?.type).toBe(FRAME.error);
    expect(JSON.parse(Buffer.from(last?.bytes ?? []).toString())).toEqual(failure.toBody());
  });

  it('keep a secret of what went wrong unexpectedly, and name its reference', async () => {
    const { answer } = await ask(new ScriptedSource([['fail', new Error('/home/secret')]]), { accept: FRAMES_TYPE });
    const said = Buffer.from((await readFrames(answer)).at(-1)?.bytes ?? []).toString();
    expect(said).not.toContain('secret');
    expect(said).toContain('reference');
  });

  it('come at once where the source is silent: head first, then heartbeats', async () => {
    const clock = new FakeClock();
    const { answer, options } = await ask(new ScriptedSource([['wait']]), { accept: FRAMES_TYPE, clock });
    expect(answer.statusCode).toBe(200);
    const came = new Promise<Buffer>((resolve) => answer.once('data', resolve));
    clock.advance(10_000);
    expect((await came).subarray(0, 5)).toEqual(Buffer.from([FRAME.heartbeat, 0, 0, 0, 0]));
    options.response.destroy();
  });
});

describe('server-sent events', () => {
  const events = async (steps: readonly Step[], more: Parameters<typeof ask>[1] = {}): Promise<Sse[]> => {
    const { answer } = await ask(new ScriptedSource(steps, more.since), { method: 'POST', ...more });
    expect(answer.headers['content-type']).toContain('text/event-stream');
    return parseSse(await text(answer));
  };

  it('carry each piece as the schema says, with the cursor as id', async () => {
    const said = await events([['stdout', 'grüße\n'], ['stderr', 'oh'], ['exit']]);
    expect(said.map(({ id }) => id)).toEqual([8, 10, 10]);
    for (const { event } of said) expect(jobEventSchema.parse(event).jobId).toBe(JOB);
    expect(said[2]?.event.data).toEqual({ exitCode: 0 });
  });

  it('hold a split character until its rest comes; an id never stands within it', async () => {
    const euro = Buffer.from('€');
    const said = await events([
      ['stdout', Buffer.concat([Buffer.from('a'), euro.subarray(0, 1)])],
      ['stdout', euro.subarray(1)],
      ['exit'],
    ]);
    expect(said.map(({ id, event }) => [id, event.data, event.encoding])).toEqual([
      [1, 'a', undefined],
      [4, '€', undefined],
      [4, { exitCode: 0 }, undefined],
    ]);
  });

  it('give a character that is never completed as base64, before whatever follows', async () => {
    const half = Buffer.from('€').subarray(0, 2);
    for (const [next, id] of [
      [['exit'], 2],
      [['stderr', 'e'], 3],
      [['gap', 50], 50],
    ] as [Step, number][]) {
      const said = await events([['stdout', half], next]);
      expect(said[0]).toMatchObject({
        id: 2,
        event: { type: 'stdout', data: half.toString('base64'), encoding: 'base64' },
      });
      expect(said[1]?.id).toBe(id);
    }
  });

  it('resumed at any id give the same bytes', async () => {
    const whole = Buffer.concat([
      Buffer.from('zwölf €uro '),
      Buffer.from([0xff, 0xfe, 0xe2, 0x82]),
      Buffer.from('ende 🦊'),
    ]);
    const steps = (since: number): Step[] =>
      Array.from(
        { length: whole.length - since },
        (_, i) => ['stdout', whole.subarray(since + i, since + i + 1)] as Step,
      );
    const all = await events([...steps(0), ['exit']]);
    for (const [index, { id }] of all.entries()) {
      const rest = await events([...steps(id), ['exit']], { since: id });
      const bytes = Buffer.concat(
        [...all.slice(0, index + 1), ...rest].filter(({ event }) => event.type === 'stdout').map(bytesOf),
      );
      expect(bytes.equals(whole)).toBe(true);
    }
  });

  it('of other streams are passed on as they are, and need no Accept', async () => {
    const source: StreamSource = {
      next: async () => ({ type: FRAME.event, bytes: Buffer.from('{"a":\n1}'), cursor: 7 }),
      close: () => undefined,
    };
    const { answer, options } = await ask(source, { jobId: '' });
    const chunk = await new Promise<Buffer>((resolve) => answer.once('data', resolve));
    expect(parseSse(chunk.toString())[0]).toEqual({ id: 7, event: { a: 1 } });
    options.response.destroy();
  });

  it('keep a silent stream alive with comment lines', async () => {
    const clock = new FakeClock();
    const { answer, options } = await ask(new ScriptedSource([['wait']]), { method: 'POST', clock });
    const came = new Promise<Buffer>((resolve) => answer.once('data', resolve));
    clock.advance(10_000);
    expect((await came).toString()).toMatch(/^: heartbeat\n\n/);
    options.response.destroy();
  });
});

describe('readers', () => {
  it('who leave close the source, once', async () => {
    const source = new ScriptedSource([['stdout', 'a'], ['wait']]);
    const { answer, done } = await ask(source, { accept: FRAMES_TYPE });
    answer.on('error', () => undefined);
    await new Promise((resolve) => answer.once('data', resolve));
    answer.destroy();
    await done;
    expect(source.closes).toBe(1);
  });

  it('who are revoked are told so, and the stream ends', async () => {
    const controller = new AbortController();
    const source = new ScriptedSource([['stdout', 'a'], ['wait']]);
    const { answer } = await ask(source, { accept: FRAMES_TYPE, signal: controller.signal });
    controller.abort('revoked');
    const last = (await readFrames(answer)).at(-1);
    expect(Buffer.from(last?.bytes ?? []).toString()).toContain('"revoked"');
    expect(source.closes).toBe(1);
  });

  it('who do not read are not read for: nothing is pulled beyond what the socket takes', async () => {
    const clock = new FakeClock();
    const steps = Array.from({ length: 1000 }, () => ['stdout', Buffer.alloc(262_144)] as Step);
    const source = new ScriptedSource(steps);
    const { answer, done } = await ask(source, { accept: FRAMES_TYPE, clock });
    answer.on('error', () => undefined);
    // Real sockets take a few MB; then the pulls stop.
    let pulls = -1;
    while (pulls !== source.pulls) {
      pulls = source.pulls;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(pulls).toBeLessThan(200);
    clock.advance(59_000);
    expect(source.closes).toBe(0);
    // A socket that did not come by the listener counts as a key's.
    clock.advance(6000);
    await done;
    expect(source.closes).toBe(1);
  });
});

describe('slices', () => {
  const slice = async (
    steps: readonly Step[],
    more: Parameters<typeof ask>[1] = {},
  ): Promise<ReturnType<typeof jobSliceSchema.parse>> => {
    const { answer } = await ask(new ScriptedSource(steps, more.since), more);
    expect(answer.headers['content-type']).toContain('application/json');
    return jobSliceSchema.parse(JSON.parse(await text(answer)));
  };

  it('hold everything of a run that has ended', async () => {
    const got = await slice([['stdout', 'a'], ['stdout', 'b'], ['exit']], { waitMs: 25_000 });
    expect(got).toMatchObject({ cursor: 2, ended: true });
    expect(got.events.map(({ type }) => type)).toEqual(['stdout', 'stdout', 'exit']);
  });

  it('come as soon as something is new, without waiting out the time', async () => {
    const begin = performance.now();
    const got = await slice([['stdout', 'a'], ['wait']], { waitMs: 10_000 });
    expect(performance.now() - begin).toBeLessThan(2000);
    expect(got).toMatchObject({ cursor: 1, ended: false });
  });

  it('are empty after the wait, with the cursor that was asked for', async () => {
    expect(await slice([['wait']], { since: 70, waitMs: 100 })).toEqual({ events: [], cursor: 70, ended: false });
  });

  it('end at 1 MiB, and go on at the cursor', async () => {
    const steps = Array.from({ length: 30 }, () => ['stdout', Buffer.alloc(100_000, 'x')] as Step);
    const got = await slice(steps);
    expect(got).toMatchObject({ cursor: 1_100_000, ended: false });
  });

  it('stand before a character that is not complete', async () => {
    const got = await slice([
      ['stdout', Buffer.concat([Buffer.from('ab'), Buffer.from('€').subarray(0, 2)])],
      ['wait'],
    ]);
    expect(got.cursor).toBe(2);
  });

  it('carry a failure as their last event', async () => {
    const got = await slice([
      ['stdout', 'a'],
      ['fail', new LoopsyError('internal')],
    ]);
    expect(got.ended).toBe(true);
    expect(got.events.at(-1)?.type).toBe('error');
  });
});

describe('cuts', () => {
  it('are told from ends, with the cursor to go on from', async () => {
    const source = new ScriptedSource([['stdout', 'abc'], ['gap', 10], ['stderr', 'de'], ['wait']], 0);
    const { answer, options } = await ask(source, { accept: FRAMES_TYPE });
    const reading = new FrameSource(answer, 0);
    for (let i = 0; i < 3; i += 1) await reading.next();
    options.response.socket?.destroy();
    const cut: unknown = await reading.next().catch((error: unknown) => error);
    expect(cut).toBeInstanceOf(StreamCut);
    expect((cut as StreamCut).cursor).toBe(12);
  });

  it('include an answer that ends without an exit', async () => {
    const { answer } = await ask(new ScriptedSource([['stdout', 'abc']]), { accept: FRAMES_TYPE });
    const reading = new FrameSource(answer, 5);
    expect((await reading.next())?.cursor).toBe(8);
    await expect(reading.next()).rejects.toMatchObject({ name: 'StreamCut', cursor: 8 });
  });

  it('are not what a reader sees that closed', async () => {
    const { answer } = await ask(new ScriptedSource([['wait']]), { accept: FRAMES_TYPE });
    const reading = new FrameSource(answer, 0);
    const next = reading.next();
    reading.close();
    expect(await next).toBeUndefined();
    expect(await reading.next()).toBeUndefined();
  });
});
