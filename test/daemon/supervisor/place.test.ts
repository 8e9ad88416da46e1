import { chmod, mkdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { secureSocketFolder, socketPath } from '../../../src/daemon/supervisor/place.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';

const id = '0123456789abcdef';

describe('the socket of a supervisor', () => {
  it('lies in its folder, or where that path is too long in a private one with a short name', () => {
    const at = (dir: string, platform: NodeJS.Platform, tmp = '/tmp'): string => socketPath({ dir, id, platform, tmp });
    expect(at('/home/kai/.loopsy/supervisors', 'linux')).toBe(`/home/kai/.loopsy/supervisors/${id}.sock`);
    const long = `/home/${'k'.repeat(90)}/.loopsy/supervisors`;
    const tmp = '/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T';
    expect(at(long, 'darwin', tmp)).toMatch(new RegExp(`^${tmp}/loopsy-[0-9a-f]{16}/${id}\\.sock$`));
    expect(at(long, 'darwin', tmp).length).toBeLessThan(104);
    expect(at(`${long}2`, 'linux')).not.toBe(at(long, 'linux'));
    expect(at('C:\\Users\\Kai\\.loopsy\\supervisors', 'win32')).toMatch(
      /^\\\\\.\\pipe\\loopsy-[0-9a-f]{16}-0123456789abcdef$/,
    );
  });

  it('attack: a folder of that name that is a link, or somebody else’s, is not used', async ({ skip }) => {
    if (process.platform === 'win32') return skip('pipes lie in no folder');
    const folder = await tempFolder();
    const uid = process.getuid?.() ?? 0;
    await secureSocketFolder(join(folder, 'new', 'x.sock'), uid);
    expect((await stat(join(folder, 'new'))).mode & 0o777).toBe(0o700);
    await mkdir(join(folder, 'open'));
    await chmod(join(folder, 'open'), 0o777);
    await secureSocketFolder(join(folder, 'open', 'x.sock'), uid);
    expect((await stat(join(folder, 'open'))).mode & 0o777).toBe(0o700);
    await symlink(join(folder, 'new'), join(folder, 'link'));
    await expect(secureSocketFolder(join(folder, 'link', 'x.sock'), uid)).rejects.toThrow('belongs to somebody else');
    await expect(secureSocketFolder(join(folder, 'new', 'x.sock'), uid + 1)).rejects.toThrow(
      'belongs to somebody else',
    );
  });
});
