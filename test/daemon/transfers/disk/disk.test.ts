import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';

import { Disk } from '../../../../src/daemon/transfers/disk/disk.ts';
import {
  DISK_PROTOCOL,
  type DiskData,
  type DiskWrite,
  type FromDisk,
  READ_WINDOW_BYTES,
} from '../../../../src/daemon/transfers/disk/messages.ts';
import { ENTRY } from '../../../../src/daemon/transfers/format.ts';
import type { SourceWant } from '../../../../src/protocol/transfers.ts';
import { until } from '../../../helpers/process-facts.ts';
import { tempFolder } from '../../../helpers/temp-folder.ts';
import { verifies } from '../../../requirements.ts';
import { batchOf, draftsIn, MTIME_MS } from './setup.ts';

let home: string;
let data: DiskData;
let disk: Disk;
let lastId: number;
const answers = new Map<number, FromDisk[]>();

beforeEach(async () => {
  home = join(await tempFolder(), 'home');
  mkdirSync(join(home, 'tree'), { recursive: true });
  answers.clear();
  lastId = 0;
  data = {
    protocol: DISK_PROTOCOL,
    platform: process.platform,
    home,
    nodeId: 'n'.repeat(32),
    alwaysDenied: [],
    journalDir: join(home, '..', 'journals'),
    rules: { allowed: ['~'], denied: [], maxFileSize: 1e9 },
  };
  disk = new Disk(data, (message) => answers.set(message.id, [...(answers.get(message.id) ?? []), message]));
});

const told = (id: number): FromDisk[] => answers.get(id) ?? [];

