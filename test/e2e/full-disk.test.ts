import { expect, it, vi } from 'vitest';

import { Machine } from '../helpers/nodes.ts';
import { mountSmallDisk } from '../helpers/small-disk.ts';
import { verifies } from '../requirements.ts';

it(
  verifies('store.full-disk-deletes', 'a node whose disk is full is stopped and started; it reads and deletes'),
  { timeout: 60_000 },
  async ({ skip, onTestFinished }) => {
    const disk = await mountSmallDisk(16 * 1024);
    if (disk === undefined) return skip('a small disk can be mounted by root on Linux alone');
    vi.stubEnv('TMPDIR', disk.folder);
    const machine = await Machine.create('full').finally(() => vi.unstubAllEnvs());
    onTestFinished(() => machine.remove());
    for (const key of ['a', 'b', 'c']) await machine.run(['context', 'set', key, `of ${key}`]);
    await disk.fill();
    // The audit log has lines that wait for room from now on.
    expect((await machine.run(['context', 'get', 'a'])).stdout).toBe('of a');
    expect(await machine.run(['restart'])).toMatchObject({ code: 0, stderr: '' });
    expect((await machine.run(['context', 'get', 'a'])).stdout).toBe('of a');
    expect(await machine.run(['context', 'delete', 'a'])).toMatchObject({ code: 0, stderr: '' });
    const added = await machine.run(['key', 'add', 'ci']);
    expect(added).toMatchObject({ code: 1, stderr: expect.stringContaining('nothing was changed in its keys') });
    expect(added.stderr).toContain('make room');
    await disk.free();
    expect((await machine.run(['key', 'add', 'ci'])).code).toBe(0);
  },
);
