import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { diskFault } from '../../src/config/disk-faults.ts';
import { LoopsyError } from '../../src/protocol/errors.ts';
import { tempFolder } from '../helpers/temp-folder.ts';

const fault = (code: string, more: object = {}): Error => Object.assign(new Error(`${code}: x`), { code, ...more });

describe('what the disk refuses', () => {
  it.each([
    ['ENOSPC', 'the disk is full', 'free some space'],
    ['EDQUOT', 'the quota of the disk is used up', 'free some space'],
    ['EROFS', 'the disk can only be read', '--data-dir'],
  ])('%s is one sentence with what to do', (code, message, hint) => {
    expect(diskFault(fault(code, { path: '/data/x' }))).toMatchObject({
      error: 'data_folder',
      exit: 1,
      message: `/data/x: ${message}`,
      hint: expect.stringContaining(hint),
    });
    expect(diskFault(fault(code))).toMatchObject({ message });
  });

  it.each(['EACCES', 'EPERM'])('%s names who owns what is in the way', async (code) => {
    const folder = await tempFolder();
    await mkdir(join(folder, 'data'));
    const path = join(folder, 'data', 'config.yaml');
    // Nobody here has that id.
    const found = diskFault(fault(code, { path }), 4_000_000_000);
    const owner = process.getuid?.() === 0 ? 'root' : expect.any(String);
    expect(found?.message).toMatch(/ belongs to \S+/);
    expect(found?.message).toContain(join(folder, 'data'));
    if (typeof owner === 'string') expect(found?.message).toMatch(/ belongs to root$/);
    expect(found?.hint).toContain('--data-dir');
    await writeFile(path, '');
    expect(diskFault(fault(code, { path }), 4_000_000_000)?.message).toContain(`${path} belongs to`);
  });

  it('is its mode, where what is in the way belongs to the user', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'x');
    await writeFile(path, '');
    await chmod(path, 0o400);
    expect(diskFault(fault('EACCES', { path }), process.getuid?.())).toMatchObject({
      message: `${path} may not be read or written`,
      hint: expect.stringContaining('ls -ld'),
    });
  });

  it('is nothing else: no program, no port, no error of ours', () => {
    expect(diskFault(fault('EACCES', { path: '/bin/x', syscall: 'spawn /bin/x' }))).toBeUndefined();
    expect(diskFault(fault('EACCES', { syscall: 'listen', port: 80 }))).toBeUndefined();
    expect(diskFault(fault('ENOENT', { path: '/x' }))).toBeUndefined();
    expect(diskFault(new LoopsyError('conflict'))).toBeUndefined();
    expect(diskFault('odd')).toBeUndefined();
  });
});
