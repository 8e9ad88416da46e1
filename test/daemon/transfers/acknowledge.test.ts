import { describe, expect, it } from 'vitest';

import { acknowledged, Unacknowledged } from '../../../src/daemon/transfers/acknowledge.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';

const MiB = 1_048_576;

const linesOf = async (answer: AsyncIterable<Uint8Array>): Promise<unknown[]> => {
  const lines: unknown[] = [];
  for await (const chunk of answer) lines.push(JSON.parse(Buffer.from(chunk).toString()));
  return lines;
};

/** A write that counts what a test says, and ends as it says. */
const writing = () => {
  let end: (failure?: Error) => void = () => undefined;
  let take: (bytes: number) => void = () => undefined;
  const write = (onBytes: (bytes: number) => void): Promise<unknown> => {
    take = onBytes;
    return new Promise((resolve, reject) => {
      end = (failure) => (failure === undefined ? resolve({}) : reject(failure));
    });
  };
  return { write, take: (bytes: number) => take(bytes), end: (failure?: Error) => end(failure) };
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a target', () => {
  it(
    verifies(
      'transfers.acknowledged',
      'says how far bytes have come, each 2 MiB, and at the end that they are written',
    ),
    async () => {
      const { write, take, end } = writing();
      const lines = linesOf(acknowledged(5, write, new FakeClock()));
      for (const bytes of [MiB, MiB, MiB, 4 * MiB, 7]) {
        take(bytes);
        await turn();
      }
      end();
      expect(await lines).toEqual([{ at: 5 + 2 * MiB }, { at: 5 + 7 * MiB }, { done: true }]);
    },
  );

  it('says of what comes slowly how far it is, too', async () => {
    const { write, take, end } = writing();
    const clock = new FakeClock();
    const lines = linesOf(acknowledged(0, write, clock));
    for (let at = 0; at < 4; at += 1) {
      take(100);
      await turn();
      clock.advance(150);
    }
    end();
    expect(await lines).toEqual([{ at: 300 }, { at: 400 }, { done: true }]);
  });

  it('answers with what keeps it from writing, where it has said nothing yet; else says so', async () => {
    const full = new LoopsyError('disk_full', { message: 'full' });
    const clock = new FakeClock();
    const silent = writing();
    const said = linesOf(acknowledged(7, silent.write, clock));
    await turn();
    // Its head has left by then, whatever has come.
    clock.advance(200);
    await turn();
    silent.end(full);
    expect(await said).toEqual([{ at: 7 }, full.toBody()]);
    const early = writing();
    const refused = linesOf(acknowledged(0, early.write, new FakeClock()));
    early.end(full);
    await expect(refused).rejects.toBe(full);
    const late = writing();
    const lines = linesOf(acknowledged(0, late.write, new FakeClock()));
    late.take(2 * MiB);
    await turn();
    late.end(full);
    expect(await lines).toEqual([{ at: 2 * MiB }, full.toBody()]);
  });
});

/** Pieces of 1 MiB. */
async function* pieces(count: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < count; at += 1) yield new Uint8Array(MiB);
}

describe('who sends', () => {
  it(
    verifies(
      'transfers.acknowledged',
      'has no more on its way than one chunk, and goes on when it hears that some has come',
    ),
    async () => {
      const sending = new Unacknowledged(10);
      let sent = 0;
      const flowing = (async () => {
        for await (const piece of sending.flow(pieces(9))) sent += piece.length;
      })();
      await turn();
      expect(sent).toBe(4 * MiB);
      const taken: number[] = [];
      let isRead = false;
      async function* answer(): AsyncGenerator<Uint8Array> {
        // What was never sent can't have come, and nothing goes back.
        for (const at of [10 + MiB, 10 + 9 * MiB, 5]) yield Buffer.from(`{"at":${at}}\n`);
        await turn();
        expect(sent).toBe(5 * MiB);
        yield Buffer.from(`{"at":${10 + 4 * MiB}`);
        yield Buffer.from('}\n{"new":"field"}\n');
        await turn();
        expect(sent).toBe(8 * MiB);
        yield Buffer.from(`{"at":${10 + 8 * MiB}}\n`);
        await turn();
        yield Buffer.from('{"done":true}\n');
        await turn();
        isRead = true;
        // All is written: a cut behind that is none.
        throw new Error('cut');
      }
      await sending.read(answer(), (at) => taken.push(at));
      // To its end, so that the connection can be used again.
      expect(isRead).toBe(true);
      await flowing;
      expect([sent, taken]).toEqual([9 * MiB, [1, 4, 8].map((count) => 10 + count * MiB)]);
    },
  );

  it('hears why no more is taken, and of a cut; then nothing more leaves', async () => {
    const full = new LoopsyError('disk_full', { message: 'full' });
    for (const [text, error] of [
      [JSON.stringify(full.toBody()), 'disk_full'],
      ['{"at":1}', 'peer_unreachable'],
      ['no json', 'peer_unreachable'],
      ['x'.repeat(70_000), 'peer_handshake'],
      // What it says of this node's own keys is no answer of its.
      [JSON.stringify(new LoopsyError('invalid_key').toBody()), 'transfer_failed'],
      [JSON.stringify(new LoopsyError('transfer_cancelled').toBody()), 'transfer_cancelled'],
    ] as const) {
      const sending = new Unacknowledged(0);
      let sent = 0;
      const flowing = (async () => {
        for await (const piece of sending.flow(pieces(9))) sent += piece.length;
      })();
      await turn();
      async function* answer(): AsyncGenerator<Uint8Array> {
        yield Buffer.from(`${text}\n`);
      }
      await expect(sending.read(answer(), () => undefined)).rejects.toMatchObject({ error });
      sending.stop();
      await flowing;
      expect(sent).toBe(4 * MiB);
    }
  });
});
