import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Readable } from 'node:stream';

import { buildNodeEnvironment } from '../../config/node-environment.ts';
import { NODE_FLAGS, NODE_VARIABLES } from '../../config/node-flags.ts';
import { ensurePrivateDir } from '../../kernel/atomic-file.ts';
import type { Clock } from '../../kernel/clock.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { findBuiltFile } from '../../store/built-file.ts';

const START_MS = 15_000;
const MAX_REPORT_BYTES = 4_096;
/** The number of the pipe on which it reports. */
const REPORT_FD = 3;

/** What a supervisor is started with. */
export interface StartSupervisorOptions {
  /** Where supervisors say how they are found. */
  readonly dir: string;
  /** The folder of all output. */
  readonly jobsDir: string;
  readonly home: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly clock: Clock;
}

/**
 * Starts a supervisor, which outlives this process and all that is done to this installation: its program is one file.
 * @returns its id, when it can be connected to. @throws {LoopsyError} internal
 */
export const startSupervisor = async (options: StartSupervisorOptions): Promise<string> => {
  const { dir, jobsDir, home, variables, platform, clock } = options;
  const program = findBuiltFile('supervisor/main.js');
  if (program === undefined) throw notStarted('supervisor/main.js is missing beside the program');
  await ensurePrivateDir(dir);
  const env = { ...buildNodeEnvironment(variables, platform), ...NODE_VARIABLES };
  const child = spawn(process.execPath, [...NODE_FLAGS, program, dir, jobsDir], {
    cwd: existsSync(home) ? home : dir,
    env: Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('LOOPSY_'))),
    // A session of its own: what ends the node's terminal or group does not reach it.
    detached: true,
    windowsHide: true,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const report = await new Promise<string>((resolve) => {
    let text = '';
    // It was asked for as a pipe, so that it is one.
    const pipe = child.stdio[REPORT_FD] as Readable | null;
    const timer = clock.after(START_MS, () => {
      child.kill('SIGKILL');
      settle(`it did not begin within ${START_MS / 1000} s`);
    });
    const settle = (said: string): void => {
      timer.cancel();
      pipe?.destroy();
      child.unref();
      resolve(said);
    };
    pipe?.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
      if (text.includes('\n') || text.length > MAX_REPORT_BYTES) settle(text.trim());
    });
    pipe?.on('error', () => undefined);
    child.once('error', (error) => settle(error.message));
    child.once('close', (code, signal) => settle(text.trim() || `it ended by ${signal ?? `code ${code}`}`));
  });
  if (/^[0-9a-f]{16}$/.test(report)) return report;
  throw notStarted(report);
};

const notStarted = (why: string): LoopsyError =>
  new LoopsyError('internal', {
    message: `the supervisor of detached runs could not be started: ${why}`,
    hint: 'free some room or memory and try again; where its program is missing, install loopsy again',
  });
