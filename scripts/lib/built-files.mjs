// The files of the `loopsy` command and of the node: modules turned into what src/kernel/built-files.ts loads, the
// fastest form that Node has.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import esbuild from 'esbuild';

const TARGET = { target: 'node20', platform: 'node', format: 'cjs', minify: true };

/** Stands in each module before its name is made of its content, so that the name tells how it was turned, too. */
export const FORM = createHash('sha256')
  .update(esbuild.version)
  .update(readFileSync(fileURLToPath(import.meta.url)))
  .digest('hex')
  .slice(0, 16);

/** Turns modules; `entry` is what `loader` loads, and `loader` what is run. */
export async function builtFiles(modules, { entry, loader }) {
  const files = await Promise.all(modules.map(toFunction));
  const { outputFiles } = await esbuild.build({
    ...TARGET,
    bundle: true,
    write: false,
    entryPoints: [loader.file],
    define: { BUILT_FILE: JSON.stringify(`./${path.posix.basename(entry)}`) },
  });
  const scope = {
    name: path.posix.join(path.posix.dirname(loader.name), 'package.json'),
    text: '{"type":"commonjs"}\n',
  };
  const start = { name: loader.name, text: `#!/usr/bin/env node\n${outputFiles[0].text}`, mode: 0o755 };
  return [scope, ...files, start];
}

/** A module as one CommonJS function. esbuild can't split this form, so that it is turned when it has been split. */
async function toFunction({ name, text }) {
  const { code } = await esbuild.transform(text, {
    ...TARGET,
    supported: { 'dynamic-import': false },
    define: { 'import.meta.url': '$url' },
  });
  const url = code.includes('$url') ? 'const $url=require("node:url").pathToFileURL($file).href;' : '';
  const body = code.replaceAll('require("./', '$load("./');
  return { name, text: `($parts=>{"use strict";const{module,file:$file,load:$load,require}=$parts;${url}${body}})` };
}
