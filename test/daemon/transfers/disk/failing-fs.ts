import type * as fs from 'node:fs';

type Fs = typeof fs;

/** System calls that a test makes fail: after how many of them, and with which error. `short`: writes take a part. */
export const faults = new Map<string, { skip: number; code: string }>();

/** What happens right before a system call, once. */
export const meanwhile = new Map<string, () => void>();

const fail = (name: string): void => {
  const happens = meanwhile.get(name);
  meanwhile.delete(name);
  happens?.();
  const fault = faults.get(name);
  if (fault === undefined) return;
  fault.skip -= 1;
  if (fault.skip < 0) throw Object.assign(new Error(fault.code), { code: fault.code });
};

const wrap = <Call extends (...given: never[]) => unknown>(name: string, call: Call): Call =>
  ((...given: never[]) => {
    fail(name);
    return call(...given);
  }) as Call;

type Place = readonly [from?: number, length?: number, at?: number | null];

/** What stands for `node:fs` in a test of faults. */
export const failingFs = (real: Fs): Fs => ({
  ...real,
  fsyncSync: wrap('fsync', real.fsyncSync),
  unlinkSync: wrap('unlink', real.unlinkSync),
  renameSync: wrap('rename', real.renameSync),
  linkSync: wrap('link', real.linkSync),
  symlinkSync: wrap('symlink', real.symlinkSync),
  futimesSync: wrap('futimes', real.futimesSync),
  fchmodSync: wrap('fchmod', real.fchmodSync),
  writeSync: wrap('write', (fd: number, bytes: Uint8Array, ...[from = 0, length = bytes.length, at]: Place) =>
    real.writeSync(fd, bytes, from, faults.has('short') ? Math.min(3, length) : length, at),
  ) as Fs['writeSync'],
  fsync: Object.assign(
    (fd: number, done: (error: Error | null) => void) => {
      try {
        fail('fsync');
        real.fsync(fd, done);
      } catch (thrown) {
        setImmediate(() => done(thrown as Error));
      }
    },
    { __promisify__: real.fsync.__promisify__ },
  ),
});
