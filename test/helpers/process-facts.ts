import { existsSync } from 'node:fs';
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises';

/** Waits until a check holds; real processes have no fake clock. @returns the ms that it took. */
export const until = async (check: () => boolean | Promise<boolean>, limitMs: number): Promise<number> => {
  const startedAtMs = performance.now();
  while (performance.now() - startedAtMs < limitMs) {
    if (await check()) return performance.now() - startedAtMs;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`it did not happen within ${limitMs} ms`);
};

/** True where a process runs; one that has ended and waits for its parent does not. */
export const isAlive = async (pid: number): Promise<boolean> => {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return !/\) Z /.test(stat);
};

/** Why memory and children of a process can't be read here; undefined where they can. */
export const NO_PROC = existsSync('/proc/self/status') ? undefined : 'needs /proc';

const statusField = async (pid: number, field: string): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN) * 0.001024;
};

/** From here on the peak of a process is counted anew. */
export const forgetPeak = (pid: number): Promise<void> => writeFile(`/proc/${pid}/clear_refs`, '5');

/** Memory of a process, MB: now, and the most that it held since its peak was forgotten. */
export const memoryOf = async (pid: number): Promise<{ now: number; peak: number }> => ({
  now: await statusField(pid, 'VmRSS'),
  peak: await statusField(pid, 'VmHWM'),
});

/** The children of a process now. */
export const childrenOf = async (pid: number): Promise<number[]> => {
  const children: number[] = [];
  for (const task of await readdir(`/proc/${pid}/task`)) {
    const text = await readFile(`/proc/${pid}/task/${task}/children`, 'utf8').catch(() => '');
    children.push(...text.split(' ').filter(Boolean).map(Number));
  }
  return children;
};

/** The command lines of processes that work in a folder. */
export const processesIn = async (folder: string): Promise<string[]> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = pids.map(async (pid) => {
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
    return cwd === folder ? readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined) : undefined;
  });
  return (await Promise.all(found)).filter((line) => line !== undefined).map((line) => line.replaceAll('\0', ' '));
};

/** Page faults of all children that a process has had and that have ended: another number, another child. */
export const faultsOfChildren = async (pid: number): Promise<number> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[8]);
};
