import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  BatchReader,
  encodeHeader,
  encodeVerdict,
  shownPath,
  type BatchTaker,
} from '../../../src/daemon/transfers/format.ts';
import { LoopsyError } from '../../../src/protocol/errors.ts';
import { seedOfRun } from '../../helpers/seed.ts';
import { verifies } from '../../requirements.ts';

/** What a reader was told, with the bytes of one file put together. */
const recorder = (count?: number) => {
  const told: unknown[] = [];
  let bytes: Buffer[] = [];
  const taker: BatchTaker = {
    header: (value) => {
      told.push(['header', value]);
      return count ?? (Array.isArray(value) ? value.length : 0);
    },
    begin: (index, length) => {
      bytes = [];
      told.push(['begin', index, length]);
    },
    bytes: (_, piece) => void bytes.push(Buffer.from(piece)),
    end: (index, failure) => void told.push(['end', index, Buffer.concat(bytes).toString('latin1'), failure]),
  };
  return { told, reader: new BatchReader(taker) };
};

const lengthOf = (length: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
};
const fileOf = (content: Buffer): Buffer => Buffer.concat([lengthOf(content.length), content, Buffer.of(0)]);
const failed = (message: string): Buffer => encodeVerdict(new LoopsyError('source_changed', { message }));

const cutAt = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
};

const fileArbitrary = fc.oneof(
  fc.uint8Array({ maxLength: 50 }).map((content) => ({ content: Buffer.from(content), message: undefined })),
  fc
    .tuple(fc.uint8Array({ maxLength: 9 }), fc.string())
    .map(([content, message]) => ({ content: Buffer.from(content), message })),
);

describe('a batch', () => {
  it(verifies('transfers.format', 'says the same, wherever its bytes are cut'), () => {
    fc.assert(
      fc.property(fc.array(fileArbitrary, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 12 }), (files, cuts) => {
        const header = files.map((_, index) => index);
        const parts = files.map(({ content, message }) =>
          message === undefined ? fileOf(content) : Buffer.concat([lengthOf(content.length), content, failed(message)]),
        );
        const bytes = Buffer.concat([encodeHeader(header), ...parts]);
        const { told, reader } = recorder();
        for (const chunk of cutAt(bytes, cuts)) expect(reader.read(chunk)).toBeUndefined();
        expect(reader.isDone).toBe(true);
        expect(told).toEqual([
          ['header', header],
          ...files.flatMap(({ content, message }, index) => [
            ['begin', index, content.length],
            [
              'end',
              index,
              content.toString('latin1'),
              message === undefined ? undefined : { error: 'source_changed', message },
            ],
          ]),
        ]);
        expect(() => reader.read(Buffer.of(0))).toThrow('something follows its end');
      }),
      { seed: seedOfRun('batches'), numRuns: 2000 },
    );
  });

  it(verifies('transfers.format', 'of 20,000 malformed ones each ends as a refusal, or waits for more'), () => {
    const good = Buffer.concat([
      encodeHeader([0, 1, 2]),
      fileOf(Buffer.from('abc')),
      Buffer.concat([lengthOf(0), failed('why')]),
      fileOf(Buffer.alloc(9)),
    ]);
    const broken = fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
      fc
        .tuple(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), fc.nat(good.length))
        .map(([at, value, end]) => {
          const bytes = Buffer.from(good);
          bytes[at] = value;
          return bytes.subarray(0, end);
        }),
      fc
        .tuple(fc.nat(good.length), fc.nat(good.length))
        .map(([from, to]) => Buffer.concat([good.subarray(0, from), good.subarray(to)])),
    );
    const begun = performance.now();
    fc.assert(
      fc.property(broken, fc.array(fc.nat(), { maxLength: 4 }), (bytes, cuts) => {
        const { reader } = recorder(3);
        try {
          for (const chunk of cutAt(bytes, cuts)) reader.read(chunk);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(LoopsyError);
          expect(thrown).toMatchObject({ error: 'invalid_request' });
        }
      }),
      { seed: seedOfRun('malformed batches'), numRuns: 20_000 },
    );
    expect(performance.now() - begun).toBeLessThan(60_000);
  });

  it.each([
    ['no header', lengthOf(0)],
    ['a header of 4 GB', lengthOf(0xffff_ffff)],
    ['a header that is no JSON', Buffer.concat([lengthOf(3), Buffer.from('{"a')])],
    ['a verdict that is none', Buffer.concat([encodeHeader([0]), lengthOf(0), Buffer.of(7)])],
    ['a reason that is no JSON', Buffer.concat([encodeHeader([0]), lengthOf(0), Buffer.of(1, 0, 2, 120, 120)])],
  ])('%s is refused', (_, bytes) => {
    expect(() => recorder().reader.read(bytes)).toThrow('are malformed');
  });

  it(verifies('transfers.format', 'its header takes no more memory than it has, in pieces of one byte too'), () => {
    const { reader, told } = recorder();
    const header = encodeHeader(Array.from({ length: 100_000 }, (_, index) => index));
    for (let at = 0; at < header.length; at += 1) reader.read(header.subarray(at, at + 1));
    expect(told).toHaveLength(1);
    // Contents are never put together.
    const large = recorder();
    large.reader.read(Buffer.concat([encodeHeader([0]), lengthOf(0xffff_ffff)]));
    const piece = Buffer.alloc(65_536);
    for (let count = 0; count < 100; count += 1) large.reader.read(piece);
    expect(large.reader.isDone).toBe(false);
  });

  it('one that is put off goes on where it was', () => {
    const told: unknown[] = [];
    const reader = new BatchReader({
      header: () => undefined,
      begin: (index) => void told.push(index),
      bytes: (_, bytes) => void told.push(Buffer.from(bytes).toString()),
      end: () => undefined,
    });
    const rest = reader.read(Buffer.concat([encodeHeader([0]), fileOf(Buffer.from('x'))]));
    expect(rest?.length).toBe(6);
    reader.resume(1);
    expect(reader.read(rest ?? Buffer.alloc(0))).toBeUndefined();
    reader.resume(9);
    expect([told, reader.isDone]).toEqual([[0, 'x'], true]);
  });

  it('a reason is short, and what it says is text', () => {
    const { told, reader } = recorder();
    const long = encodeVerdict(new LoopsyError('source_changed', { message: '\u0001'.repeat(50_000) }));
    expect(long.length).toBeLessThan(65_536);
    const odd = Buffer.from(JSON.stringify({ error: 7, message: { a: 1 } }));
    reader.read(
      Buffer.concat([encodeHeader([0, 1]), lengthOf(0), long, lengthOf(0), Buffer.of(1, 0, odd.length), odd]),
    );
    expect(told.at(-1)).toEqual(['end', 1, '', { error: 'transfer_failed', message: '' }]);
    expect([shownPath('r', ''), shownPath('r', 'a/b')]).toEqual(['r', 'r/a/b']);
  });
});
