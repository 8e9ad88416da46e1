import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { createLoginPath } from '../../../src/daemon/process/login-path.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { FakeClock } from '../../helpers/clock.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';

const options = async (shell: string | undefined, platform: NodeJS.Platform = 'linux') => ({
  platform,
  shell,
  home: await tempFolder(),
  user: 'kai',
  variables: { PATH: '/own/bin:/usr/bin:/bin' },
  clock: systemClock,
});

const fakeShell = async (script: string): Promise<string> => {
  const file = join(await tempFolder(), 'bash');
  await writeFile(file, `#!/bin/sh\n${script}\n`);
  await chmod(file, 0o755);
  return file;
};

describe('the PATH of the login shell', () => {
  it('is what its profile says, not what the node was given', async () => {
    const given = await options('/bin/bash');
    await writeFile(join(given.home, '.bash_profile'), 'echo noise; export PATH="/from/profile:$PATH"\n');
    const path = createLoginPath(given);
    expect(await path.value()).toMatch(/^\/from\/profile:/);
    expect(typeof path.value()).toBe('string');
  });

  it('is asked for once, however many want it', async () => {
    const log = join(await tempFolder(), 'log');
    const path = createLoginPath(await options(await fakeShell(`echo x >> ${log}; PATH=/fake; eval "$2"`)));
    expect(await Promise.all([path.value(), path.value(), path.value()])).toEqual(['/fake', '/fake', '/fake']);
  });

  it('is the node’s own where the shell fails, says nothing, is missing, or is none that is known', async () => {
    for (const shell of [
      await fakeShell('exit 1'),
      await fakeShell('echo hello'),
      '/no/such/bash',
      '/bin/false',
      undefined,
    ]) {
      expect(await createLoginPath(await options(shell)).value()).toBe('/own/bin:/usr/bin:/bin');
    }
  });

  it('is the node’s own where the shell takes longer than 5 s, and the shell is ended', async () => {
    const clock = new FakeClock();
    const path = createLoginPath({ ...(await options(await fakeShell('sleep 60'))), clock });
    const value = path.value();
    clock.advance(5_001);
    expect(await value).toBe('/own/bin:/usr/bin:/bin');
  });

  it('is the node’s own on Windows, whatever the case of its name', async () => {
    const given = { ...(await options('C:\\sh.exe', 'win32')), variables: { Path: 'C:\\bin' } };
    expect(createLoginPath(given).value()).toBe('C:\\bin');
  });
});
