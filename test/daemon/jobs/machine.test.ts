import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { createMachine } from '../../../src/daemon/jobs/machine.ts';
import type { CommandLine } from '../../../src/daemon/process/command-line.ts';
import { systemClock as clock } from '../../../src/kernel/clock.ts';
import { allow } from './setup.ts';
import { tempFolder } from '../../helpers/temp-folder.ts';
import { verifies } from '../../requirements.ts';

/** The library that finds programs looks at the process itself. */
const pretendWindows = (): void => {
  const platform = Object.getOwnPropertyDescriptor(process, 'platform');
  const { PATHEXT, comspec } = process.env;
  Object.defineProperty(process, 'platform', { ...platform, value: 'win32' });
  Object.assign(process.env, { PATHEXT: '.EXE;.CMD', comspec: 'cmd.exe' });
  onTestFinished(() => {
    if (platform !== undefined) Object.defineProperty(process, 'platform', platform);
    for (const [name, value] of Object.entries({ PATHEXT, comspec })) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
};

const machineOf = async (platform: NodeJS.Platform) =>
  createMachine({
    clock,
    platform,
    variables: {},
    settings: () => ({ env: {} }),
    facts: () => ({ host: 'h', nodeId: 'n', user: 'u', home: '/' }),
    loginPath: { value: () => '' },
  });

describe('a command on Windows', () => {
  it(
    verifies('platform.windows-commands', 'is found with PATHEXT, without a shell where it is a program'),
    async () => {
      const folder = await tempFolder();
      for (const name of ['npm.CMD', 'tool.EXE']) {
        await writeFile(join(folder, name), '');
        await chmod(join(folder, name), 0o755);
      }
      pretendWindows();
      const { processes } = await machineOf('win32');
      const lineOf = (file: string, args: string[]): CommandLine | undefined =>
        processes.adapt?.(
          { file, args },
          { command: allow({ command: file, args }), cwd: folder, env: { PATH: folder }, stdin: 'none' },
        );
      expect(lineOf('tool', ['a b', '%X%', '&'])).toEqual({ file: 'tool', args: ['a b', '%X%', '&'], verbatim: false });
      // What only cmd can start is quoted, so that no word becomes a command.
      expect(lineOf('npm', ['a b', '& del'])).toEqual({
        file: 'cmd.exe',
        args: ['/d', '/s', '/c', '"npm ^"a^ b^" ^"^&^ del^""'],
        verbatim: true,
      });
      // cmd has an `echo` and a `del` of its own: what is not found must not become one of them.
      expect(lineOf('echo', ['hi'])).toEqual({ file: 'echo', args: ['hi'] });
    },
  );

  it('is started as it is elsewhere', async () => {
    expect((await machineOf('linux')).processes.adapt).toBeUndefined();
  });
});
