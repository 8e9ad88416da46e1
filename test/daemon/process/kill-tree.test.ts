import { spawn } from 'node:child_process';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterEach, describe, expect, it } from 'vitest';

import { signalTree, treeLives } from '../../../src/daemon/process/kill-tree.ts';
import { isGone, isSameProcess, readToken } from '../../../src/daemon/process/process-identity.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { lives, until } from '../jobs/setup.ts';
import { verifies } from '../../requirements.ts';

const PATH = process.env['PATH'] ?? '';

const sleeper = (): number => spawn('sh', ['-c', 'sleep 60 & sleep 60'], { detached: true, stdio: 'ignore' }).pid ?? 0;

describe('the signals of a tree', () => {
  afterEach(() => {
    process.env['PATH'] = PATH;
  });

  it('reach the whole group, and say when nothing is left of it', async () => {
    const pid = sleeper();
    expect(treeLives(pid, 'linux')).toBe(true);
    expect(signalTree(pid, 'SIGKILL', 'linux')).toBe(true);
    await until(() => !lives(pid));
    expect(signalTree(2 ** 22 + 1, 'SIGTERM', 'linux')).toBe(false);
  });

  it(verifies('platform.windows-tree', 'are taskkill /T /F on Windows, whichever signal it is'), async () => {
    const folder = await tempFolder();
    await writeFile(
      join(folder, 'taskkill'),
      `#!/bin/sh\necho "$@" > ${folder}/words.tmp; mv ${folder}/words.tmp ${folder}/words\n`,
    );
    await chmod(join(folder, 'taskkill'), 0o755);
    process.env['PATH'] = `${folder}:${PATH}`;
    expect(signalTree(4242, 'SIGINT', 'win32')).toBe(true);
    let words = '';
    await until(async () => (words = await readFile(join(folder, 'words'), 'utf8').catch(() => '')) !== '');
    expect(words).toBe('/PID 4242 /T /F\n');
  });

  it.each([
    ['is missing', undefined],
    ['fails', 'exit 1'],
  ])('end at least the main process on Windows where taskkill %s', async (_, script) => {
    const pid = sleeper();
    const folder = await tempFolder();
    if (script !== undefined) await writeFile(join(folder, 'taskkill'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    process.env['PATH'] = folder;
    signalTree(pid, 'SIGTERM', 'win32');
    await until(() => !lives(pid));
    signalTree(pid, 'SIGKILL', 'linux');
  });
});

describe('which process it is', () => {
  it('is told by its boot and start on Linux, by its start elsewhere; on Windows nothing is sure', async () => {
    const pid = sleeper();
    const startedAt = Date.now();
    const token = readToken(pid);
    if (process.platform === 'linux' && token !== undefined) {
      expect(await isSameProcess({ pid, startedAt, token }, 'linux')).toBe(true);
      expect(await isSameProcess({ pid, startedAt, token: `${token}0` }, 'linux')).toBe(false);
      expect(await isSameProcess({ pid, startedAt }, 'linux')).toBe(false);
    }
    expect(await isSameProcess({ pid, startedAt: startedAt - 60_000 }, 'darwin')).toBe(false);
    expect(await isSameProcess({ pid: 2 ** 22 + 1, startedAt }, 'darwin')).toBe(false);
    expect(await isSameProcess({ pid, startedAt }, 'win32')).toBe(false);
    signalTree(pid, 'SIGKILL', 'linux');
  });

  it('is said to be gone where that is proven alone', async () => {
    const pid = sleeper();
    const startedAt = Date.now();
    const token = readToken(pid);
    expect(await isGone({ pid, startedAt, token: undefined }, 'linux')).toBe(false);
    if (process.platform === 'linux' && token !== undefined) {
      expect(await isGone({ pid, startedAt, token }, 'linux')).toBe(false);
      expect(await isGone({ pid, startedAt, token: `${token}0` }, 'linux')).toBe(true);
    }
    expect(await isGone({ pid, startedAt }, 'darwin')).toBe(false);
    expect(await isGone({ pid, startedAt: 1 }, 'win32')).toBe(false);
    for (const platform of ['linux', 'darwin', 'win32'] as const)
      expect(await isGone({ pid: 2 ** 22 + 1, startedAt }, platform)).toBe(true);
    signalTree(pid, 'SIGKILL', 'linux');
  });
});
