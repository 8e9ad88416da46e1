// The files of the `loopsy` command and of the node: modules turned into what src/kernel/built-files.ts loads, the
// fastest form that Node has.
import { spawnSync } from 'node:child_process';
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

/** Turns modules; `atOnce` names those that every start loads, and `loader` is what is run. */
export async function builtFiles(modules, { entry, atOnce, loader, flags }) {
  const files = await Promise.all(modules.map(toFunction));
  const bytecode = files.filter(({ name }) => atOnce.includes(name)).map((file) => bytecodeOf(file, flags));
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
  return [scope, ...bytecode, ...files, start];
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

/** What V8 makes of a file: of every function, and not only of those that run at once. It serves this Node alone. */
function bytecodeOf({ name, text }, { NODE_FLAGS, LATER_FLAGS }) {
  const args = [...NODE_FLAGS, '-e', MAKE_BYTECODE, `loopsy/${name}`, ...LATER_FLAGS];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { input: text, maxBuffer: 64 * 1_048_576 });
  if (status !== 0) throw new Error(`no bytecode of ${name}: ${stderr}`);
  return { name: `${name}.${process.version}-${process.platform}-${process.arch}.cache`, text: stdout };
}

// V8 takes bytecode only under the flags that it was made with; its stack traces show the name that was given here.
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
