import { appendFileSync, mkdirSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { CHUNK_BYTES } from '../../../../src/daemon/transfers/format.ts';
import type { Stamp } from '../../../../src/protocol/transfers.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import { diskIn, errorOf, manifestOf, readAll, readJson, sourceOf, type TestDisk } from './setup.ts';

let home: string;
let disk: TestDisk;

beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  mkdirSync(join(home, 'tree'), { recursive: true });
  disk = diskIn(home);
});

const stampOf = (name: string): Stamp => {
  const { size, mtimeMs } = statSync(join(home, 'tree', name));
  return [0, name, size, mtimeMs];
};
const asked = async () => (await sourceOf(disk, ['~/tree'])).source;

const CHANGES: Readonly<Record<string, (file: string) => void>> = {
  grown: (file) => appendFileSync(file, 'x'),
  shrunk: (file) => writeFileSync(file, ''),
  gone: (file) => rmSync(file),
  folder: (file) => {
    rmSync(file);
    mkdirSync(file);
  },
  link: (file) => {
    rmSync(file);
    symlinkSync('grown', file);
  },
};

describe('a source that changes', () => {
  it(
    verifies('transfers.source-changes', 'is noticed when it has grown, shrunk, gone, or is another thing'),
    async () => {
      const source = await asked();
      for (const name of Object.keys(CHANGES)) writeFileSync(join(home, 'tree', name), `bytes of ${name}`);
      const stamps = Object.keys(CHANGES).map(stampOf);
      for (const [name, change] of Object.entries(CHANGES)) change(join(home, 'tree', name));
      const text = (await readAll(source, { kind: 'batch', files: stamps })).toString('latin1');
      const errors = ['source_changed', 'source_changed', 'file_not_found', 'wrong_type', 'path_denied'];
      expect([...text.matchAll(/"error":"([a-z_]+)"/g)].map(([, error]) => error)).toEqual(errors);
      for (const [index, file] of stamps.entries()) {
        expect(await errorOf(readAll(source, { kind: 'range', file, from: 0, to: 1 }))).toBe(errors[index]);
        expect(await errorOf(readAll(source, { kind: 'check', file }))).toBe(errors[index]);
      }
    },
  );

  it(verifies('transfers.source-changes', 'between two of its parts, though size and time are the same'), async () => {
    const big = join(home, 'tree/big');
    writeFileSync(big, Buffer.alloc(2 * CHUNK_BYTES, 1));
    utimesSync(big, 5000, 5000);
    const source = await asked();
    const file = stampOf('big');
    await readAll(source, { kind: 'range', file, from: 0, to: CHUNK_BYTES });
    writeFileSync(big, Buffer.alloc(2 * CHUNK_BYTES, 2));
    utimesSync(big, 5000, 5000);
    const range = { kind: 'range', file, from: CHUNK_BYTES, to: 2 * CHUNK_BYTES } as const;
    expect(await errorOf(readAll(source, range))).toBe('source_changed');
    // Asked for anew, it is this file from its begin.
    await readAll(source, { ...range, from: 0 });
    expect(await readJson(source, { kind: 'check', file })).toEqual({});
  });

  it(verifies('transfers.source-changes', 'while a range or its hashes are being read'), async () => {
    const big = join(home, 'tree/big');
    for (const kind of ['range', 'hashes'] as const) {
      writeFileSync(big, Buffer.alloc(3 * CHUNK_BYTES));
      const source = await asked();
      const file = stampOf('big');
      const reading = source.read(kind === 'range' ? { kind, file, from: 0, to: file[2] } : { kind, file, chunks: 3 });
      const first = reading.next();
      if (kind === 'range') await first;
      else for (let turn = 0; turn < 2; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      appendFileSync(big, 'more');
      const rest = async (): Promise<void> => {
        for (let next = await first; next.done !== true;) next = await reading.next();
      };
      expect(await errorOf(rest()), kind).toBe('source_changed');
    }
  });

  it('ranges and batches have bounds', async () => {
    writeFileSync(join(home, 'tree/big'), Buffer.alloc(5_000_000));
    const source = await asked();
    const file = stampOf('big');
    expect(await errorOf(readAll(source, { kind: 'batch', files: [file] }))).toBe('invalid_request');
    expect(await errorOf(readAll(source, { kind: 'range', file, from: 0, to: 5_000_001 }))).toBe('invalid_request');
    expect(await errorOf(readAll(source, { kind: 'range', file, from: 9, to: 1 }))).toBe('invalid_request');
    expect(await errorOf(readAll(source, { kind: 'batch', files: [[7, 'x', 1, 1]] }))).toBe('invalid_request');
    disk = diskIn(home, { around: { maxFileSize: 5_000_000 } });
    const small = (await sourceOf(disk, ['~/tree'])).source;
    expect((await manifestOf(small)).failed).toEqual([]);
    const tiny = (await sourceOf(diskIn(home, { around: { maxFileSize: 4_999_999 } }), ['~/tree'])).source;
    expect((await manifestOf(tiny)).failed.map(([, error]) => error)).toEqual(['file_too_large']);
    expect(await errorOf(readAll(tiny, { kind: 'range', file, from: 0, to: 1 }))).toBe('file_too_large');
  });

  it('groups can be asked for again, at once, and only so many', async () => {
    for (let index = 0; index < 3000; index += 1) writeFileSync(join(home, 'tree', `f${index}`), '');
    const source = await asked();
    const group = (at: number) => readAll(source, { kind: 'group', at });
    const [one, two, ahead] = await Promise.all([group(0), group(0), group(1)]);
    expect(one.equals(two)).toBe(true);
    expect(ahead.equals(one)).toBe(false);
    expect((await group(1)).equals(ahead)).toBe(true);
    await group(2);
    const last = JSON.parse((await group(3)).toString()) as { last: boolean };
    expect(last.last).toBe(true);
    expect(await errorOf(group(4))).toBe('invalid_request');
    expect(await errorOf(group(9))).toBe('invalid_request');
    source.close();
    expect(await errorOf(group(0))).toBe('transfer_not_found');
  });
});
