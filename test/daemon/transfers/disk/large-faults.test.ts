import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';

import { FileSink } from '../../../../src/daemon/transfers/disk/file-sink.ts';
import { PutSink } from '../../../../src/daemon/transfers/disk/incoming.ts';
import { CHUNK_BYTES } from '../../../../src/daemon/transfers/format.ts';
import { verifies } from '../../../requirements.ts';
import { faults } from './failing-fs.ts';
import { useFaultTree } from './faults-setup.ts';
import { errorOf, turns } from './setup.ts';

vi.mock('node:fs', async (original) => (await import('./failing-fs.ts')).failingFs(await original<typeof fs>()));

const tree = useFaultTree();

const putAt = async (file: number, at: number, bytes: Uint8Array): Promise<void> => {
  const sink = new PutSink(tree.target.large, { file, at, to: at + bytes.length, turn: 0 });
  sink.take(bytes);
  await sink.end();
};

describe('large files', () => {
  it.each([
    ['fsync', 'EIO', 'transfer_failed'],
    ['rename', 'EIO', 'transfer_failed'],
    ['futimes', 'EIO', 'transfer_failed'],
  ])(
    verifies('transfers.atomic', '%s fails with %s at the end: the old file stays, nothing is left'),
    async (call, code, error) => {
      const file = await tree.prepareLarge('old');
      await putAt(file, 0, new Uint8Array(CHUNK_BYTES));
      await putAt(file, CHUNK_BYTES, new Uint8Array(5));
      faults.set(call, { skip: 0, code });
      expect(await errorOf(tree.target.large.commit(file, []))).toBe(error);
      await tree.expectUntouched();
    },
  );

  it('a disk that is full in the middle leaves no draft', async () => {
    const file = await tree.prepareLarge('old');
    faults.set('write', { skip: 0, code: 'ENOSPC' });
    await expect(putAt(file, 0, new Uint8Array(100))).rejects.toMatchObject({ error: 'disk_full' });
    await tree.expectUntouched();
  });

  it('its folder can not be flushed: nobody says that it has arrived', async () => {
    const file = await tree.prepareLarge('fresh');
    await putAt(file, 0, new Uint8Array(CHUNK_BYTES));
    await putAt(file, CHUNK_BYTES, new Uint8Array(5));
    // The large file's own flush is the first.
    faults.set('fsync', { skip: 1, code: 'EIO' });
    expect(await errorOf(tree.target.large.commit(file, []))).toBe('transfer_failed');
    await tree.expectUntouched();
  });

  it('what is not whole is not published: chunks that are missing, broke off, or were never there', async () => {
    const file = await tree.prepareLarge('old');
    await putAt(file, CHUNK_BYTES, new Uint8Array(5));
    const broken = new PutSink(tree.target.large, { file, at: 0, to: CHUNK_BYTES, turn: 0 });
    broken.take(new Uint8Array(10));
    expect(() => broken.take(new Uint8Array(CHUNK_BYTES))).toThrow('more bytes than were announced');
    await expect(broken.end()).rejects.toMatchObject({ error: 'invalid_request' });
    for (const [at, to] of [
      [0, 0],
      [5, 9],
      [CHUNK_BYTES, CHUNK_BYTES + 6],
      [2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1],
    ])
      expect(() => new PutSink(tree.target.large, { file, at: at ?? 0, to: to ?? 0, turn: 0 })).toThrow(
        /has no bytes|can not be written from/,
      );
    expect(await errorOf(tree.target.large.commit(file, [[0, 25_000_000]]))).toBe('invalid_request');
    await tree.expectUntouched();
  });

  it(
    verifies('transfers.resume', 'who goes on begins behind the last byte; the connection that broke writes no more'),
    async () => {
      const file = await tree.prepareLarge('fresh', 6);
      const stale = new PutSink(tree.target.large, { file, at: 0, to: 6, turn: 0 });
      stale.take(Buffer.from('old'));
      expect(tree.target.large.resume(file, 0)).toEqual({ at: 3, turn: 1 });
      expect(() => stale.take(Buffer.from('old'))).toThrow('another connection');
      const fresh = new PutSink(tree.target.large, { file, at: 3, to: 6, turn: 1 });
      // One that left before it was asked where to go on, and comes late, takes nothing from it.
      expect(() => new PutSink(tree.target.large, { file, at: 0, to: 6, turn: 0 })).toThrow('another connection');
      fresh.take(Buffer.from('n'));
      expect(() => stale.take(Buffer.from('old'))).toThrow('another connection');
      fresh.take(Buffer.from('ew'));
      await fresh.end();
      await expect(stale.end()).rejects.toMatchObject({ error: 'invalid_request' });
      expect(tree.target.large.resume(file, 0)).toEqual({ at: 6, turn: 2 });
      // A commit whose answer was lost is asked for again.
      const answers = await Promise.all([tree.target.large.commit(file, []), tree.target.large.commit(file, [])]);
      expect(answers).toEqual([{}, {}]);
      expect(fs.readFileSync(join(tree.home, 'tree/fresh'), 'utf8')).toBe('oldnew');
      await tree.expectUntouched();
    },
  );
});

