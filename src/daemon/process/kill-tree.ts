import { spawn } from 'node:child_process';

/** The process had gone: its number may be another's by now. */
const TASKKILL_FOUND_NONE = 128;

/**
 * Sends a signal to a process and everything that stayed in its group; on Windows each signal ends the tree.
 * @returns false where nothing of it is left.
 */
export const signalTree = (pid: number, signal: NodeJS.Signals, platform: NodeJS.Platform): boolean => {
  if (platform === 'win32') {
    const endRoot = (): boolean => sendSignal(pid, 'SIGKILL');
    spawn('taskkill', ['/PID', String(pid), '/T', '/F'], { stdio: 'ignore', windowsHide: true })
      .on('error', endRoot)
      .on('exit', (code) => code === 0 || code === TASKKILL_FOUND_NONE || endRoot());
    return true;
  }
  const sent = sendSignal(-pid, signal);
  // A stopped process would keep the request to end until someone continues it.
  if (signal === 'SIGTERM') sendSignal(-pid, 'SIGCONT');
  return sent;
};

/** True while any process of the group is there. On Windows a tree can't be asked once its root is gone. */
export const treeLives = (pid: number, platform: NodeJS.Platform): boolean =>
  platform !== 'win32' && sendSignal(-pid, 0);

/** True while the process is there, a zombie too. */
export const isThere = (pid: number): boolean => sendSignal(pid, 0);

/** Sends a signal to a process, or to a group by its negative number. @returns false where there is none. */
export const sendSignal = (pid: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    // EPERM: it is there, but became another user's (sudo): there, and out of our hands.
    return error instanceof Error && 'code' in error && error.code === 'EPERM' && signal === 0;
  }
};
