import { PassThrough, Readable } from 'node:stream';

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { GatheredChunks } from '../../src/kernel/gathered-chunks.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** All chunks, copied when they come. */
const read = async (chunks: AsyncIterable<Uint8Array>): Promise<Buffer[]> => {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(Buffer.from(chunk));
  return all;
};

describe('chunks that are gathered', () => {
  it('are the bytes of the stream, however they come', async () => {
    const pieces = fc.array(
      fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 9 }), fc.constant(new Uint8Array(300_000))),
      {
        maxLength: 12,
      },
    );
    await fc.assert(
      fc.asyncProperty(pieces, fc.array(fc.boolean(), { maxLength: 12 }), async (given, pauses) => {
        const source = new PassThrough({ highWaterMark: 1_000_000 });
        const reading = read(new GatheredChunks(source, () => undefined));
        for (const [at, piece] of given.entries()) {
          source.write(Buffer.from(piece));
          if (pauses[at] === true) await turn();
        }
        source.end();
        expect(Buffer.concat(await reading).equals(Buffer.concat(given))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('come as one where they have come while the last was in use', async () => {
    const source = new PassThrough();
    const chunks = new GatheredChunks(source, () => undefined);
    source.write('a');
    expect(String((await chunks.next()).value)).toBe('a');
    for (const letter of 'bcd') source.write(letter);
    await turn();
    const { value } = await chunks.next();
    expect(Buffer.from(value ?? []).toString()).toBe('bcd');
    // Whoever gives memory away, and looks whether it is all of it, keeps this.
    expect(value?.byteLength).toBeLessThan(value?.buffer.byteLength ?? 0);
  });

  it('are taken no faster than they are asked for', async () => {
    let given = 0;
    const source = new Readable({
      read() {
        given += 65_536;
        this.push(Buffer.alloc(65_536));
      },
    });
    const chunks = new GatheredChunks(source, () => undefined);
    await chunks.next();
    for (let at = 0; at < 20; at += 1) await turn();
    expect(given).toBeLessThan(1_500_000);
    source.destroy();
  });

  it('end in an error where the stream does not come to its end, behind what has come', async () => {
    for (const end of [
      (source: PassThrough) => source.destroy(new Error('broken')),
      (source: PassThrough) => source.destroy(),
    ]) {
      const source = new PassThrough();
      const chunks = new GatheredChunks(source, () => undefined);
      source.write('a');
      await turn();
      end(source);
      expect(String((await chunks.next()).value)).toBe('a');
      await expect(chunks.next()).rejects.toThrow(/broken|broke off/);
    }
  });

  it('are left by who wants no more, once, also while none comes; what then becomes of the stream is told', async () => {
    const left: unknown[] = [];
    const source = new PassThrough();
    const chunks = new GatheredChunks(source, (one) => left.push(one));
    const waiting = chunks.next();
    await chunks.return();
    await chunks.return();
    expect((await waiting).done).toBe(true);
    expect(left).toEqual([source]);
    expect([source.destroyed, source.listenerCount('data')]).toEqual([false, 0]);
    const ended = Readable.from([Buffer.from('a')]);
    const whole = new GatheredChunks(ended, (one) => left.push(one));
    await read(whole);
    await whole.return();
    expect(left).toHaveLength(1);
  });
});