describe('one file by itself', () => {
  const write = (destPath: string | undefined, checksum?: string) => ({
    id: 'ab'.repeat(16),
    place: { ...(destPath === undefined ? {} : { destPath }), ...(checksum === undefined ? {} : { checksum }) },
    limits: {},
    mayWriteRunning: true,
  });
  const begin = async (destPath: string | undefined, checksum?: string) => {
    const key = 'ab'.repeat(16);
    const parts = {
      around: tree.disk.around,
      locks: tree.disk.locks,
      journal: tree.disk.journals.open(key, Date.now()),
    };
    return FileSink.begin(parts, write(destPath, checksum), () => tree.disk.journals.close(key, 'none'));
  };

  it(verifies('transfers.checksum', 'its checksum is that of its bytes; another one is refused'), async () => {
    const sha = '2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae';
    const sink = await begin('~/tree/old', 'a'.repeat(64));
    sink.take(Buffer.from('foo'));
    await expect(sink.end({})).rejects.toMatchObject({ error: 'checksum_mismatch' });
    expect(fs.readFileSync(join(tree.home, 'tree/old'), 'utf8')).toBe('old');
    const second = await begin(undefined);
    second.take(Buffer.from('foo'));
    expect(await second.end({ destPath: '~/tree/foo', checksum: sha })).toEqual({
      path: join(tree.home, 'tree/foo'),
      size: 3,
      checksum: sha,
    });
    await tree.expectUntouched();
  });

  it.each(['fsync', 'rename', 'write', 'futimes'])(
    verifies('transfers.atomic', '%s fails: the old file stays'),
    async (call) => {
      const sink = await begin('~/tree/old');
      faults.set(call, { skip: 0, code: 'EIO' });
      const work = async (): Promise<unknown> => {
        sink.take(Buffer.from('foo'));
        return sink.end({});
      };
      await expect(work()).rejects.toMatchObject({ error: 'transfer_failed' });
      sink.abort();
      await turns();
      await tree.expectUntouched();
    },
  );

  it('a place that can not be, one that is said late, and none, leave nothing', async () => {
    for (const dest of ['~/tree', '~/no/x', '~/tree/', '/etc/x', '~/tree/old/x', '~/.ssh/x', '~/tree/a\0b'])
      expect(await errorOf(begin(dest)), dest).toMatch(/wrong_type|file_not_found|path_denied/);
    for (const value of [{}, { destPath: '~/tree' }, { destPath: '/etc/x' }, undefined]) {
      const sink = await begin(undefined);
      sink.take(Buffer.from('foo'));
      expect(await errorOf(sink.end(value))).toMatch(/invalid_request|wrong_type|path_denied/);
    }
    await tree.expectUntouched();
  });

  it(verifies('transfers.atomic', 'a pipe, or what else is no file, stays where it is'), async ({ skip }) => {
    skip(process.platform === 'win32', 'Windows has no pipes among its files');
    const pipe = join(tree.home, 'tree/pipe');
    execFileSync('mkfifo', [pipe]);
    expect(await errorOf(begin('~/tree/pipe'))).toBe('wrong_type');
    const sink = await begin(undefined);
    sink.take(Buffer.from('foo'));
    expect(await errorOf(sink.end({ destPath: '~/tree/pipe' }))).toBe('wrong_type');
    expect(fs.lstatSync(pipe).isFIFO()).toBe(true);
    await tree.expectUntouched();
  });

  it('too many bytes are refused while they come', async () => {
    tree.disk = { ...tree.disk, around: { ...tree.disk.around, maxFileSize: 5 } };
    const sink = await begin('~/tree/old');
    expect(() => sink.take(Buffer.from('123456'))).toThrow('has more than 5 bytes');
    sink.abort();
    await turns();
    await tree.expectUntouched();
  });
});
