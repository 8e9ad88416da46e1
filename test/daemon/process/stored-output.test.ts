import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { Spool } from '../../../src/daemon/process/spool.ts';
import { StoredOutput } from '../../../src/daemon/process/stored-output.ts';
import { FRAME, frameHeader } from '../../../src/protocol/frames.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { randomFrom } from '../../helpers/seed.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';

const readTo = async (
  output: StoredOutput,
  from: number,
): Promise<{ text: string; gaps: unknown[]; cursor: number }> => {
  const read = { text: '', gaps: [] as unknown[], cursor: from };
  for (;;) {
    const pieces = await output.read(read.cursor);
    if (pieces.length === 0) return read;
    for (const { type, bytes, cursor } of pieces) {
      const text = Buffer.from(bytes).toString('latin1');
      if (type === FRAME.gap) read.gaps.push(JSON.parse(text));
      else read.text += text;
      read.cursor = cursor;
    }
  }
};

describe('stored output', () => {
  it('is read while another process writes it, over the ends of its files, byte by byte the same', async () => {
    const dir = join(await tempFolder(), 'run');
    const random = randomFrom(3);
    const spool = new Spool({
      dir,
      windowBytes: () => 100_000_000,
      clock: new FakeClock(),
      onFault: () => undefined,
      onWritten: () => undefined,
    });
    const small = new Spool({
      dir: `${dir}2`,
      windowBytes: () => 80_000,
      clock: new FakeClock(),
      onFault: () => undefined,
      onWritten: () => undefined,
    });
    const [output, narrow] = [new StoredOutput(dir, 0), new StoredOutput(`${dir}2`, 0)];
    let text = '';
    const reads = [
      { text: '', cursor: 0 },
      { text: '', cursor: 0 },
    ];
    for (let step = 0; step < 200; step += 1) {
      const piece = String.fromCharCode(97 + (step % 26)).repeat(1 + Math.floor(random() * 9_000));
      text += piece;
      for (const one of [spool, small]) {
        one.append(step % 3 === 0 ? FRAME.stderr : FRAME.stdout, Buffer.from(piece));
        one.flush();
      }
      while (spool.writtenTo < spool.end || small.writtenTo < small.end) await new Promise(setImmediate);
      for (const [at, [from, to]] of (
        [
          [spool, output],
          [small, narrow],
        ] as const
      ).entries()) {
        to.grow(from.writtenTo);
        const { text: more, cursor, gaps } = await readTo(to, reads[at]?.cursor ?? 0);
        expect(gaps).toEqual([]);
        reads[at] = { text: (reads[at]?.text ?? '') + more, cursor };
      }
    }
    expect(reads.map((read) => read.text === text)).toEqual([true, true]);
    // Who comes late to the narrow one is told what is gone.
    const late = await readTo(new StoredOutput(`${dir}2`, text.length), 0);
    expect(late.gaps).toEqual([{ from: 0, to: text.length - late.text.length }]);
    expect(text.endsWith(late.text)).toBe(true);
    expect((await StoredOutput.open(dir)).end).toBe(text.length);
  });

  it('shows nothing beyond what it was told of, and a file that goes away as a gap', async () => {
    const dir = join(await tempFolder(), 'run');
    await mkdir(dir);
    const frame = (text: string): Buffer => Buffer.concat([frameHeader(FRAME.stdout, text.length), Buffer.from(text)]);
    await writeFile(join(dir, '0.seg'), Buffer.concat([frame('abc'), frame('def')]));
    await writeFile(join(dir, '6.seg'), frame('ghi'));
    await writeFile(join(dir, 'run.json'), '{}');
    const output = new StoredOutput(dir, 0);
    expect(output.read(0)).toEqual([]);
    output.grow(9);
    expect(await readTo(output, 1)).toEqual({ text: 'bcdefghi', gaps: [], cursor: 9 });
    await rm(join(dir, '0.seg'));
    expect(await readTo(output, 1)).toEqual({ text: 'ghi', gaps: [{ from: 1, to: 6 }], cursor: 9 });
    expect([output.truncated, (await StoredOutput.open(join(dir, 'none'))).end]).toEqual([true, 0]);
  });
});
