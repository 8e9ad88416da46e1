import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  ensurePrivateDir,
  errorCode,
  makeFolder,
  readTextFile,
  removeStaleDrafts,
  renameFile,
  writeAll,
  writeFileAtomic,
} from '../../src/kernel/atomic-file.ts';
import { bundleFixture } from '../helpers/bundle-fixture.ts';
import { FakeClock } from '../helpers/clock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';

const posix = process.platform !== 'win32';
const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

describe('an atomic write', () => {
  it('makes and replaces a file that its user alone can read, and leaves nothing beside it', async () => {
    const folder = await tempFolder();
    const file = join(folder, 'node.json');
    await writeFileAtomic(file, 'one');
    await chmod(file, 0o644);
    await writeFileAtomic(file, new Uint8Array([0xc3, 0xa4]));
    expect(await readFile(file, 'utf8')).toBe('ä');
    if (posix) expect(await modeOf(file)).toBe(0o600);
    expect(await readdir(folder)).toEqual(['node.json']);
  });

  it('that fails keeps the old file and leaves nothing beside it', async () => {
    const folder = await tempFolder();
    const file = join(folder, 'taken');
    await mkdir(join(file, 'child'), { recursive: true });
    await expect(writeFileAtomic(file, 'new')).rejects.toThrow();
    expect(await readdir(folder)).toEqual(['taken']);
    expect(await readdir(file)).toEqual(['child']);
  });

  it('into a folder that is not there is an error of the system', async () => {
    const file = join(await tempFolder(), 'none', 'x');
    await expect(writeFileAtomic(file, 'x')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('is seen whole or not at all, however often its process is killed', { timeout: 20_000 }, async () => {
    const folder = await tempFolder();
    const file = join(folder, 'state');
    const program = await bundleFixture('test/fixtures/rewriter.ts', folder);
    for (let round = 0; round < 8; round++) {
      const child = spawn(process.execPath, [program, file], { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(child.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, round * 3));
      child.kill('SIGKILL');
      await once(child, 'exit');
      const text = await readFile(file, 'utf8');
      expect(text).toBe((text[0] ?? '').repeat(300_000));
    }
    const inAMinute = new FakeClock(Date.now() + 60_000);
    const drafts = (await readdir(folder)).filter((name) => name.startsWith('.state.'));
    expect(await removeStaleDrafts(folder, (name) => name === 'state', inAMinute)).toBe(drafts.length);
    expect(await readdir(folder)).toEqual(expect.not.arrayContaining(drafts));
    expect(await readFile(file, 'utf8')).toHaveLength(300_000);
  });

  it('writes on where the system takes a part only, and fails where it takes nothing', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 200 }),
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
        async (bytes, parts) => {
          const taken: number[] = [];
          let call = 0;
          const write = async (from: Uint8Array, at: number, length: number) => {
            const bytesWritten = Math.min(length, parts[call++ % parts.length] ?? 1);
            taken.push(...from.subarray(at, at + bytesWritten));
            return { bytesWritten, buffer: from };
          };
          // `write` has many overloads; the one that is used is this.
          await writeAll({ write: write as never }, bytes);
          expect(taken).toEqual([...bytes]);
        },
      ),
    );
    const full = { write: (async () => ({ bytesWritten: 0 })) as never };
    await expect(writeAll(full, new Uint8Array(3))).rejects.toThrow('took 0 of 3 bytes');
  });

  it('on a full disk is an error', async ({ skip }) => {
    skip(process.platform !== 'linux', '/dev/full is of Linux');
    await expect(readFile('/dev/null')).resolves.toHaveLength(0);
    const { open } = await import('node:fs/promises');
    const full = await open('/dev/full', 'w');
    await expect(writeAll(full, new Uint8Array(10))).rejects.toMatchObject({ code: 'ENOSPC' });
    await full.close();
  });
});

describe('drafts that killed writers left', () => {
  it('are removed, and nothing that only looks like them, nor one of a writer that may live', async () => {
    const folder = await tempFolder();
    const now = Date.now();
    const put = async (name: string, ageMs: number): Promise<void> => {
      await writeFile(join(folder, name), 'x');
      const at = new Date(now - ageMs);
      await utimes(join(folder, name), at, at);
    };
    const left = ['.a.json.0123456789ab.tmp', '.a.json.ffffffffffff.tmp'];
    const kept = [
      'a.json',
      '.a.json',
      '.a.json.tmp',
      '.a.json.0123456789a.tmp',
      '.a.json.0123456789abc.tmp',
      '.a.json.0123456789aB.tmp',
      '.a.json.0123456789ab.tmp.bak',
      'a.json.0123456789ab.tmp',
      '.other.0123456789ab.tmp',
    ];
    for (const name of [...left, ...kept]) await put(name, 60_000);
    await put('.a.json.000000000001.tmp', 59_000);
    // The clock was set back: its age can't be told.
    await put('.a.json.000000000002.tmp', -3_600_000);
    await mkdir(join(folder, '.a.json.000000000003.tmp'));
    if (posix) await symlink(join(folder, 'a.json'), join(folder, '.a.json.000000000004.tmp'));
    const before = await readdir(folder);
    expect(await removeStaleDrafts(folder, (name) => name === 'a.json', new FakeClock(now))).toBe(2);
    expect(await readdir(folder)).toEqual(before.filter((name) => !left.includes(name)));
    const old = new FakeClock(now + 600_000);
    expect(await removeStaleDrafts(folder, () => true, old)).toBe(2);
    expect(await readdir(folder)).toEqual(expect.arrayContaining(['.a.json.000000000003.tmp', 'a.json']));
  });

  it('are none where there is no such folder, and an error where it can not be read', async () => {
    const folder = await tempFolder();
    expect(await removeStaleDrafts(join(folder, 'none'), () => true)).toBe(0);
    await writeFile(join(folder, 'file'), '');
    await expect(removeStaleDrafts(join(folder, 'file'), () => true)).rejects.toMatchObject({ code: 'ENOTDIR' });
  });
});

