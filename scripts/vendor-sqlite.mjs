// Copies the prebuilt SQLite engine into the package, so that nobody needs a compiler or an install script.
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** What loopsy runs on, and the C libraries of each (the package calls the only one of a system glibc). */
const PLATFORMS = {
  'darwin-arm64': ['glibc'],
  'darwin-x64': ['glibc'],
  'linux-arm64': ['glibc', 'musl'],
  'linux-x64': ['glibc', 'musl'],
  'win32-x64': ['glibc'],
};

// Takes the place of node-gyp-build: no environment variable chooses what is loaded.
const BINDING = `'use strict';
const { existsSync } = require('node:fs');
const path = require('node:path');

const libraries = existsSync('/etc/alpine-release') ? ['musl', 'glibc'] : ['glibc', 'musl'];

module.exports = () => {
  const reasons = [];
  for (const library of libraries) {
    const file = path.join(__dirname, 'prebuilds', process.platform + '-' + process.arch, library + '.node');
    if (!existsSync(file)) continue;
    try {
      return require(file);
    } catch (error) {
      reasons.push(error.message);
    }
  }
  throw new Error(reasons.join('; ') || 'there is none for ' + process.platform + '-' + process.arch);
};
`;

const replaceOnce = (text, from, to) => {
  const parts = text.split(from);
  if (parts.length !== 2)
    throw new Error(`@photostructure/sqlite has changed: ${from} occurs ${parts.length - 1} times`);
  return parts.join(to);
};

/** Writes the engine for all platforms, its JavaScript and its licence into `targetDir`. */
export async function vendorSqlite(targetDir) {
  const source = path.dirname(createRequire(import.meta.url).resolve('@photostructure/sqlite/package.json'));
  const script = await readFile(path.join(source, 'dist', 'index.cjs'), 'utf8');
  const patched = replaceOnce(script, 'require("node-gyp-build")', 'require("./binding.cjs")');
  await mkdir(targetDir, { recursive: true });
  await writeFile(path.join(targetDir, 'index.cjs'), patched.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n'));
  await writeFile(path.join(targetDir, 'binding.cjs'), BINDING);
  await copyFile(path.join(source, 'LICENSE'), path.join(targetDir, 'LICENSE'));
  for (const [platform, libraries] of Object.entries(PLATFORMS)) {
    const folder = path.join(targetDir, 'prebuilds', platform);
    await mkdir(folder, { recursive: true });
    for (const library of libraries) {
      const file = path.join(source, 'prebuilds', platform, `@photostructure+sqlite.${library}.node`);
      await copyFile(file, path.join(folder, `${library}.node`));
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [targetDir] = process.argv.slice(2);
  if (targetDir === undefined) throw new Error('usage: node scripts/vendor-sqlite.mjs <target folder>');
  await vendorSqlite(path.resolve(targetDir));
}
