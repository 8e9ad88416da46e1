import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod } from 'node:fs/promises';

import { describe, expect, it, onTestFinished } from 'vitest';

import { CLI, environment, finished, type Finished, Machine } from '../helpers/nodes.ts';
import { verifies } from '../requirements.ts';

const NOBODY = 65_534;
const NOT_ROOT = process.platform === 'win32' || process.getuid?.() !== 0 ? 'needs root, to be two users' : undefined;

const machineOf = async (name: string, start = false): Promise<Machine> => {
  const machine = await Machine.create(name, { start });
  onTestFinished(() => machine.remove());
  return machine;
};

describe('a data folder of another user', () => {
  it(verifies('fault.foreign-folder', 'is not run by root, who is told whose it is'), async ({ skip }) => {
    skip(NOT_ROOT !== undefined, NOT_ROOT);
    const machine = await machineOf('theirs');
    execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, machine.path()]);
    for (const command of [['start'], ['start', '--foreground'], ['up'], ['init', '--no-mcp']]) {
      const refused = await machine.run(command);
      expect([command, refused.code, refused.stdout]).toEqual([command, 1, '']);
      expect(refused.stderr).toBe(
        `loopsy: ${machine.path()} belongs to nobody\n  run it as nobody, or name another folder with --data-dir\n`,
      );
    }
    expect(existsSync(machine.path('node.json'))).toBe(false);
    const { code, stdout } = await machine.run(['doctor']);
    expect([code, stdout]).toEqual([1, expect.stringContaining(`✗ files: ${machine.path()} belongs to nobody`)]);
  });

  it(
    verifies('fault.foreign-folder', 'is named as what keeps a command from it, with the way on'),
    async ({ skip }) => {
      skip(NOT_ROOT !== undefined, NOT_ROOT);
      const machine = await machineOf('mine', true);
      await chmod(machine.home, 0o755);
      const asNobody = (...args: string[]): Promise<Finished> =>
        finished(
          spawn(process.execPath, [CLI, ...args], {
            uid: NOBODY,
            gid: NOBODY,
            env: environment(machine.home),
            cwd: '/',
            stdio: ['ignore', 'pipe', 'pipe'],
          }),
        );
      const says = `${machine.path()} belongs to root`;
      for (const command of ['status', 'start', 'up', 'init', 'peers', 'doctor', 'logs', 'stop']) {
        const { code, stdout, stderr } = await asNobody(command);
        expect([command, code]).toEqual([command, 1]);
        expect(`${stdout}${stderr}`).toContain(says);
        expect(`${stdout}${stderr}`).not.toContain('mistake in loopsy');
      }
      const { stdout } = await asNobody('status', '--json');
      expect(JSON.parse(stdout)).toMatchObject({ error: { name: 'data_folder', message: says } });
    },
  );

  it(
    verifies('fault.foreign-folder', 'or a file in it that an earlier start as root left, is named by the node'),
    async ({ skip }) => {
      skip(NOT_ROOT !== undefined, NOT_ROOT);
      const machine = await machineOf('left');
      expect((await machine.run(['init', '--no-mcp'])).code).toBe(0);
      execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, machine.home]);
      execFileSync('chown', ['0:0', machine.path('tls', 'key.pem')]);
      const { code, stderr } = await finished(
        spawn(process.execPath, [CLI, 'start'], {
          uid: NOBODY,
          gid: NOBODY,
          env: environment(machine.home),
          cwd: '/',
          stdio: ['ignore', 'pipe', 'pipe'],
        }),
      );
      expect([code, stderr]).toEqual([1, expect.stringContaining(`${machine.path('tls', 'key.pem')} belongs to root`)]);
    },
  );
});