/** The answer to a message, or the error's name. */
const answerOf = async (id: number): Promise<unknown> => {
  for (;;) {
    for (const message of told(id)) {
      if ('answer' in message) return message.answer;
      if ('error' in message) return message.error.error.name;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
};

const next = (): number => (lastId += 1);

const call = (name: 'source.open' | 'target.open' | 'close' | 'list', options: unknown): Promise<unknown> => {
  const id = next();
  disk.take({ id, call: name, options });
  return answerOf(id);
};

const targetOptions = {
  endId: 't',
  journalKey: 'k',
  dest: '~',
  roots: [{ name: 'tree', type: 'directory' }],
  sourcePlatform: 'linux',
  limits: {},
  mayWriteRunning: true,
  checksum: false,
  update: false,
  noClobber: false,
  dryRun: false,
  digest: false,
};

const begin = (write: DiskWrite): number => {
  const id = next();
  disk.take({ id, write });
  return id;
};

/** Hands in bytes, with memory of their own. */
const handIn = (id: number, bytes: Uint8Array): void => disk.take({ id, bytes: new Uint8Array(bytes) });

const step = (name: 'plan' | 'finish', entries: unknown): Promise<unknown> => {
  const id = begin({ endId: 't', step: name });
  handIn(id, Buffer.from(JSON.stringify({ entries })));
  disk.take({ id, end: 'end' });
  return answerOf(id);
};

const LARGE_BYTES = 4 * READ_WINDOW_BYTES;

/** Begins to read a large file, and resolves when no more of it may be on its way. */
const readLarge = async (way: string): Promise<number> => {
  writeFileSync(join(home, 'tree/large'), Buffer.alloc(LARGE_BYTES));
  utimesSync(join(home, 'tree/large'), 1, 1);
  await call('source.open', { endId: 's', paths: ['~/tree'], exclude: [], gitignore: false, limits: {} });
  const want: SourceWant = { kind: 'range', file: [0, 'large', LARGE_BYTES, 1000], from: 0, to: LARGE_BYTES };
  const id = next();
  const readFile = { path: '~/tree/large', limits: {} };
  disk.take({ id, read: way === 'range' ? { endId: 's', want } : { readFile } });
  await until(() => bytesOf(id) >= READ_WINDOW_BYTES, 5000);
  return id;
};

const bytesOf = (id: number): number =>
  told(id).reduce((sum, message) => sum + ('chunk' in message ? message.chunk.length : 0), 0);

describe('the disk', () => {
  it('writes what is handed in, in its order, also before it is ready for it', async () => {
    expect(await call('target.open', targetOptions)).toMatchObject({ paths: [join(home, 'tree')] });
    await step('plan', [[ENTRY.folder, 0, '', 0, MTIME_MS, 0o755]]);
    const { bytes } = batchOf([
      ['a', 'one'],
      ['b', 'two'],
    ]);
    const id = begin({ endId: 't', step: 'batch' });
    for (const byte of bytes) handIn(id, Uint8Array.of(byte));
    disk.take({ id, end: 'end' });
    expect(await answerOf(id)).toMatchObject({ done: 2, failed: [] });
    expect(told(id).filter((message) => 'taken' in message)).toHaveLength(bytes.length);
    expect(await call('close', { endId: 't', rest: 'none' })).toEqual({});
    expect(readdirSync(data.journalDir)).toEqual([]);
  });

  it.each(['put', 'one file'])(
    verifies('transfers.denied-midway', 'ends what is written while it comes, and leaves nothing: %s'),
    async (way) => {
      mkdirSync(join(home, 'other'));
      const rules = { ...data.rules, denied: ['~/tree'] };
      let id = 0;
      if (way === 'put') {
        await call('target.open', targetOptions);
        await step('plan', [[ENTRY.folder, 0, '', 0, MTIME_MS, 0o755]]);
        const prepare = begin({ endId: 't', step: 'prepare' });
        handIn(prepare, Buffer.from(JSON.stringify({ file: [0, 'large', 8_000_000, MTIME_MS, 0o644] })));
        disk.take({ id: prepare, end: 'end' });
        const { file } = (await answerOf(prepare)) as { file: number };
        id = begin({ endId: 't', step: 'put', file, at: 0, to: 8_000_000, turn: 0 });
      } else {
        const place = { destPath: '~/tree/large' };
        id = begin({ writeFile: { id: 'ab'.repeat(16), place, limits: {}, mayWriteRunning: true } });
      }
      handIn(id, Buffer.alloc(100_000));
      await until(() => told(id).length > 0, 5000);
      disk.take({ rules: { ...rules, denied: ['~/other'] } });
      handIn(id, Buffer.alloc(100_000));
      await until(() => told(id).length > 1, 5000);
      expect(draftsIn(home)).toHaveLength(1);
      disk.take({ rules });
      expect(await answerOf(id)).toBe('path_denied');
      expect(draftsIn(home)).toEqual([]);
    },
  );

  it.each(['range', 'one file'])(
    verifies('transfers.denied-midway', 'ends what is read, no further than what was on its way: %s'),
    async (way) => {
      const id = await readLarge(way);
      disk.take({ rules: { ...data.rules, denied: ['~/tree/large'] } });
      disk.take({ id, more: LARGE_BYTES });
      expect(await answerOf(id)).toBe('path_denied');
      expect(bytesOf(id)).toBeLessThan(LARGE_BYTES / 2);
    },
  );

  it.each(['range', 'one file'])(
    verifies('transfers.source-changes', 'reads no file to its end that has changed: %s'),
    async (way) => {
      const id = await readLarge(way);
      appendFileSync(join(home, 'tree/large'), 'more');
      disk.take({ id, more: LARGE_BYTES });
      expect(await answerOf(id)).toBe('source_changed');
      expect(bytesOf(id)).toBeLessThan(LARGE_BYTES / 2);
    },
  );

  it('answers each mistake, and goes on', async () => {
    expect(
      await call('source.open', { endId: 's', paths: ['/etc'], exclude: ['['], gitignore: false, limits: {} }),
    ).toBe('invalid_request');
    expect(await call('target.open', { ...targetOptions, dest: '/etc/x' })).toBe('path_denied');
    expect(await call('list', { path: '/etc', limits: {}, limit: 10 })).toBe('path_denied');
    expect(await call('close', { endId: 'nobody', rest: 'none' })).toEqual({});
    for (const write of [
      { endId: 'no', step: 'batch' },
      { endId: 'no', step: 'put' },
      { endId: 'no', step: 'plan' },
    ] as const)
      expect(await answerOf(begin(write))).toBe('transfer_not_found');
    const id = next();
    disk.take({ id, read: { endId: 'no', want: { kind: 'group', at: 0 } } });
    expect(await answerOf(id)).toBe('transfer_not_found');
    handIn(999, Buffer.of(1));
    disk.take({ id: 999, end: 'end' });
    disk.take({ id: 999, more: 5 });
    expect(readdirSync(join(home, '..')).toSorted()).toEqual(['home', 'journals']);
    expect(readdirSync(data.journalDir)).toEqual([]);
  });

  it('what is malformed or broken off leaves nothing, whenever that happens', async () => {
    await call('target.open', targetOptions);
    const { bytes } = batchOf([
      ['a', 'one'],
      ['b', 'two'],
    ]);
    const malformed = begin({ endId: 't', step: 'batch' });
    handIn(malformed, Buffer.concat([bytes, Buffer.from('more')]));
    expect(await answerOf(malformed)).toBe('invalid_request');
    const early = begin({ endId: 't', step: 'batch' });
    handIn(early, bytes);
    disk.take({ id: early, end: 'abort' });
    const late = begin({ endId: 't', step: 'batch' });
    handIn(late, bytes.subarray(0, -1));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(draftsIn(home)).toHaveLength(2);
    disk.take({ id: late, end: 'abort' });
    expect([draftsIn(home), readdirSync(join(home, 'tree'))]).toEqual([[], []]);
    await call('close', { endId: 't', rest: 'kept' });
    expect(told(early).some((message) => 'answer' in message)).toBe(false);
  });

  it(
    verifies('transfers.atomic', 'rules that change while a file comes hold for it: small, large, and by itself'),
    async () => {
      await call('target.open', targetOptions);
      const batch = begin({ endId: 't', step: 'batch' });
      const { bytes } = batchOf([
        ['closed/a', 'one'],
        ['open', 'two'],
      ]);
      mkdirSync(join(home, 'tree/closed'));
      handIn(batch, bytes);
      const single = begin({
        writeFile: { id: 'ab'.repeat(16), place: { destPath: '~/tree/closed/b' }, limits: {}, mayWriteRunning: true },
      });
      handIn(single, Buffer.from('x'));
      await vi.waitFor(() => expect(draftsIn(home)).toHaveLength(3));
      disk.take({ rules: { ...data.rules, denied: ['~/tree/closed'] } });
      disk.take({ id: batch, end: 'end' });
      disk.take({ id: single, end: 'end' });
      expect(await answerOf(batch)).toMatchObject({
        done: 1,
        failed: [['tree/closed/a', 'path_denied', expect.any(String), expect.stringContaining('config.yaml')]],
      });
      expect(await answerOf(single)).toBe('path_denied');
      expect([
        draftsIn(home),
        existsSync(join(home, 'tree/closed/a')),
        existsSync(join(home, 'tree/closed/b')),
      ]).toEqual([[], false, false]);
      expect(readFileSync(join(home, 'tree/open'), 'utf8')).toBe('two');
      await call('close', { endId: 't', rest: 'none' });
    },
  );

  it('a reader that takes nothing more is waited for, and one that leaves is left', async () => {
    writeFileSync(join(home, 'big'), Buffer.alloc(3 * READ_WINDOW_BYTES));
    const id = next();
    disk.take({ id, read: { readFile: { path: '~/big', limits: {} } } });
    await new Promise((resolve) => setTimeout(resolve, 50));
    const first = bytesOf(id);
    expect(first).toBeLessThanOrEqual(READ_WINDOW_BYTES + 1_048_576);
    disk.take({ id, more: READ_WINDOW_BYTES });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(bytesOf(id)).toBeGreaterThan(first);
    const open = readdirSync('/proc/self/fd').length;
    disk.take({ id, end: 'abort' });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(readdirSync('/proc/self/fd').length).toBe(open - 1);
  });

  it('what an earlier process left is swept when it begins', () => {
    const draft = join(home, 'tree/.loopsy-0123456789abcdef.part');
    writeFileSync(draft, '');
    mkdirSync(data.journalDir, { recursive: true });
    writeFileSync(join(data.journalDir, `${'0'.repeat(32)}.jsonl`), `${JSON.stringify({ small: [draft] })}\n`);
    mkdirSync(join(data.journalDir, `${'1'.repeat(32)}.jsonl`));
    expect(() => new Disk(data, () => undefined)).not.toThrow();
    expect(existsSync(draft)).toBe(false);
  });
});
