import { execFileSync } from 'node:child_process';
import { mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';

import type { OutputPiece } from '../../../src/daemon/process/segment.ts';
import { Spool, type SpoolOptions } from '../../../src/daemon/process/spool.ts';
import { StoredOutput } from '../../../src/daemon/process/stored-output.ts';
import { FRAME } from '../../../src/protocol/frames.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';

const makeOptions = async (more: Partial<SpoolOptions> = {}): Promise<SpoolOptions & { faults: unknown[] }> => {
  const faults: unknown[] = [];
  return {
    dir: join(await tempFolder(), 'run'),
    windowBytes: () => 100_000_000,
    clock: new FakeClock(),
    onFault: (error) => void faults.push(error),
    onWritten: () => undefined,
    ...more,
    faults,
  };
};

const readFrom = async (spool: Pick<Spool, 'read'>, since: number): Promise<OutputPiece[]> => {
  const pieces: OutputPiece[] = [];
  for (let cursor = since; ;) {
    const next = await spool.read(cursor);
    if (next.length === 0) return pieces;
    pieces.push(...next);
    cursor = next.at(-1)?.cursor ?? cursor;
  }
};

const bytesOf = (pieces: readonly OutputPiece[], type: number): string =>
  Buffer.concat(pieces.filter((piece) => piece.type === type).map(({ bytes }) => bytes)).toString('latin1');

const gapsOf = (pieces: readonly OutputPiece[]): unknown[] =>
  pieces
    .filter(({ type }) => type === FRAME.gap)
    .map(({ bytes }) => JSON.parse(Buffer.from(bytes).toString()) as unknown);

describe('a spool', () => {
  it('keeps a little output in memory for 200 ms, then writes it; a keeping-up reader never needs the disk', async () => {
    const options = await makeOptions();
    const clock = options.clock as FakeClock;
    const spool = new Spool(options);
    spool.append(FRAME.stdout, Buffer.from('hello'));
    clock.advance(199);
    await expect(readdir(options.dir)).rejects.toThrow('ENOENT');
    expect(spool.read(2)).toMatchObject([{ cursor: 5, bytes: Buffer.from('llo') }]);
    clock.advance(2);
    await spool.settle();
    expect(await readdir(options.dir)).toEqual(['0.seg']);
    expect(await readFile(join(options.dir, '0.seg'))).toEqual(Buffer.from([1, 0, 0, 0, 5, ...Buffer.from('hello')]));
    expect((await stat(options.dir)).mode & 0o777).toBe(0o700);
    expect((await stat(join(options.dir, '0.seg'))).mode & 0o777).toBe(0o600);
  });

  it('gives back what was put in, at every cursor, in memory and on disk', async () => {
    const piece = fc.record({
      type: fc.constantFrom(FRAME.stdout, FRAME.stderr),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 3000 }),
    });
    const property = fc.asyncProperty(fc.array(piece, { maxLength: 60 }), fc.nat(100_000), async (pieces, at) => {
      const options = await makeOptions();
      const spool = new Spool(options);
      for (const { type, bytes } of pieces) spool.append(type, bytes);
      const since = spool.end === 0 ? 0 : at % spool.end;
      const live = await readFrom(spool, since);
      await spool.settle();
      const stored = await readFrom(new StoredOutput(options.dir, spool.end), since);
      const flat = pieces.flatMap(({ type, bytes }) => [...bytes].map((byte) => ({ type, byte }))).slice(since);
      for (const read of [live, stored]) {
        expect(read.flatMap(({ type, bytes }) => [...bytes].map((byte) => ({ type, byte })))).toEqual(flat);
      }
    });
    await fc.assert(property, { numRuns: 25 });
  });

  it('reads exactly while it is being written and its oldest files are dropped', async () => {
    const options = await makeOptions({ windowBytes: () => 400_000 });
    const spool = new Spool(options);
    const reader = async (): Promise<number> => {
      let seen = 0;
      for (let cursor = 0; cursor < 3_000_000;) {
        for (const { type, bytes, cursor: behind } of await spool.read(cursor)) {
          if (type === FRAME.stdout)
            expect(bytes.every((byte, at) => byte === (behind - bytes.length + at) % 251)).toBe(true);
          if (type === FRAME.stdout) seen += bytes.length;
          cursor = behind;
        }
        await new Promise(setImmediate);
      }
      return seen;
    };
    const readers = Promise.all([reader(), reader()]);
    for (let at = 0; at < 3_000_000; at += 30_000) {
      spool.append(
        FRAME.stdout,
        Uint8Array.from({ length: 30_000 }, (_, place) => (at + place) % 251),
      );
      await new Promise(setImmediate);
    }
    for (const seen of await readers) expect(seen).toBeGreaterThan(300_000);
    await spool.settle();
    const sizes = await Promise.all(
      (await readdir(options.dir)).map(async (name) => (await stat(join(options.dir, name))).size),
    );
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(400_000);
    expect(options.faults).toEqual([]);
  });

  it('cuts a tail that a crash has torn, and says that it is gone', async () => {
    const options = await makeOptions();
    const spool = new Spool(options);
    for (const text of ['one', 'two', 'three']) spool.append(FRAME.stdout, Buffer.from(text));
    await spool.settle();
    for (const cut of [1, 4, 6, 8]) {
      await truncate(join(options.dir, '0.seg'), 26 - cut);
      expect((await StoredOutput.open(options.dir)).end).toBe(6);
      const read = await readFrom(new StoredOutput(options.dir, 11), 1);
      expect(bytesOf(read, FRAME.stdout)).toBe('netwo');
      expect(gapsOf(read)).toEqual([{ from: 6, to: 11 }]);
    }
    await writeFile(join(options.dir, '0.seg'), Buffer.alloc(100));
    expect((await StoredOutput.open(options.dir)).end).toBe(0);
  });

  it('goes on when the disk takes nothing: what is not kept is a gap, followers still get it live', async () => {
    const options = await makeOptions();
    await writeFile(options.dir, 'a file where the folder should be');
    const spool = new Spool(options);
    let cursor = 0;
    for (let at = 0; at < 200; at++) {
      spool.append(FRAME.stdout, Buffer.alloc(60_000, at));
      for (const piece of await spool.read(cursor)) cursor = piece.cursor;
      await new Promise(setImmediate);
    }
    expect(cursor).toBe(12_000_000);
    await spool.settle();
    expect(options.faults.length).toBeGreaterThan(0);
    expect(spool.truncated).toBe(true);
    expect(spool.overfull).toBe(false);
    const late = await readFrom(spool, 5);
    expect(late[0]?.type).toBe(FRAME.gap);
    expect(late.at(-1)?.cursor).toBe(12_000_000);
  });

  const mount = (folder: string, size: string): boolean => {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder], { stdio: 'ignore' });
      return true;
    } catch {
      return false; // not root, or no mounts here
    }
  };

  it('keeps what a full disk takes, exactly, and goes on when there is room again', async ({ skip }) => {
    const folder = await tempFolder();
    await mkdir(join(folder, 'small'));
    if (!mount(join(folder, 'small'), '1m')) skip('mounting a small tmpfs needs root');
    onTestFinished(() => void execFileSync('umount', ['-l', join(folder, 'small')]));
    const options = await makeOptions({ dir: join(folder, 'small', 'run') });
    const spool = new Spool(options);
    const put = async (from: number, isEnough: () => boolean): Promise<void> => {
      for (let at = from; at < from + 300; at++) spool.append(FRAME.stdout, Buffer.alloc(10_001, at % 251));
      while (!isEnough()) await new Promise(setImmediate);
    };
    await put(0, () => options.faults.length > 0 && !spool.overfull);
    execFileSync('mount', ['-o', 'remount,size=16m', join(folder, 'small')]);
    await put(300, () => !spool.overfull);
    await spool.settle();
    const read = await readFrom(new StoredOutput(options.dir, spool.end), 0);
    expect(gapsOf(read).length).toBeGreaterThan(0);
    for (const { type, bytes, cursor } of read) {
      if (type !== FRAME.stdout) continue;
      const start = cursor - bytes.length;
      expect(bytes.every((byte, at) => byte === Math.floor((start + at) / 10_001) % 251)).toBe(true);
    }
    expect(read.at(-1)?.cursor).toBe(600 * 10_001);
    expect(read.at(-1)?.type).toBe(FRAME.stdout);
  });
});
