import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';

import { describe, expect, it, onTestFinished } from 'vitest';

import { type ByteReplyOptions, replyBytes } from '../../../src/daemon/edge/byte-reply.ts';
import type { ByteAnswer } from '../../../src/daemon/edge/call.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';
import { silentLog } from './listening.ts';

const MiB = 1_048_576;

/** Chunks with a script, which count what they are asked for. */
class Script implements AsyncIterable<Uint8Array> {
  asked = 0;
  returned = 0;
  readonly #steps: (Uint8Array | Error | 'wait')[];
  #end: () => void = () => undefined;
  readonly #ended = new Promise<void>((resolve) => (this.#end = resolve));

  constructor(...steps: (string | Uint8Array | Error)[]) {
    this.#steps = steps.map((step) => (step === 'wait' ? step : typeof step === 'string' ? Buffer.from(step) : step));
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return {
      next: async () => {
        this.asked += 1;
        const step = this.#steps.shift();
        if (step instanceof Error) throw step;
        if (step === 'wait') await this.#ended;
        return step === undefined || step === 'wait' ? { done: true, value: undefined } : { done: false, value: step };
      },
      return: async () => {
        this.returned += 1;
        this.#end();
        return { done: true, value: undefined };
      },
    };
  }
}

interface Served {
  readonly port: number;
  /** The reply to the first request. */
  readonly reply: Promise<{ readonly done: Promise<void>; readonly options: ByteReplyOptions }>;
  readonly warned: unknown[];
  /** Answers that began. */
  readonly begun: () => number;
}

/** A real server that answers everything with these bytes. */
const serve = async (answer: ByteAnswer, more: Partial<ByteReplyOptions> = {}): Promise<Served> => {
  const warned: unknown[] = [];
  let begins = 0;
  let begun: (reply: Awaited<Served['reply']>) => void;
  const reply = new Promise<Awaited<Served['reply']>>((resolve) => (begun = resolve));
  const server = http.createServer((request, response) => {
    const options = {
      request,
      response,
      signal: new AbortController().signal,
      clock: systemClock,
      log: { ...silentLog, warn: (...said: unknown[]) => void warned.push(said) },
      onBegin: () => (begins += 1),
      ...more,
    };
    const done = replyBytes(answer, options);
    done.catch((error: unknown) => {
      response.statusCode = 400;
      response.end(String(error));
    });
    begun({ done, options });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  // It listens on an address.
  return { port: (server.address() as AddressInfo).port, reply, warned, begun: () => begins };
};

const ask = (port: number): Promise<http.IncomingMessage> =>
  new Promise((resolve, reject) => {
    http.get({ port, host: '127.0.0.1', agent: false }, resolve).once('error', reject);
  });

/** All bytes of an answer; rejects where it is cut. */
const read = async (answer: http.IncomingMessage): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for await (const part of answer) parts.push(part as Buffer);
  return Buffer.concat(parts);
};

describe('an answer of bytes', () => {
  it('has its own headers beside the guards, and a count where that is known', async () => {
    const { port } = await serve({ headers: { 'loopsy-size': '9' }, length: 3, chunks: new Script('a', '', 'bc') });
    const answer = await ask(port);
    expect(answer.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': '3',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'loopsy-size': '9',
    });
    expect((await read(answer)).toString()).toBe('abc');
    const part = await serve({
      status: 206,
      headers: { 'content-type': 'text/x', 'content-range': 'bytes 1-2/3' },
      chunks: new Script('bc'),
    });
    const got = await ask(part.port);
    expect([got.statusCode, got.headers['content-type'], got.headers['content-range']]).toEqual([
      206,
      'text/x',
      'bytes 1-2/3',
    ]);
  });

  it('says what follows it, and then follows it', async () => {
    let ended = false;
    const chunks = (async function* () {
      yield Buffer.from('abc');
      ended = true;
    })();
    const trailer = { names: ['loopsy-checksum'], read: () => ({ 'loopsy-checksum': ended ? 'sum' : 'too soon' }) };
    const { port } = await serve({ headers: {}, length: 3, chunks, trailer });
    const answer = await ask(port);
    expect([answer.headers.trailer, answer.headers['content-length']]).toEqual(['loopsy-checksum', undefined]);
    await read(answer);
    expect(answer.trailers).toEqual({ 'loopsy-checksum': 'sum' });
  });

  it('that comes late has its head before', async () => {
    const script = new Script('wait');
    const { port } = await serve({ headers: {}, chunks: script });
    expect((await ask(port)).statusCode).toBe(200);
  });

  it('asks for a chunk when the last has left: its memory may be used again', async () => {
    const sent = createHash('sha256');
    const chunks = (async function* () {
      const memory = Buffer.alloc(MiB);
      for (let at = 0; at < 64; at += 1) {
        memory.fill(at);
        sent.update(memory);
        yield memory;
        memory.fill(255);
      }
    })();
    const { port } = await serve({ headers: {}, chunks });
    const got = await read(await ask(port));
    expect(createHash('sha256').update(got).digest('hex')).toBe(sent.digest('hex'));
  });

  it('lets everything else have its turn, though it could all be sent in one', async () => {
    let given = 0;
    let givenInTurn = 0;
    const chunks = (async function* () {
      setImmediate(() => (givenInTurn = given));
      for (; given < 500; given += 1) yield Buffer.alloc(2048);
    })();
    const { port } = await serve({ headers: {}, chunks });
    expect(await read(await ask(port))).toHaveLength(500 * 2048);
    expect(givenInTurn).toBeLessThan(100);
  });
});

