import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

import { build } from 'esbuild';

const root = resolve(import.meta.dirname, '../..');

/** Builds one program into `.cache/`, where rooms that are loaded from their source look for it. */
const buildProgram = async (entry: string, name: string): Promise<void> => {
  const { outputFiles } = await build({
    entryPoints: [join(root, entry)],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    write: false,
    banner: { js: "import{createRequire as $r}from'node:module';const require=$r(import.meta.url);" },
  });
  const target = join(root, '.cache', name);
  await mkdir(dirname(target), { recursive: true });
  const fresh = `${target}.${process.pid}.tmp`;
  for (const { contents } of outputFiles) await writeFile(fresh, contents);
  await rename(fresh, target);
};

/** Once a run: tests load rooms from their source, but a thread and a process of its own need JavaScript. */
export const setup = async (): Promise<void> => {
  await buildProgram('src/store/worker.ts', 'store/worker.js');
  await buildProgram('src/daemon/transfers/disk/main.ts', 'disk/main.js');
  await buildProgram('src/daemon/supervisor/main.ts', 'supervisor/main.js');
};
