import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { build } from 'esbuild';

/** Builds the store's thread once a run: tests load rooms from their source, but a thread needs JavaScript. */
export const setup = async (): Promise<void> => {
  const root = resolve(import.meta.dirname, '../..');
  const folder = join(root, '.cache/store');
  const { outputFiles } = await build({
    entryPoints: [join(root, 'src/store/worker.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    write: false,
  });
  await mkdir(folder, { recursive: true });
  const fresh = join(folder, `worker.${process.pid}.tmp`);
  for (const { contents } of outputFiles) await writeFile(fresh, contents);
  await rename(fresh, join(folder, 'worker.js'));
};
