import { join } from 'node:path';

import { build } from 'esbuild';

/** Bundles a TypeScript program into `folder`, so that a test can run it as a process of its own. Returns its path. */
export const bundleFixture = async (entry: string, folder: string): Promise<string> => {
  const outfile = join(folder, 'fixture.mjs');
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
    banner: { js: "import{createRequire as $r}from'node:module';const require=$r(import.meta.url);" },
  });
  return outfile;
};
