import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { userInfo, tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePort } from '../../test/helpers/nodes.ts';

/** A Debian sshd on loopback with keys of its own: what a command is compared with. */
export interface Sshd {
  /** Arguments of `ssh` that lead to it. */
  readonly args: readonly string[];
  stop(): Promise<void>;
}

const PROGRAM = '/usr/sbin/sshd';

/** Why nothing can be compared with ssh here. */
export const NO_SSHD = `there is no ${PROGRAM} here: install the Debian package openssh-server`;

/** @returns undefined where there is no sshd. */
export const startSshd = async (): Promise<Sshd | undefined> => {
  if (!existsSync(PROGRAM)) return undefined;
  const dir = await mkdtemp(join(tmpdir(), 'loopsy-sshd-'));
  const file = (name: string): string => join(dir, name);
  for (const name of ['host', 'user']) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file(name)]);
  execFileSync('cp', [file('user.pub'), file('authorized_keys')]);
  if (process.getuid?.() === 0) execFileSync('mkdir', ['-p', '/run/sshd']);
  const port = await freePort();
  const config = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${file('host')}`,
    `AuthorizedKeysFile ${file('authorized_keys')}`,
    `PidFile ${file('pid')}`,
    'StrictModes no',
    'PasswordAuthentication no',
    'UsePAM no',
    'PermitRootLogin prohibit-password',
    'MaxStartups 100',
    'Subsystem sftp internal-sftp',
  ];
  await writeFile(file('config'), `${config.join('\n')}\n`);
  const child: ChildProcess = spawn(PROGRAM, ['-D', '-e', '-f', file('config')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await new Promise<void>((resolve) => {
    child.stderr?.on('data', (text: Buffer) => (text.includes('listening') ? resolve() : undefined));
    child.once('close', () => resolve());
  });
  const options = [
    '-p',
    String(port),
    '-i',
    file('user'),
    '-F',
    'none',
    '-o',
    'StrictHostKeyChecking=no',
    '-o',
    'UserKnownHostsFile=/dev/null',
    '-o',
    'LogLevel=ERROR',
    '-o',
    'BatchMode=yes',
  ];
  return {
    args: [...options, `${userInfo().username}@127.0.0.1`],
    stop: async () => {
      child.kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
};
