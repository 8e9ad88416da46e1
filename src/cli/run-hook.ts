import { spawn } from 'node:child_process';
import { constants } from 'node:os';

const NOT_STARTED = 127;

/** How it ended, as a shell says it. */
export const exitOf = (code: number | null, signal: NodeJS.Signals | null): number =>
  code ?? (signal === null ? NOT_STARTED : 128 + constants.signals[signal]);

/**
 * Runs a command line that a person typed, in the system's shell, with `input` on its stdin.
 * @returns its exit code; 128 + n for a signal's.
 */
export const runHook = (command: string, input: string): Promise<number> =>
  new Promise((resolve) => {
    const child = spawn(command, { shell: true, stdio: ['pipe', 'inherit', 'inherit'], windowsHide: true });
    child.once('error', () => resolve(NOT_STARTED));
    child.once('close', (code, signal) => resolve(exitOf(code, signal)));
    // It may not read it.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
