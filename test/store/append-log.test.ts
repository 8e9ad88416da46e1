import { appendFile, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';

import { openAppendLog, type AppendLog, type AppendLogOptions } from '../../src/store/append-log.ts';
import { FakeClock } from '../helpers/clock.ts';
import { mountSmallDisk } from '../helpers/small-disk.ts';
import { tempFolder } from '../helpers/temp-folder.ts';

const MI = 1024 * 1024;

const open = (file: string, options: Partial<AppendLogOptions> = {}): AppendLog => {
  const log = openAppendLog({ file, clock: new FakeClock(), flushMs: 1000, maxBytes: MI, keep: 3, ...options });
  onTestFinished(() => log.close());
  return log;
};

const tempFile = async (): Promise<string> => join(await tempFolder(), 'logs', 'audit.jsonl');
const collect = async (log: AppendLog, limit = Infinity): Promise<string[]> => {
  const lines: string[] = [];
  for await (const { line } of log.tail()) if (lines.push(line) === limit) break;
  return lines;
};
const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => `line ${from + n}`);

describe('an append-only log', () => {
  it('has the lines in their order once they are flushed, and goes on when it is opened again', async () => {
    const file = await tempFile();
    const log = open(file);
    log.append('one');
    log.append('zwei ä 🜁');
    await log.flush({ sync: true });
    expect(await readFile(file, 'utf8')).toBe('one\nzwei ä 🜁\n');
    log.append('three');
    await log.close();
    log.append('too late');
    const again = open(file);
    again.append('four');
    await again.flush();
    expect(await readFile(file, 'utf8')).toBe('one\nzwei ä 🜁\nthree\nfour\n');
  });

  it('writes by itself within its time', async () => {
    const [file, clock] = [await tempFile(), new FakeClock()];
    const log = open(file, { clock });
    log.append('one');
    log.append('two');
    expect(clock.waiting).toBe(1);
    clock.advance(1000);
    expect(await collect(log)).toEqual(['two', 'one']);
    expect(clock.waiting).toBe(0);
  });

  it('keeps other users out', async ({ skip }) => {
    skip(process.platform === 'win32', 'Windows has no modes');
    const file = await tempFile();
    const log = open(file);
    log.append('one');
    await log.flush();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(join(file, '..'))).mode & 0o777).toBe(0o700);
  });

  it('lets no line break forge a second line', async () => {
    const log = open(await tempFile());
    log.append('evil\n{"decision":"allowed"}');
    expect(await collect(log)).toEqual(['evil\\n{"decision":"allowed"}']);
  });

  it('mends the half line that a killed process left', async () => {
    const file = await tempFile();
    const log = open(file);
    log.append('whole');
    await log.close();
    await appendFile(file, '{"half":');
    const again = open(file);
    again.append('next');
    await again.flush();
    expect(await readFile(file, 'utf8')).toBe('whole\n{"half":\nnext\n');
  });

  it('rotates at its size, keeps as many files as told, and loses no line between them', async () => {
    const file = await tempFile();
    const log = open(file, { maxBytes: 100, keep: 2 });
    for (const line of numbers(10, 50)) log.append(line);
    await log.flush();
    expect((await readdir(join(file, '..'))).toSorted()).toEqual(['audit.jsonl', 'audit.jsonl.1', 'audit.jsonl.2']);
    for (const name of [file, `${file}.1`, `${file}.2`]) expect((await stat(name)).size).toBeLessThanOrEqual(100);
    const left = await collect(log);
    expect(left.toReversed()).toEqual(numbers(50 - left.length, 50));
    expect(left.length).toBeGreaterThan(25);
  });

  it('follows a change of its bounds while it is open', async () => {
    const file = await tempFile();
    const log = open(file, { maxBytes: 100, keep: 5 });
    for (const line of numbers(10, 80)) log.append(line);
    await log.flush();
    expect(await readdir(join(file, '..'))).toHaveLength(6);
    log.setBounds({ maxBytes: 50, keep: 1 });
    for (const line of numbers(80, 99)) log.append(line);
    await log.flush();
    expect((await readdir(join(file, '..'))).toSorted()).toEqual(['audit.jsonl', 'audit.jsonl.1']);
    log.setBounds({ maxBytes: 20, keep: 0 });
    for (const line of numbers(80, 99)) log.append(line);
    await log.flush();
    expect(await collect(log, 1)).toEqual(['line 98']);
  });

  it('gives a line that is larger than a file a file of its own', async () => {
    const log = open(await tempFile(), { maxBytes: 100, keep: 9 });
    for (const line of ['a', 'b'.repeat(1000), 'c']) log.append(line);
    expect((await collect(log)).map(({ length }) => length)).toEqual([1, 1000, 1]);
  });

  it('bounds its memory, and says how many lines that cost', async () => {
    const log = open(await tempFile(), { maxBytes: 100 * MI });
    for (let n = 0; n < 50; n += 1) log.append(`${n} ${'x'.repeat(100_000)}`);
    log.append('after');
    const [last, notice, before] = await collect(log, 3);
    expect(last).toBe('after');
    expect(JSON.parse(notice ?? '')).toMatchObject({ event: 'lines dropped', dropped: 9, reason: 'too many at once' });
    expect(before).toMatch(/^40 x/);
  });

  it('survives a full disk: nothing is torn, what was dropped is counted, and it goes on when there is room', async (context) => {
    const disk = await mountSmallDisk(256);
    if (disk === undefined) return context.skip('a small disk can be mounted by root on Linux alone');
    const [file, clock] = [join(disk.folder, 'audit.jsonl'), new FakeClock()];
    const log = open(file, { clock });
    const line = (n: number): string => `${n} ${'x'.repeat(1000)}`;
    for (let n = 0; n < 100; n += 1) log.append(line(n));
    await log.flush();
    await disk.fill();
    for (let n = 100; n < 6000; n += 1) log.append(line(n));
    await expect(log.flush({ sync: true })).rejects.toThrow('ENOSPC');
    expect((await readFile(file, 'utf8')).endsWith('x\n')).toBe(true);
    clock.advance(1000);
    await disk.free();
    log.setBounds({ maxBytes: 50_000, keep: 1 });
    log.append('room again');
    await log.flush({ sync: true });
    const [newest, notice, before] = await collect(log, 3);
    expect(newest).toBe('room again');
    const { dropped, reason } = JSON.parse(notice ?? '');
    expect(reason).toContain('ENOSPC');
    expect(before).toBe(line(5999 - dropped));
    expect(dropped).toBeGreaterThan(1000);
  });
});

