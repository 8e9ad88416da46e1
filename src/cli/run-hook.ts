import { spawn } from 'node:child_process';

const NOT_STARTED = 127;

/**
 * Runs a command line that a person typed, in the system's shell, with `input` on its stdin.
 * @returns its exit code; 128 + n for a signal's.
 */
export const runHook = (command: string, input: string): Promise<number> =>
  new Promise((resolve) => {
    const child = spawn(command, { shell: true, stdio: ['pipe', 'inherit', 'inherit'], windowsHide: true });
    child.once('error', () => resolve(NOT_STARTED));
    child.once('close', (code) => resolve(code ?? NOT_STARTED));
    // It may not read it.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
