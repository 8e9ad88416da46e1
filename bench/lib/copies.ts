import { spawn } from 'node:child_process';

/** Runs a program to its end. @throws where it fails, with what it said. */
export const runProgram = (
  [program = '', ...args]: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (text: Buffer) => (said += text.toString()));
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`${program} ended with ${String(code)}: ${said}`)),
    );
  });

/** What copies are compared with: the programs of openssh and rsync, over one sshd. */
export const copyPrograms = (
  sshArgs: readonly string[],
): {
  scp: (more: readonly string[], from: string, to: string) => string[];
  rsync: (from: string, to: string) => string[];
} => {
  const host = sshArgs.at(-1) ?? '';
  const options = sshArgs.slice(0, -1);
  const port = options[options.indexOf('-p') + 1] ?? '';
  const others = options.filter((word, at) => word !== '-p' && options[at - 1] !== '-p');
  return {
    scp: (more, from, to) => ['scp', '-q', '-P', port, ...others, ...more, from, `${host}:${to}`],
    rsync: (from, to) => ['rsync', '-a', '-e', ['ssh', ...options].join(' '), from, `${host}:${to}`],
  };
};
