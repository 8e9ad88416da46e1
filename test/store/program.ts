import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

import { bundleFixture } from '../helpers/bundle-fixture.ts';

const root = resolve(import.meta.dirname, '../..');

/** A running fixture program. */
export interface Program {
  readonly child: ChildProcess;
  /** What it has said so far. */
  readonly lines: string[];
  /** The next line that it says. */
  nextLine(): Promise<string>;
  /** Resolves when it has ended and all of its output was read. */
  readonly ended: Promise<unknown>;
}

/** Builds the store's fixture program, once a test file. It lies in the tree, so that it finds the engine. */
export const buildProgram = async (): Promise<{ path: string; remove: () => Promise<void> }> => {
  const folder = await mkdtemp(join(root, '.cache/program-'));
  const path = await bundleFixture(join(root, 'test/fixtures/store-program.ts'), folder);
  return { path, remove: () => rm(folder, { recursive: true, force: true }) };
};

/** Runs a program of Node's. */
export const startProgram = (path: string, ...args: string[]): Program => {
  const child = spawn(process.execPath, [path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines: string[] = [];
  const gone = new AbortController();
  const reader = createInterface({ input: child.stdout });
  reader.on('line', (line) => lines.push(line));
  return {
    child,
    lines,
    ended: once(child, 'close').finally(() => gone.abort(new Error('the program has ended'))),
    nextLine: async () => {
      const [line]: string[] = await once(reader, 'line', { signal: gone.signal });
      return line ?? '';
    },
  };
};