describe('reading a log backwards', () => {
  it('goes on from the cursor of any line, in whichever file it is by now, and after another start', async () => {
    const file = await tempFile();
    const log = open(file, { maxBytes: 100, keep: 9 });
    for (const line of numbers(10, 60)) log.append(line);
    const [all, cursors]: [string[], string[]] = [[], []];
    for await (const { line, cursor } of log.tail()) {
      all.push(line);
      cursors.push(cursor);
    }
    expect(all).toEqual(numbers(10, 60).toReversed());
    for (const line of numbers(60, 75)) log.append(line);
    await log.close();
    const again = open(file, { maxBytes: 100, keep: 9 });
    for (const [at, cursor] of cursors.entries()) {
      const older: string[] = [];
      for await (const { line } of again.tail(cursor)) older.push(line);
      expect(older).toEqual(all.slice(at + 1));
    }
  });

  it('gives nothing behind a cursor whose line was rotated away, or that is none', async () => {
    const log = open(await tempFile(), { maxBytes: 100, keep: 1 });
    for (const line of numbers(10, 20)) log.append(line);
    const cursors = ['', 'x', '..', '.1', '1.'];
    for await (const { cursor } of log.tail()) cursors.push(cursor);
    for (const line of numbers(20, 60)) log.append(line);
    for (const cursor of cursors) expect(await log.tail(cursor).next()).toMatchObject({ done: true });
  });

  it('has nothing to give before the first line', async () => {
    expect(await collect(open(await tempFile()))).toEqual([]);
  });

  it('sees the log as it was when it began, whatever is rotated meanwhile', async () => {
    const log = open(await tempFile(), { maxBytes: 100, keep: 4 });
    for (const line of numbers(10, 40)) log.append(line);
    const seen: string[] = [];
    for await (const { line } of log.tail()) {
      seen.push(line);
      log.append(`later ${seen.length}`);
      await log.flush();
    }
    expect(seen.toReversed()).toEqual(numbers(10, 40));
  });

  it('gives any text back, across the borders of its chunks', async () => {
    const line = fc.oneof(
      fc.string({ unit: 'binary' }).map((text) => text.replace(/[\n\p{Cs}]/gu, '.')),
      fc.integer({ min: 65_000, max: 140_000 }).map((length) => 'ä'.repeat(length / 2)),
    );
    const file = join(await tempFolder(), 'any.log');
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 6 }), async (lines) => {
        const kept = lines.filter((text) => text !== '');
        await writeFile(file, kept.map((text) => `${text}\n`).join(''));
        expect((await collect(open(file))).toReversed()).toEqual(kept);
      }),
      { numRuns: 50 },
    );
  });
});
