import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';

import { readRow } from './process-table.ts';

/** A process as a record names it: an id alone may belong to another process by now. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Wall time in ms. */
  readonly startedAt: number;
  /** Linux: the boot and the start within it. */
  readonly token?: string;
}

/** What tells a living process from a later one with the same id; undefined where the platform gives nothing exact. */
export const readToken = (pid: number): string | undefined => {
  const row = readRow(pid);
  return row === undefined ? undefined : `${bootId()}:${row.token}`;
};

let boot: string | undefined;
const bootId = (): string => (boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim());

/** True where the process that the record means provably still lives. In doubt: false. */
export const isSameProcess = async (identity: ProcessIdentity, platform: NodeJS.Platform): Promise<boolean> => {
  if (platform === 'linux') return identity.token !== undefined && readToken(identity.pid) === identity.token;
  if (platform === 'win32') return false;
  const startedAt = await askStart(identity.pid);
  return startedAt !== undefined && Math.abs(startedAt - identity.startedAt) <= 2_000;
};

/** As `isSameProcess`, and it is more than a zombie, dead and not yet collected by its parent. */
export const isRunning = async (identity: ProcessIdentity, platform: NodeJS.Platform): Promise<boolean> =>
  (await isSameProcess(identity, platform)) && (platform !== 'linux' || readRow(identity.pid)?.isZombie === false);

const askStart = (pid: number): Promise<number | undefined> =>
  new Promise((resolve) => {
    execFile(
      'ps',
      ['-o', 'lstart=', '-p', String(pid)],
      { env: { LC_ALL: 'C', PATH: '/bin:/usr/bin' } },
      (error, text) => {
        const at = Date.parse(text.trim());
        resolve(error !== null || Number.isNaN(at) ? undefined : at);
      },
    );
  });