describe('a rename', () => {
  const busy = (times: number) => {
    let calls = 0;
    const rename = async (): Promise<void> => {
      calls += 1;
      if (calls <= times) throw Object.assign(new Error('busy'), { code: calls % 2 === 0 ? 'EBUSY' : 'EPERM' });
    };
    return { rename, calls: () => calls };
  };
  const drive = async (clock: FakeClock, work: Promise<void>): Promise<void> => {
    for (let at = 0; at < 10; at++) {
      await new Promise(setImmediate);
      clock.advance(1000);
    }
    return work;
  };

  it('on Windows waits for a virus scanner', async () => {
    const clock = new FakeClock();
    const { rename, calls } = busy(5);
    await drive(clock, renameFile('a', 'b', { platform: 'win32', clock, rename }));
    expect(calls()).toBe(6);
  });

  it('on Windows gives up in the end', async () => {
    const clock = new FakeClock();
    const { rename, calls } = busy(99);
    const failing = renameFile('a', 'b', { platform: 'win32', clock, rename });
    failing.catch(() => undefined);
    await expect(drive(clock, failing)).rejects.toMatchObject({ message: 'busy' });
    expect(calls()).toBe(8);
  });

  it('elsewhere fails at once', async () => {
    const { rename, calls } = busy(1);
    await expect(renameFile('a', 'b', { platform: 'linux', rename })).rejects.toThrow('busy');
    expect(calls()).toBe(1);
  });
});

describe('a private folder', () => {
  it('is closed to others, with the folders above it that had to be made', async ({ skip }) => {
    skip(!posix, 'Windows has no modes');
    const top = join(await tempFolder(), 'a');
    await ensurePrivateDir(join(top, 'b'));
    expect([await modeOf(top), await modeOf(join(top, 'b'))]).toEqual([0o700, 0o700]);
    await chmod(top, 0o755);
    await ensurePrivateDir(top);
    expect(await modeOf(top)).toBe(0o700);
  });

  it('is never one that all users share', async ({ skip }) => {
    skip(!posix, 'Windows has no modes');
    const shared = await tempFolder();
    await chmod(shared, 0o1777);
    await expect(ensurePrivateDir(shared)).rejects.toThrow('shared by all users');
    expect((await stat(shared)).mode & 0o1777).toBe(0o1777);
  });

  it('is not a file', async () => {
    const file = join(await tempFolder(), 'file');
    await writeFile(file, '');
    await expect(ensurePrivateDir(file)).rejects.toMatchObject({ code: 'EEXIST' });
  });
});

describe('a small text file', () => {
  it('is read, or is not there', async () => {
    const file = join(await tempFolder(), 'x');
    expect(await readTextFile(file)).toBeUndefined();
    await writeFile(file, 'ä');
    expect(await readTextFile(file)).toBe('ä');
  });

  it('is not read where it is large or not text', async () => {
    const file = join(await tempFolder(), 'x');
    await writeFile(file, 'abc');
    await expect(readTextFile(file, 2)).rejects.toThrow('has 3 bytes; at most 2 are read');
    await writeFile(file, new Uint8Array([0xff, 0xfe]));
    await expect(readTextFile(file)).rejects.toThrow();
  });

  it('that can not be read is an error of the system', async () => {
    const error: unknown = await readTextFile(await tempFolder()).catch((caught: unknown) => caught);
    expect(errorCode(error)).toBe('EISDIR');
    expect(errorCode('x')).toBeUndefined();
  });
});

describe('makeFolder', () => {
  it('makes it, and the one above it, but nothing of a tree that was removed as a whole', async () => {
    const root = await tempFolder();
    await makeFolder(join(root, 'jobs', 'one'));
    await makeFolder(join(root, 'jobs', 'one'));
    if (posix) expect(await modeOf(join(root, 'jobs'))).toBe(0o700);
    await expect(makeFolder(join(root, 'gone', 'jobs', 'one'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
