import { PassThrough } from 'node:stream';

import { describe, expect, it } from 'vitest';

import { pour, type PourInto } from '../../../src/daemon/transfers/pour.ts';
import { verifies } from '../../requirements.ts';

const PIECE = 8;

/** Where bytes are poured: it keeps them, in the pieces in which they came. */
class Glass implements PourInto {
  readonly pieces: string[] = [];
  counted = 0;
  full = false;
  settled = false;
  ending: string | undefined;
  room: () => void = () => undefined;
  readonly over: Promise<void>;
  #finish: () => void = () => undefined;

  constructor() {
    this.over = new Promise((resolve) => (this.#finish = resolve));
  }

  onBytes(bytes: number): void {
    this.counted += bytes;
  }
  memory(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(PIECE);
  }
  push(piece: Uint8Array): void {
    this.pieces.push(Buffer.from(piece).toString());
  }
  isFull(): boolean {
    return this.full;
  }
  isSettled(): boolean {
    return this.settled;
  }
  onRoom(listener: () => void): void {
    this.room = listener;
  }
  end(): void {
    this.ending = 'end';
    this.#finish();
  }
  fail(error: Error): void {
    this.ending = error.message;
    this.#finish();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function* chunks(...texts: (string | Error)[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) {
    if (text instanceof Error) throw text;
    yield Buffer.from(text);
  }
}

describe('bytes that are poured', () => {
  it('come in whole pieces, however they were cut: a stream, chunks, a text', async () => {
    const stream = new PassThrough();
    for (const text of ['0', '123456', '789abcdefghij', 'k']) stream.write(text);
    stream.end();
    for (const body of [stream, chunks('0', '123456', '789abcdefghij', 'k')]) {
      const glass = new Glass();
      pour(body, glass);
      await glass.over;
      expect([glass.pieces, glass.counted, glass.ending]).toEqual([['01234567', '89abcdef', 'ghijk'], 21, 'end']);
    }
    const glass = new Glass();
    pour('a text', glass);
    expect([glass.pieces, glass.counted, glass.ending]).toEqual([['a text'], 6, 'end']);
  });

  it('wait while there is no room', async () => {
    for (const kind of ['stream', 'chunks']) {
      const stream = new PassThrough();
      const glass = new Glass();
      glass.full = true;
      pour(kind === 'stream' ? stream : chunks('01234567', '89'), glass);
      stream.write('01234567');
      await turn();
      stream.end('89');
      await turn();
      expect([glass.pieces, glass.ending]).toEqual([['01234567'], undefined]);
      glass.full = false;
      glass.room();
      await glass.over;
      expect([glass.pieces, glass.ending]).toEqual([['01234567', '89'], 'end']);
    }
  });

  it(verifies('transfers.acknowledged', 'that break off are handed in as far as they came'), async () => {
    const cut = new PassThrough();
    const closed = new PassThrough();
    const cases = [
      [cut, 'cut'],
      [closed, 'the bytes ended before their end'],
      [chunks('0123', '456789', new Error('broken')), 'broken'],
    ] as const;
    for (const [body, ending] of cases) {
      const glass = new Glass();
      pour(body, glass);
      if (body instanceof PassThrough) {
        body.write('0123456789');
        await turn();
        body.destroy(body === cut ? new Error('cut') : undefined);
      }
      await glass.over;
      expect([glass.pieces, glass.ending]).toEqual([['01234567', '89'], ending]);
    }
  });

  it('that come when nobody writes any more are not counted', async () => {
    const glass = new Glass();
    const late = (async function* () {
      yield Buffer.from('0123');
      glass.settled = true;
      yield Buffer.from('4567');
    })();
    pour(late, glass);
    await turn();
    await turn();
    expect([glass.counted, glass.pieces, glass.ending]).toEqual([4, [], undefined]);
  });

  it('that nobody wants run dry', async () => {
    const stream = new PassThrough();
    const glass = new Glass();
    glass.settled = true;
    glass.full = true;
    pour(stream, glass);
    stream.end('0123456789');
    await glass.over;
    expect(glass.pieces).toEqual([]);
  });
});
