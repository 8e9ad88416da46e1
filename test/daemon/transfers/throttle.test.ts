import { describe, expect, it } from 'vitest';

import { Throttle } from '../../../src/daemon/transfers/throttle.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { verifies } from '../../requirements.ts';

/** What has left by each tenth of a second, where several want to send at once. */
const leaving = async (limit: number, flows: readonly number[]): Promise<number[]> => {
  const clock = new FakeClock();
  const throttle = new Throttle(limit, clock);
  const controller = new AbortController();
  const { signal } = controller;
  let left = 0;
  const works = flows.map(async (bytes) => {
    for await (const slice of throttle.slices(new Uint8Array(bytes), signal)) left += slice.length;
  });
  const seen: number[] = [];
  for (let tenth = 0; tenth < 20; tenth += 1) {
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    seen.push(left);
    clock.advance(100);
  }
  controller.abort();
  await Promise.all(works);
  return seen;
};

describe('a rate', () => {
  it.each([1000, 51_200, 20_000_000])(
    verifies('transfers.limit', 'holds from the first byte on, however large the pieces are: %i'),
    async (limit) => {
      const tenth = limit / 10;
      for (const [at, left] of (await leaving(limit, [1_048_576, 1_048_576])).entries()) {
        expect(left, `${at}`).toBeLessThanOrEqual(Math.ceil(tenth * at));
        expect(left, `${at}`).toBeGreaterThanOrEqual(Math.min(2_097_152, tenth * (at - 2)));
      }
    },
  );

  it(verifies('transfers.limit', 'is not made up for after a time without bytes'), async () => {
    const clock = new FakeClock();
    const throttle = new Throttle(1000, clock);
    clock.advance(60_000);
    let left = 0;
    const work = (async () => {
      for await (const slice of throttle.slices(new Uint8Array(400), new AbortController().signal))
        left += slice.length;
    })();
    for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
    expect(left).toBeLessThanOrEqual(100);
    for (let tenth = 0; tenth < 5; tenth += 1) {
      clock.advance(100);
      for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
    }
    await work;
    expect(left).toBe(400);
  });

  it('keeps nobody who does not want it any more', async () => {
    const controller = new AbortController();
    const slices = new Throttle(1024, new FakeClock()).slices(new Uint8Array(5000), controller.signal);
    const first = slices.next();
    controller.abort();
    expect((await first).value).toHaveLength(102);
  });
});
