import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { acquireLock } from '../../src/store/lock.ts';
import { tempFolder } from '../helpers/temp-folder.ts';

describe('a lock', () => {
  it('is held once, until it is released', async () => {
    const file = join(await tempFolder(), 'node.lock');
    const lock = acquireLock(file);
    expect(lock).toBeDefined();
    expect(acquireLock(file)).toBeUndefined();
    expect(acquireLock(file)).toBeUndefined();
    lock?.release();
    const next = acquireLock(file);
    expect(next).toBeDefined();
    next?.release();
  });

  it('writes nothing', async () => {
    const folder = await tempFolder();
    const lock = acquireLock(join(folder, 'node.lock'));
    expect(await readdir(folder)).toEqual(['node.lock']);
    expect((await stat(join(folder, 'node.lock'))).size).toBe(0);
    lock?.release();
  });

  it('says what to do where its file is something else', async () => {
    const file = join(await tempFolder(), 'node.lock');
    await writeFile(file, '12345\n'.repeat(200));
    expect(() => acquireLock(file)).toThrow(`can't lock ${file}`);
  });
});
