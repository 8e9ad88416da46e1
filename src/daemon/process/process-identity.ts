import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';

import { isThere } from './kill-tree.ts';
import { readRow } from './process-table.ts';

/** The system says it in whole seconds. */
const START_TOLERANCE_MS = 2_000;

/** A process as a record names it: an id alone may belong to another process by now. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Wall time in ms. */
  readonly startedAt: number;
  /** Linux: the boot and the start within it. */
  readonly token?: string | undefined;
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
  return startedAt !== undefined && Math.abs(startedAt - identity.startedAt) <= START_TOLERANCE_MS;
};

/** True where the process that the record means has provably ended, or is a zombie. In doubt: false. */
export const isGone = async (identity: ProcessIdentity, platform: NodeJS.Platform): Promise<boolean> => {
  const { pid, startedAt, token } = identity;
  if (!isThere(pid)) return true;
  if (platform === 'win32') return false;
  if (platform === 'linux') return isGoneHere(pid, token);
  const foundAt = await askStart(pid);
  return foundAt !== undefined && Math.abs(foundAt - startedAt) > START_TOLERANCE_MS;
};

const isGoneHere = (pid: number, token: string | undefined): boolean => {
  try {
    const row = readRow(pid);
    return row !== undefined && (row.isZombie || (token !== undefined && `${bootId()}:${row.token}` !== token));
  } catch {
    return false; // out of files, say
  }
};

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
