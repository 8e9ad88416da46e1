import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { bytecodeFile } from './built-files.ts';

/** A file of the build that every start loads, and the flags of those who load it: bytecode counts under them alone. */
export interface Compiled {
  /** In the folder of the build. */
  readonly file: string;
  readonly flags: readonly string[];
  /** Set by the program itself, when it runs. */
  readonly laterFlags: readonly string[];
}

// Of every function, and not only of those that run at once. Stack traces show the name that is given here.
const MAKE_BYTECODE = `
const v8 = require('node:v8');
const [, name, ...flags] = process.argv;
const text = require('node:fs').readFileSync(0, 'utf8');
for (const flag of flags) v8.setFlagsFromString(flag);
v8.setFlagsFromString('--no-lazy');
const script = new (require('node:vm').Script)(text, { filename: name });
v8.setFlagsFromString('--lazy');
process.stdout.write(script.createCachedData());
`;
const MAX_BYTES = 67_108_864;

const run = promisify(execFile);

const compile = async ({ file, flags, laterFlags }: Compiled, source: Buffer): Promise<Buffer> => {
  const args = [...flags, '-e', MAKE_BYTECODE, `loopsy/${file}`, ...laterFlags];
  const running = run(process.execPath, args, { encoding: 'buffer', maxBuffer: MAX_BYTES, windowsHide: true });
  running.child.stdin?.on('error', () => undefined).end(source);
  return (await running).stdout;
};

/**
 * Makes the bytecode of a build that is missing for this Node, one file after the other.
 * @returns how many files were made. @throws where the folder can't be written, or a file can't be compiled.
 */
export const makeMissingBytecode = async (dist: string, compiled: readonly Compiled[]): Promise<number> => {
  let made = 0;
  for (const one of compiled) {
    const file = join(dist, one.file);
    const target = bytecodeFile(file);
    if (existsSync(target)) continue;
    const draft = `${target}.${process.pid}.tmp`;
    try {
      await writeFile(draft, '');
      await writeFile(draft, await compile(one, await readFile(file)));
      await rename(draft, target);
    } finally {
      await rm(draft, { force: true });
    }
    made += 1;
  }
  return made;
};

/** What `build.json` in the folder of a build lists; nothing where there is none. */
export const readCompiled = async (dist: string): Promise<readonly Compiled[]> => {
  const text = await readFile(join(dist, 'build.json'), 'utf8').catch(() => '{}');
  // The build writes it.
  return (JSON.parse(text) as { compiled?: readonly Compiled[] }).compiled ?? [];
};
