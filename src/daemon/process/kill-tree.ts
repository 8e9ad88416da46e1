import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';

/**
 * Sends a signal to a process and everything that stayed in its group; on Windows each signal ends the tree.
 * @returns false where nothing of it is left.
 */
export const signalTree = (pid: number, signal: NodeJS.Signals, platform: NodeJS.Platform): boolean => {
  if (platform === 'win32') {
    spawn('taskkill', ['/PID', String(pid), '/T', '/F'], { stdio: 'ignore', windowsHide: true }).on('error', () => {
      sendSignal(pid, 'SIGKILL');
    });
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

/**
 * True where all that is left of the group is zombies: dead, but not yet collected by their parent. A container whose
 * first process collects nobody keeps them for ever. Reads /proc, so it is asked late and seldom.
 */
export const onlyZombiesLeft = async (pid: number, platform: NodeJS.Platform): Promise<boolean> => {
  if (platform !== 'linux') return false;
  const names = await readdir('/proc').catch(() => []);
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'latin1').catch(() => '');
    const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (group === String(pid) && state !== 'Z' && state !== 'X') return false;
  }
  return names.length > 0;
};

const sendSignal = (pid: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    // EPERM: it is there, but became another user's (sudo): there, and out of our hands.
    return error instanceof Error && 'code' in error && error.code === 'EPERM' && signal === 0;
  }
};
