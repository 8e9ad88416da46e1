import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Backlog } from '../../../src/daemon/process/backlog.ts';
import { Segment } from '../../../src/daemon/process/segment.ts';
import { Spool } from '../../../src/daemon/process/spool.ts';
import { FRAME } from '../../../src/protocol/frames.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';

const make = (maxBytes: number): { backlog: Backlog; said: string[] } => {
  const said: string[] = [];
  const backlog = new Backlog({ maxBytes, onFull: () => said.push('full'), onRoom: () => said.push('room') });
  return { backlog, said };
};

describe('a backlog', () => {
  it('is full at its bound, and has room again when a quarter of it is free', () => {
    const { backlog, said } = make(100);
    backlog.change(99);
    expect(backlog.isFull).toBe(false);
    backlog.change(1);
    backlog.change(50);
    expect(backlog.isFull).toBe(true);
    backlog.change(-75);
    expect([backlog.isFull, backlog.bytes]).toEqual([true, 75]);
    backlog.change(-1);
    expect(backlog.isFull).toBe(false);
    expect(said).toEqual(['full', 'room']);
  });

  it('counts all output of all runs until it is on disk or given up, and nothing that stays', async () => {
    const appends = fc.array(fc.record({ run: fc.nat(3), bytes: fc.nat(200_000), fails: fc.boolean() }), {
      maxLength: 40,
    });
    const property = fc.asyncProperty(appends, fc.boolean(), async (given, goesOn) => {
      const { backlog } = make(1_000_000);
      const dir = await tempFolder();
      const clock = new FakeClock();
      let fails = false;
      const createSegment: typeof Segment.create = async (folder, start) => {
        if (fails) throw new Error('ENOSPC');
        return Segment.create(folder, start);
      };
      const spools = Array.from(
        { length: 4 },
        (_, n) =>
          new Spool({
            dir: join(dir, String(n)),
            windowBytes: () => 300_000,
            clock,
            onFault: () => undefined,
            onWritten: () => undefined,
            backlog,
            createSegment,
          }),
      );
      for (const { run, bytes, fails: now } of given) {
        fails = now;
        const before = backlog.bytes;
        spools[run]?.append(FRAME.stdout, Buffer.alloc(bytes));
        expect(backlog.bytes).toBeGreaterThanOrEqual(before + bytes);
        if (now) await new Promise(setImmediate);
      }
      // A run that goes on and has nothing to write counts nothing, though its file is open.
      if (goesOn) {
        while (backlog.bytes > 0) {
          clock.advance(200);
          await new Promise(setImmediate);
        }
      }
      for (const spool of spools) spool.finish();
      await Promise.all(spools.map((spool) => spool.settle()));
      expect(backlog.bytes).toBe(0);
    });
    await fc.assert(property, { numRuns: 30 });
  });

  it('counts what a run takes beside its bytes, so that many tiny ones fill it too', () => {
    const { backlog } = make(1_000_000);
    const stalled = (): Promise<never> => new Promise(() => undefined);
    const options = { windowBytes: () => 300_000, clock: new FakeClock(), backlog, createSegment: stalled };
    const spool = new Spool({
      ...options,
      dir: '/dev/null/none',
      onFault: () => undefined,
      onWritten: () => undefined,
    });
    for (let n = 0; n < 1000; n++) spool.append(FRAME.stdout, Buffer.from('x'));
    spool.finish();
    expect(backlog.bytes).toBeGreaterThan(200_000);
  });
});
