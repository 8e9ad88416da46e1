import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';

import { BatchSink } from '../../../../src/daemon/transfers/disk/batch-sink.ts';
import { ENTRY } from '../../../../src/daemon/transfers/format.ts';
import { mountSmallDisk } from '../../../helpers/small-disk.ts';
import { verifies } from '../../../requirements.ts';
import { faults } from './failing-fs.ts';
import { useFaultTree } from './faults-setup.ts';
import {
  batchOf,
  closeTarget,
  diskIn,
  draftsIn,
  errorOf,
  MTIME_MS,
  targetAt,
  turns,
  whys,
  writeFiles,
} from './setup.ts';

vi.mock('node:fs', async (original) => (await import('./failing-fs.ts')).failingFs(await original<typeof fs>()));

const tree = useFaultTree();

const openFiles = (): number => fs.readdirSync('/proc/self/fd').length;

describe('small files', () => {
  it.each([
    ['fsync', 'EIO', 'transfer_failed'],
    ['rename', 'EIO', 'transfer_failed'],
    ['write', 'ENOSPC', 'disk_full'],
    ['write', 'EIO', 'transfer_failed'],
    ['write', 'EDQUOT', 'disk_full'],
    ['futimes', 'EINVAL', 'name_unusable'],
    ['fsync', 'ENOSPC', 'disk_full'],
  ])(
    verifies('transfers.atomic', '%s fails with %s: the old file stays, nothing is left'),
    async (call, code, error) => {
      faults.set(call, { skip: 0, code });
      const taken = await writeFiles(tree.target, [
        ['old', 'new'],
        ['fresh', 'new'],
      ]);
      expect(taken.done).toBe(0);
      expect(whys(taken.failed).toSorted()).toEqual([`tree/fresh ${error}`, `tree/old ${error}`]);
      expect(fs.existsSync(join(tree.home, 'tree/fresh'))).toBe(false);
      await tree.expectUntouched();
    },
  );

  it('one in the middle fails: the others arrive', async () => {
    faults.set('write', { skip: 1, code: 'EIO' });
    const broken = writeFiles(tree.target, [
      ['a', '1'],
      ['b', '2'],
      ['c', { error: 'source_changed' }],
    ]);
    expect(await broken).toMatchObject({ done: 1 });
    expect((await broken).failed.map(([path]) => path)).toEqual(['tree/b', 'tree/c']);
    expect(fs.readdirSync(join(tree.home, 'tree')).toSorted()).toEqual(['a', 'old']);
    await tree.expectUntouched();
  });

  it('the folder can not be flushed: nobody says that the file has arrived', async () => {
    // The file's own flush works, its folder's does not.
    faults.set('fsync', { skip: 1, code: 'EIO' });
    const taken = await writeFiles(tree.target, [['fresh', 'new']]);
    expect([taken.done, whys(taken.failed)]).toEqual([0, ['tree/fresh transfer_failed']]);
    await tree.expectUntouched();
  });

  it(verifies('transfers.atomic', 'short writes lose nothing'), async () => {
    faults.set('short', { skip: 0, code: '' });
    const bytes = 'x'.repeat(1000);
    expect(await writeFiles(tree.target, [['long', bytes]])).toMatchObject({ done: 1 });
    expect(fs.readFileSync(join(tree.home, 'tree/long'), 'utf8')).toBe(bytes);
    await tree.expectUntouched();
  });

  it('a batch that breaks off, is malformed or lies about sizes leaves nothing', async () => {
    const { bytes } = batchOf([
      ['old', 'new!'],
      ['b', 'more'],
    ]);
    for (const cut of [0, 3, 10, bytes.length - 20, bytes.length - 1]) {
      const sink = new BatchSink(tree.target);
      sink.take(bytes.subarray(0, cut));
      if (cut % 2 === 0) sink.abort();
      else expect(await errorOf(sink.end())).toBe('invalid_request');
    }
    const liar = Buffer.from(bytes);
    const at = bytes.indexOf('new!') - 4;
    liar.writeUInt32BE(3, at);
    expect(await errorOf(writeRaw(liar))).toMatch(/invalid_request|none/);
    liar.writeUInt32BE(0xffff_ffff, at);
    expect(await errorOf(writeRaw(liar))).toBe('invalid_request');
    await tree.expectUntouched();
  });

  it(verifies('transfers.busy', 'the same batch again takes over from the one whose connection broke'), async () => {
    const { bytes } = batchOf([
      ['old', 'one'],
      ['b', 'two'],
    ]);
    const first = new BatchSink(tree.target);
    first.take(bytes.subarray(0, bytes.length - 3));
    expect(await writeRaw(bytes)).toMatchObject({ done: 2, failed: [] });
    expect(() => first.take(bytes.subarray(bytes.length - 3))).toThrow('over');
    // Its end was under way.
    const third = new BatchSink(tree.target);
    third.take(bytes);
    const ending = third.end();
    const fourth = new BatchSink(tree.target);
    for (const byte of bytes) fourth.take(Uint8Array.of(byte));
    expect([await ending, await fourth.end()]).toMatchObject([
      { done: 2, failed: [] },
      { done: 2, failed: [] },
    ]);
    expect(fs.readFileSync(join(tree.home, 'tree/old'), 'utf8')).toBe('one');
    expect([draftsIn(tree.home), tree.disk.locks.isFree, tree.target.batches.size]).toEqual([[], true, 0]);
    await closeTarget(tree.disk, tree.target);
  });

  it(verifies('transfers.busy', 'two transfers never write one file'), async () => {
    const file = await tree.prepareLarge('old');
    const other = await tree.open();
    expect(whys((await writeFiles(other, [['old', 'x']])).failed)).toEqual(['tree/old target_busy']);
    expect(await errorOf(other.prepare([0, 'old', 5e6, MTIME_MS, 0o644]))).toBe('target_busy');
    tree.target.large.drop(file);
    await closeTarget(tree.disk, other);
    await tree.expectUntouched();
  });

  it('what comes in the way meanwhile is not replaced by another kind', async () => {
    const sink = new BatchSink(tree.target);
    const { bytes } = batchOf([['spot', 'x']]);
    sink.take(bytes);
    fs.mkdirSync(join(tree.home, 'tree/spot'));
    const taken = await sink.end();
    expect(whys(taken.failed)).toEqual(['tree/spot wrong_type']);
    fs.writeFileSync(join(tree.home, 'tree/file'), '');
    const { failed } = await tree.target.plan([
      [ENTRY.folder, 0, 'file', 0, 1, 0o755],
      [ENTRY.file, 0, 'spot', 0, 1, 0o644],
      [ENTRY.link, 0, 'spot', 0, 1, 0o777, 'x'],
      // Said with the folder that it is in.
      [ENTRY.file, 0, 'file/below', 0, 1, 0o644],
      [ENTRY.file, 0, 'no/parent', 0, 1, 0o644],
    ]);
    expect(whys(failed)).toEqual([
      'tree/file wrong_type',
      'tree/spot wrong_type',
      'tree/spot wrong_type',
      'tree/no/parent file_not_found',
    ]);
    await tree.expectUntouched();
  });

  it('a closed target leaves no lock, no draft, no open file, whatever still comes', async () => {
    const before = openFiles();
    for (let round = 0; round < 5; round += 1) {
      const one = await tree.open();
      const sink = new BatchSink(one);
      sink.take(
        batchOf([
          ['old', 'x'],
          ['y', 'z'],
        ]).bytes.subarray(0, 90),
      );
      const opening = one.prepare([0, 'large', 5e6, MTIME_MS, 0o644]);
      const closing = one.close();
      expect(() => sink.take(Buffer.of(1))).toThrow('over');
      await Promise.allSettled([opening, closing]);
    }
    await turns();
    expect(openFiles()).toBeLessThanOrEqual(before + 1);
    expect(tree.disk.locks.isFree).toBe(true);
  });
});

