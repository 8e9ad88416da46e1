// The static checks of `npm run check` and `npm test`.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = path.resolve(fileURLToPath(new URL('../..', import.meta.url)));

/** The script behind a package's command: started with this very Node, no shell, no PATH. */
export const binOf = (name, command = name) => {
  const dir = path.join(ROOT, 'node_modules', name);
  const { bin } = JSON.parse(readFileSync(path.join(dir, 'package.json'), 'utf8'));
  return path.join(dir, typeof bin === 'string' ? bin : bin[command]);
};

export const CHECKS = [
  { name: 'types', args: () => [binOf('typescript', 'tsc'), '-b'] },
  { name: 'lint', args: () => [binOf('oxlint'), '--deny-warnings'] },
  { name: 'format', args: () => [binOf('oxfmt'), '--check'] },
  { name: 'unused', args: () => [binOf('knip')] },
];

/** Runs a program of Node's to its end; its output is shown where it fails, or always with `live`. */
export function runStep({ name, args, live = false, env = {} }) {
  const started = performance.now();
  return new Promise((resolve) => {
    const stdio = live ? 'inherit' : ['ignore', 'pipe', 'pipe'];
    const child = spawn(process.execPath, args(), { cwd: ROOT, stdio, env: { ...process.env, ...env } });
    const output = [];
    child.stdout?.on('data', (chunk) => output.push(chunk));
    child.stderr?.on('data', (chunk) => output.push(chunk));
    child.on('close', (code, signal) => {
      const ms = Math.round(performance.now() - started);
      const ok = code === 0;
      if (!live) console.log(`${name.padEnd(8)}${ok ? 'ok' : 'FAILED'}  ${(ms / 1000).toFixed(1)} s`);
      if (!ok && !live) process.stdout.write(Buffer.concat(output));
      resolve({ name, ok, ms, signal });
    });
  });
}

/** Runs a program to its end, in front of whoever watches. */
export function runProgram(program, args, env) {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const shell = process.platform === 'win32' && program === 'npm';
    const child = spawn(program, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env }, shell });
    child.once('error', reject);
    child.once('close', (code) => resolve({ ok: code === 0, ms: performance.now() - started }));
  });
}
