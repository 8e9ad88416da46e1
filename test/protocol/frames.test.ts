import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  FRAME,
  FRAME_HEADER_BYTES,
  frameHeader,
  FrameReader,
  isOutput,
  MAX_EVENT_BYTES,
  MAX_FRAME_BYTES,
} from '../../src/protocol/frames.ts';
import { MAX_VALUE_BYTES } from '../../src/protocol/context.ts';

interface Frame {
  readonly type: number;
  readonly bytes: Uint8Array;
}

const frames = fc.array(
  fc.record({ type: fc.constantFrom(...Object.values(FRAME)), bytes: fc.uint8Array({ maxLength: 200 }) }),
  { maxLength: 20 },
);

const encode = (list: readonly Frame[]): Uint8Array =>
  Buffer.concat(list.flatMap(({ type, bytes }) => [frameHeader(type, bytes.length), bytes]));

/** `bytes` in pieces that end where `cuts` say. */
const cut = (bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] => {
  const ends = [...new Set([...cuts.map((at) => at % (bytes.length + 1)), bytes.length])].toSorted((a, b) => a - b);
  return ends.map((end, at) => bytes.slice(ends[at - 1] ?? 0, end));
};

/** Output in one piece for each run of one stream; the rest frame by frame. */
const joined = (list: readonly Frame[]): Frame[] => {
  const result: { type: number; bytes: Uint8Array }[] = [];
  for (const { type, bytes } of list) {
    const last = result.at(-1);
    if (isOutput(type) && bytes.length === 0) continue;
    if (isOutput(type) && last?.type === type) last.bytes = Buffer.concat([last.bytes, bytes]);
    else result.push({ type, bytes: Buffer.from(bytes) });
  }
  return result;
};

const readAll = (chunks: readonly Uint8Array[]): { pieces: Frame[]; reader: FrameReader } => {
  const reader = new FrameReader();
  return {
    pieces: chunks.flatMap((chunk) =>
      [...reader.read(chunk)].map(({ type, bytes }) => ({ type, bytes: Buffer.from(bytes) })),
    ),
    reader,
  };
};

describe('frames', () => {
  it('are read as they were written, wherever the bytes are cut', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat(), { maxLength: 40 }), (list, cuts) => {
        const { pieces, reader } = readAll(cut(encode(list), cuts));
        expect(joined(pieces)).toEqual(joined(list));
        expect(reader.atBoundary).toBe(true);
      }),
    );
  });

  it('tell a stream that was cut from one that has ended', () => {
    const bytes = encode([{ type: FRAME.stdout, bytes: Buffer.from('abc') }]);
    for (let length = 1; length < bytes.length; length += 1)
      expect(readAll([bytes.slice(0, length)]).reader.atBoundary).toBe(false);
    expect(readAll([bytes]).reader.atBoundary).toBe(true);
  });

  it('pass output on before its frame is complete, and hold the rest until it is', () => {
    const reader = new FrameReader();
    const [piece] = reader.read(Buffer.concat([frameHeader(FRAME.stderr, 10), Buffer.from('abc')]));
    expect(Buffer.from(piece?.bytes ?? []).toString()).toBe('abc');
    expect([...new FrameReader().read(Buffer.concat([frameHeader(FRAME.exit, 10), Buffer.from('{}')]))]).toEqual([]);
  });

  it('that come in pieces are whole though the memory of each piece is used for the next, whatever kind it is', () => {
    const text = JSON.stringify({ text: 'x'.repeat(50), more: 'y'.repeat(50) });
    const bytes = encode([{ type: FRAME.event, bytes: Buffer.from(text) }]);
    for (const memory of [Buffer.alloc(10), new Uint8Array(10)]) {
      const reader = new FrameReader();
      const got: string[] = [];
      for (let at = 0; at < bytes.length; at += memory.length) {
        const part = bytes.subarray(at, at + memory.length);
        memory.set(part);
        for (const piece of reader.read(memory.subarray(0, part.length))) got.push(Buffer.from(piece.bytes).toString());
      }
      expect(got).toEqual([text]);
    }
  });

  it('above the limit are the sender’s error', () => {
    const over = Uint8Array.of(FRAME.stdout, 0, 0x10, 0, 1);
    expect(() => [...new FrameReader().read(over)]).toThrow(RangeError);
    expect(() => [...new FrameReader().read(Uint8Array.of(1, 255, 255, 255, 255))]).toThrow(RangeError);
    expect(() => [...new FrameReader().read(frameHeader(FRAME.stdout, MAX_FRAME_BYTES))]).not.toThrow();
    expect(frameHeader(FRAME.exit, 0x01_02_03)).toEqual(Uint8Array.of(3, 0, 1, 2, 3));
    expect(over).toHaveLength(FRAME_HEADER_BYTES);
  });

  it('of an event hold the longest value, each of its bytes six in JSON; nobody writes or reads a longer one', () => {
    const longest = JSON.stringify({ key: '\u0001'.repeat(512), value: '\u0001'.repeat(MAX_VALUE_BYTES) });
    expect(longest.length + 32_768).toBeLessThan(MAX_EVENT_BYTES);
    const { pieces } = readAll([encode([{ type: FRAME.event, bytes: Buffer.from(longest) }])]);
    expect(pieces[0]?.bytes).toHaveLength(longest.length);
    const tooLong = frameHeader(FRAME.event, MAX_EVENT_BYTES).with(FRAME_HEADER_BYTES - 1, 1);
    expect(() => [...new FrameReader().read(tooLong)]).toThrow(RangeError);
    expect(() => frameHeader(FRAME.event, MAX_EVENT_BYTES + 1)).toThrow(RangeError);
    for (const type of Object.values(FRAME).filter((one) => one !== FRAME.event))
      expect(() => frameHeader(type, MAX_FRAME_BYTES + 1)).toThrow(RangeError);
  });
});
