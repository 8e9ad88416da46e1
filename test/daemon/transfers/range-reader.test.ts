import { describe, expect, it } from 'vitest';

import type { SourceEnd } from '../../../src/daemon/transfers/ends.ts';
import { Patience } from '../../../src/daemon/transfers/patience.ts';
import { readRange } from '../../../src/daemon/transfers/range-reader.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import type { SourceWant, Stamp } from '../../../src/protocol/transfers.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';

const BYTES = Buffer.from('0123456789abcdefghijklmnopqrstuvwxyz');
const FILE: Stamp = [0, 'a', BYTES.length, 1];
const CUT = new LoopsyError('peer_unreachable', { message: 'cut' });

/** A source that gives a byte at a time, and breaks off where a test says. */
class Script {
  readonly asked: string[] = [];
  left = 0;
  open = 0;
  readonly #failures: Map<number, Error>;

  constructor(failures: Readonly<Record<number, Error>> = {}) {
    this.#failures = new Map(Object.entries(failures).map(([at, error]) => [Number(at), error]));
  }

  end(partBytes: number): Pick<SourceEnd, 'partBytes' | 'read'> {
    const read = async (want: SourceWant): Promise<AsyncIterable<Uint8Array>> => {
      if (want.kind !== 'range') throw new Error('only ranges are asked for');
      this.asked.push(`${want.from}-${want.to}`);
      return this.#chunks(want);
    };
    return { partBytes, read };
  }

  async *#chunks(want: { from: number; to: number }): AsyncGenerator<Uint8Array> {
    this.open += 1;
    try {
      for (let at = want.from; at < want.to; at += 1) {
        const failure = this.#failures.get(at);
        this.#failures.delete(at);
        if (failure !== undefined) throw failure;
        yield BYTES.subarray(at, at + 1);
      }
    } finally {
      this.open -= 1;
      this.left += 1;
    }
  }
}

const patienceOf = (signal = new AbortController().signal) => {
  const clock = new FakeClock();
  const waits: boolean[] = [];
  const patience = new Patience({ clock, signal, patienceMs: 1000, onWaiting: (why) => waits.push(why !== undefined) });
  return { clock, patience, waits };
};

/** Reads all, while time passes. */
const read = async (
  source: Pick<SourceEnd, 'partBytes' | 'read'>,
  [from, to]: readonly [number, number],
  more = patienceOf(),
) => {
  const timer = setInterval(() => more.clock.advance(100), 1);
  try {
    const chunks: Uint8Array[] = [];
    // Nothing else of it is used.
    for await (const chunk of readRange(source as SourceEnd, { file: FILE, from, to }, more.patience))
      chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  } finally {
    clearInterval(timer);
  }
};

describe('a stretch of a file', () => {
  it('is asked for as a whole of a disk, and of a peer in parts, the next before the last has come', async () => {
    const disk = new Script();
    expect(await read(disk.end(Number.POSITIVE_INFINITY), [3, 36])).toBe(BYTES.subarray(3).toString());
    expect(disk.asked).toEqual(['3-36']);
    const peer = new Script();
    expect(await read(peer.end(10), [3, 36])).toBe(BYTES.subarray(3).toString());
    expect(peer.asked).toEqual(['3-13', '13-23', '23-33', '33-36']);
    expect([disk.open, peer.open]).toEqual([0, 0]);
  });

  it(
    verifies('transfers.acknowledged', 'goes on at the byte where it was cut, within a part and between two'),
    async () => {
      const source = new Script({ 3: CUT, 8: CUT, 10: CUT, 25: CUT, 35: CUT });
      expect(await read(source.end(10), [0, 36])).toBe(BYTES.toString());
      expect(source.asked).toEqual(['0-10', '10-20', '3-10', '8-10', '20-30', '10-20', '30-36', '25-30', '35-36']);
      expect(source.open).toBe(0);
    },
  );

  it('ends with what is no cut, and with one that lasts', async () => {
    const changed = new LoopsyError('source_changed', { message: 'changed' });
    const source = new Script({ 5: changed });
    await expect(read(source.end(10), [0, 36])).rejects.toBe(changed);
    expect(source.open).toBe(0);
    const away = { partBytes: 10, read: () => Promise.reject(CUT) };
    await expect(read(away, [0, 36])).rejects.toBe(CUT);
  });

  it('that is left closes what it has open', async () => {
    const source = new Script();
    for await (const chunk of readRange(
      source.end(10) as SourceEnd,
      { file: FILE, from: 0, to: 36 },
      patienceOf().patience,
    )) {
      expect(chunk.length).toBe(1);
      break;
    }
    await new Promise((resolve) => setImmediate(resolve));
    // The part that was asked for ahead, too.
    expect(source.asked).toEqual(['0-10', '10-20']);
    expect([source.open, source.left]).toEqual([0, 2]);
  });
});
