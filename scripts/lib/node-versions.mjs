// The versions of Node that loopsy runs on, brought through npm into .cache/nodes/.
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

import { ROOT, runProgram } from './steps.mjs';

const run = promisify(execFile);

/** The major versions. */
export const NODE_MAJORS = [20, 22, 24];

const ON_WINDOWS = process.platform === 'win32';
const SYSTEM = ON_WINDOWS ? 'win' : process.platform;
const folderOf = (major) => path.join(ROOT, '.cache', 'nodes', String(major));
const programOf = (major) =>
  path.join(folderOf(major), 'node_modules', 'node', 'bin', ON_WINDOWS ? 'node.exe' : 'node');

/** npm of whoever started this script. */
export const npmCommand = () => {
  const npm = process.env.npm_execpath;
  return npm?.endsWith('.js') === true ? [process.execPath, npm] : ['npm'];
};

/** A Node of that major version: its program and its version. Brought where it isn't there yet. */
export async function bringNode(major) {
  const program = programOf(major);
  if (!existsSync(program)) await install(major);
  const { stdout } = await run(program, ['--version']);
  const version = stdout.trim();
  if (!version.startsWith(`v${major}.`)) throw new Error(`${program} is ${version}`);
  return { major, program, version };
}

async function install(major) {
  const folder = folderOf(major);
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n');
  const [npm, ...before] = npmCommand();
  const what = `node@npm:node-${SYSTEM}-${process.arch}@${major}`;
  const args = [
    ...before,
    'install',
    '--no-save',
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
    '--prefix',
    folder,
    what,
  ];
  const { ok } = await runProgram(npm, args, {});
  if (!ok) throw new Error(`npm could not bring Node ${major}`);
}