const writeRaw = async (bytes: Uint8Array) => {
  const sink = new BatchSink(tree.target);
  try {
    sink.take(bytes);
    return await sink.end();
  } catch (thrown) {
    sink.abort();
    throw thrown;
  }
};

describe('a disk', () => {
  it(
    verifies('transfers.atomic', 'that is nearly full: what fits arrives, the rest says so, nothing is left'),
    async (context) => {
      const small = await mountSmallDisk(512);
      if (small === undefined) return context.skip('needs root, to mount a disk');
      const folder = fs.realpathSync(small.folder);
      tree.disk = diskIn(tree.home, { rules: { allowed: ['~', folder] } });
      const full = await targetAt(tree.disk, folder, { roots: [{ name: 'x', type: 'directory' }] });
      await full.plan([[ENTRY.folder, 0, '', 0, 1, 0o755]]);
      const plan = await full.plan([
        [ENTRY.file, 0, 'big', 10e6, 1, 0o644],
        [ENTRY.file, 0, 'a', 400_000, 1, 0o644],
        [ENTRY.file, 0, 'b', 400_000, 1, 0o644],
      ]);
      expect(whys(plan.failed)).toEqual(['x/big disk_full', 'x/b disk_full']);
      const bytes = Buffer.alloc(200_000, 1);
      const taken = await writeFiles(full, [
        ['1', bytes],
        ['2', bytes],
        ['3', bytes],
        ['4', 'tiny'],
      ]);
      expect(whys(taken.failed)).toEqual(['x/3 disk_full']);
      expect(fs.readdirSync(join(folder, 'x')).toSorted()).toEqual(['1', '2', '4']);
      await closeTarget(tree.disk, full);
    },
  );

  it('that is read-only, and a file that nobody may change', async (context) => {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) return context.skip('needs root, to mount a disk');
    const folder = join(tree.home, 'ro');
    fs.mkdirSync(folder);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro,size=64k', 'tmpfs', folder]);
    try {
      const sealed = await targetAt(tree.disk, folder, { roots: [{ name: 'x', type: 'file' }] });
      expect(whys((await writeFiles(sealed, [['', 'x']])).failed)).toEqual(['x disk_read_only']);
      await closeTarget(tree.disk, sealed);
    } finally {
      execFileSync('umount', ['-l', folder]);
    }
    try {
      execFileSync('chattr', ['+i', join(tree.home, 'tree/old')], { stdio: 'ignore' });
    } catch {
      return context.skip('this file system has no immutable files');
    }
    try {
      expect(whys((await writeFiles(tree.target, [['old', 'x']])).failed)).toEqual(['tree/old path_denied']);
      expect(draftsIn(tree.home)).toEqual([]);
    } finally {
      execFileSync('chattr', ['-i', join(tree.home, 'tree/old')]);
    }
    await tree.expectUntouched();
  });

  it('where this user may not write says so for each file', async (context) => {
    if (process.getuid?.() !== 0) return context.skip('needs root, to be somebody else for a moment');
    fs.chmodSync(join(tree.home, '..'), 0o755);
    fs.chownSync(tree.disk.around.journalDir, 65_534, 65_534);
    for (const name of fs.readdirSync(tree.disk.around.journalDir))
      fs.chownSync(join(tree.disk.around.journalDir, name), 65_534, 65_534);
    process.setegid?.(65_534);
    process.seteuid?.(65_534);
    let failed;
    try {
      ({ failed } = await writeFiles(tree.target, [
        ['old', 'x'],
        ['new', 'y'],
      ]));
    } finally {
      process.seteuid?.(0);
      process.setegid?.(0);
    }
    expect(whys(failed)).toEqual(['tree/old path_denied', 'tree/new path_denied']);
    await tree.expectUntouched();
  });
});
