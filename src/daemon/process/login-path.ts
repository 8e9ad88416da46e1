import { spawn } from 'node:child_process';

import type { Clock } from '../../kernel/clock.ts';
import { baseEnvironment, type EnvironmentSource } from './environment.ts';

const MARK = '__loopsy_path__';
const LIMIT_MS = 5_000;
const MAX_OUTPUT_BYTES = 262_144;

/** The PATH that a person's login shell has: a node that a service manager started was given a shorter one. */
export interface LoginPath {
  /** A promise until it has been captured, which takes 5 s at most. */
  value(): string | Promise<string>;
}

/** What the capture needs. */
export interface LoginPathOptions extends Omit<EnvironmentSource, 'path'> {
  readonly shell: string | undefined;
  readonly clock: Clock;
}

/** Asks the login shell once, when first wanted; where it doesn't answer, it is the node's own PATH. */
export const createLoginPath = (options: LoginPathOptions): LoginPath => {
  const own = ownPath(options);
  let known: string | Promise<string> | undefined = askable(options) ? undefined : own;
  return {
    value() {
      known ??= capture(options, own).then((path) => (known = path ?? own));
      return known;
    },
  };
};

const ownPath = ({ platform, variables }: LoginPathOptions): string => {
  const name = Object.keys(variables).find((key) =>
    platform === 'win32' ? key.toUpperCase() === 'PATH' : key === 'PATH',
  );
  return (name === undefined ? undefined : variables[name]) ?? '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin';
};

const askable = ({ platform, shell }: LoginPathOptions): boolean =>
  platform !== 'win32' && shell !== undefined && /\/(?:ba|z|k|fi|da|a)?sh$/.test(shell);

const capture = (options: LoginPathOptions, own: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    const { shell = '/bin/sh', home, clock } = options;
    // Its own process group: an interactive shell would otherwise take hold of the terminal that started the node.
    const child = spawn(shell, ['-lic', `printf '%s' '${MARK}' "$PATH" '${MARK}'`], {
      cwd: home,
      env: baseEnvironment({ ...options, path: own }),
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let text = '';
    const finish = (): void => {
      timer.cancel();
      child.stdout.destroy();
      if (child.pid !== undefined) endGroup(child.pid);
      resolve(text.split(MARK)[1] || undefined);
    };
    const timer = clock.after(LIMIT_MS, finish);
    child.on('error', finish);
    child.on('close', finish);
    child.stdout.on('data', (chunk: Buffer) => {
      if (text.length < MAX_OUTPUT_BYTES) text += chunk.toString();
      if (text.split(MARK).length > 2) finish();
    });
  });

const endGroup = (pid: number): void => {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    return; // nothing of the group is left
  }
};
