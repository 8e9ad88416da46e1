import { describe, expect, it } from 'vitest';

import { Rewindable } from '../../src/cli/rewindable.ts';
import { verifies } from '../requirements.ts';

async function* numbered(chunks: number, bytes = 1): AsyncGenerator<Uint8Array> {
  // One piece of memory for all, as a stream may have it.
  const piece = new Uint8Array(bytes);
  for (let at = 0; at < chunks; at += 1) {
    piece.fill(at);
    yield piece;
  }
}

const read = async (bytes: AsyncIterable<Uint8Array>, most = Number.POSITIVE_INFINITY): Promise<number[]> => {
  const firsts: number[] = [];
  for await (const chunk of bytes) {
    firsts.push(chunk[0] ?? -1);
    if (firsts.length === most) break;
  }
  return firsts;
};

describe('a body that can be sent again', () => {
  it(verifies('cli.transfer.rate', 'begins once more at its beginning, however far it was read'), async () => {
    for (const most of [1, 3, 5, 6]) {
      const body = new Rewindable(numbered(5));
      await read(body.bytes(), most);
      expect(body.isWhole).toBe(true);
      expect(await read(body.bytes())).toEqual([0, 1, 2, 3, 4]);
    }
  });

  it('loses nothing where the first reader still waits for a chunk', async () => {
    let give = (): void => undefined;
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield Uint8Array.of(0);
      await new Promise<void>((resolve) => (give = resolve));
      yield Uint8Array.of(1);
      yield Uint8Array.of(2);
    }
    const body = new Rewindable(slow());
    const first = body.bytes();
    await first.next();
    const waiting = first.next();
    const again = read(body.bytes());
    await new Promise((resolve) => setTimeout(resolve, 5));
    give();
    expect(await again).toEqual([0, 1, 2]);
    await waiting;
  });

  it('is bounded: what is large passes, and is not kept', async () => {
    const body = new Rewindable(numbered(20, 1_048_576));
    expect(await read(body.bytes())).toEqual(Array.from({ length: 20 }, (_, at) => at));
    expect(body.isWhole).toBe(false);
  });
});