describe('a client is never given a part for the whole:', () => {
  const cutOf = async (answer: ByteAnswer): Promise<Served> => {
    const served = await serve(answer);
    await expect(ask(served.port).then(read)).rejects.toThrow(/aborted|hang up|ECONNRESET/);
    await (
      await served.reply
    ).done;
    return served;
  };

  it(verifies('edge.bytes', 'an error in the middle cuts the connection, with or without a count'), async () => {
    const failure = new LoopsyError('source_changed', { message: 'x changed' });
    const { warned } = await cutOf({ headers: {}, chunks: new Script('abc', failure) });
    expect(warned).toEqual([['bytes cut', { error: 'source_changed', message: 'x changed' }]]);
    await cutOf({ headers: {}, length: 6, chunks: new Script('abc', failure) });
  });

  it('fewer or more bytes than were announced cut it too', async () => {
    await cutOf({ headers: {}, length: 4, chunks: new Script('abc') });
    const more = new Script('abc', 'de');
    await cutOf({ headers: {}, length: 4, chunks: more });
    expect(more.returned).toBe(1);
  });

  it('what should follow and can not be told cuts it', async () => {
    const trailer = {
      names: ['loopsy-checksum'],
      read: () => {
        throw new LoopsyError('transfer_failed');
      },
    };
    await cutOf({ headers: {}, chunks: new Script('abc'), trailer });
  });

  it('HTTP that can not tell a cut from an end gets no uncounted bytes', async () => {
    const script = new Script('abc', 'wait');
    const { port } = await serve({ headers: {}, chunks: script });
    const socket = net.connect(port, '127.0.0.1');
    socket.write('GET / HTTP/1.0\r\n\r\n');
    let got = '';
    for await (const part of socket) got += String(part);
    expect(got).toMatch(/ 400 .*HTTP\/1\.1/s);
    expect(script.returned).toBe(1);
  });
});

describe('a reader of bytes', () => {
  it('who leaves ends them, also while nothing comes', async () => {
    for (const script of [new Script('a', 'wait'), new Script('wait')]) {
      const { port, reply } = await serve({ headers: {}, chunks: script });
      const answer = await ask(port);
      answer.on('error', () => undefined);
      answer.destroy();
      await (
        await reply
      ).done;
      expect(script.returned).toBe(1);
    }
  });

  it(verifies('edge.bytes', 'who is no longer allowed loses them mid-way'), async () => {
    const controller = new AbortController();
    const script = new Script('a', 'wait');
    const { port, reply } = await serve({ headers: {}, chunks: script }, { signal: controller.signal });
    const answer = await ask(port);
    await once(answer, 'data');
    controller.abort('revoked');
    await expect(read(answer)).rejects.toThrow();
    await (
      await reply
    ).done;
    expect(script.returned).toBe(1);
  });

  it('who reads nothing is not read for, and in the end loses its connection', async () => {
    const clock = new FakeClock();
    const script = new Script(...Array.from({ length: 400 }, () => Buffer.alloc(MiB)));
    const { port, reply } = await serve({ headers: {}, chunks: script }, { clock });
    const answer = await ask(port);
    answer.on('error', () => undefined);
    // Real sockets take a few MB; then nothing is asked for.
    for (let asked = -1; asked !== script.asked;) {
      ({ asked } = script);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(script.asked).toBeLessThan(50);
    clock.advance(59_000);
    expect(script.returned).toBe(0);
    // A socket that did not come by the listener counts as a key's.
    clock.advance(6000);
    await (
      await reply
    ).done;
    expect(script.returned).toBe(1);
  });
});

describe('an answer that does not begin', () => {
  const told = async (answer: ByteAnswer, more?: Partial<ByteReplyOptions>): Promise<unknown[]> => {
    const { port, begun, reply } = await serve(answer, more);
    const heard = await ask(port);
    const text = (await read(heard)).toString();
    await (await reply).done.catch(() => undefined);
    return [heard.statusCode, text, begun()];
  };

  it('is the error that keeps its first byte from coming', async () => {
    const failure = new LoopsyError('source_changed', { message: 'x changed' });
    expect(await told({ headers: {}, chunks: new Script(failure) })).toEqual([400, 'LoopsyError: x changed', 0]);
  });

  it('says that it is no longer allowed, and lets go of what it holds', async () => {
    const controller = new AbortController();
    let open = 1;
    const chunks = (async function* () {
      try {
        controller.abort('revoked');
        await new Promise(setImmediate);
        yield Buffer.from('a');
      } finally {
        open -= 1;
      }
    })();
    const [status, text, begun] = await told({ headers: {}, chunks }, { signal: controller.signal });
    expect([status, text, begun]).toEqual([400, expect.stringContaining('revoked'), 0]);
    await expect.poll(() => open).toBe(0);
  });
});
