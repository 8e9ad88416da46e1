// Bundles the node and the CLI into dist/. Running nodes load chunks lazily, so dist/ is never emptied: chunks are
// named by their content, files are replaced one by one (entries last), and superseded chunks stay for a week.
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import esbuild from 'esbuild';

import { builtFiles, FORM } from './lib/built-files.mjs';

export const ROOT = path.resolve(fileURLToPath(new URL('..', import.meta.url)));
const KEEP_SUPERSEDED_MS = 7 * 24 * 3600 * 1000;

/**
 * Each group has chunks of its own: the CLI starts faster when it shares none with the node. Where there is a loader, it
 * is what is run, and loads the rest as CommonJS.
 */
const GROUPS = [
  {
    name: 'cli',
    entry: 'src/cli/command.ts',
    loader: 'src/cli/index.ts',
    program: 'index.js',
    forbidden: ['zod', 'find-my-way'],
  },
  {
    name: 'daemon',
    entry: 'src/daemon/main.ts',
    loader: 'src/daemon/index.ts',
    program: 'main.js',
    flags: 'src/config/node-flags.ts',
  },
  { name: 'store', entry: 'src/store/worker.ts', optional: true },
  { name: 'disk', entry: 'src/daemon/transfers/disk/main.ts', whole: true, out: 'dist/disk', forbidden: ['zod'] },
  // It outlives this installation: all of it is loaded at its start.
  {
    name: 'supervisor',
    entry: 'src/daemon/supervisor/main.ts',
    whole: true,
    out: 'dist/supervisor',
    forbidden: ['zod'],
  },
];

const COMMON = {
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  splitting: true,
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
  absWorkingDir: ROOT,
  define: { 'process.env.NODE_ENV': '"production"' },
};

/** What the CLI needs of the operation table is computed here, so that no command loads schemas. */
const routesAsData = {
  name: 'routes-as-data',
  setup(build) {
    build.onLoad({ filter: /[\\/]src[\\/]client[\\/]routes\.ts$/ }, async ({ path: file }) => {
      const loaded = await evaluate(file);
      const names = Object.keys(loaded);
      if (names.join() !== 'ROUTES') throw new Error(`src/client/routes.ts must export ROUTES alone, not: ${names}`);
      const json = JSON.stringify(loaded.ROUTES);
      if (json === undefined || json === '{}') throw new Error('src/client/routes.ts: ROUTES is empty');
      return { contents: `export const ROUTES = ${json};`, loader: 'js' };
    });
  },
};

/** zod brings the texts of fifty languages; ours are English. */
const englishOnly = {
  name: 'english-only',
  setup(build) {
    build.onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js';",
    }));
  },
};

/**
 * `await import('<CommonJS package>')` has its named exports in Node, but only `default` in a split bundle. This puts a
 * module in between that names them.
 */
const lazyCommonJs = {
  name: 'lazy-commonjs',
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, async ({ path: name, kind, resolveDir, pluginData }) => {
      if (kind !== 'dynamic-import' || pluginData === 'resolved' || name.startsWith('node:')) return undefined;
      const found = await build.resolve(name, { kind, resolveDir, pluginData: 'resolved' });
      if (found.external || !isCommonJs(found.path)) return undefined;
      return { path: name, namespace: 'lazy-commonjs', pluginData: found.path };
    });
    build.onLoad({ filter: /.*/, namespace: 'lazy-commonjs' }, async ({ pluginData: file }) => {
      const names = Object.keys(await import(pathToFileURL(file).href)).filter((key) =>
        /^(?!default$)[\w$]+$/.test(key),
      );
      const lines = names.map((key) => `export const ${key} = whole.${key};`);
      return {
        contents: `import whole from ${JSON.stringify(file)};\n${lines.join('\n')}\nexport default whole;`,
        resolveDir: ROOT,
      };
    });
  },
};

function isCommonJs(file) {
  if (!file.endsWith('.js')) return file.endsWith('.cjs');
  for (let dir = path.dirname(file); ; dir = path.dirname(dir)) {
    const manifest = path.join(dir, 'package.json');
    if (existsSync(manifest)) return JSON.parse(readFileSync(manifest, 'utf8')).type !== 'module';
  }
}

/** Bundles a TypeScript module, runs it and returns its exports. */
export async function evaluate(file) {
  const dir = path.join(ROOT, '.cache', 'evaluated');
  await mkdir(dir, { recursive: true });
  const out = path.join(dir, `${path.basename(file, '.ts')}-${process.pid}-${process.hrtime.bigint()}.mjs`);
  await esbuild.build({ ...COMMON, splitting: false, entryPoints: [file], outfile: out });
  try {
    return await import(pathToFileURL(out).href);
  } finally {
    await rm(out, { force: true });
  }
}

/** The flags of V8 that a group is run with. */
async function flagsOf({ flags }) {
  if (flags === undefined) return { flags: [], laterFlags: [] };
  const { NODE_FLAGS, LATER_FLAGS } = await evaluate(path.join(ROOT, flags));
  return { flags: NODE_FLAGS, laterFlags: LATER_FLAGS };
}

async function bundle(group) {
  const naming = `${group.name}/[name]-[hash]`;
  const flags = await flagsOf(group);
  const result = await esbuild.build({
    ...COMMON,
    entryPoints: [group.entry],
    ...(group.whole ? { outdir: group.out, splitting: false } : { outbase: 'src', outdir: 'dist', chunkNames: naming }),
    ...(group.loader ? { entryNames: naming, banner: { js: `/* ${FORM} ${JSON.stringify(flags)} */` } } : {}),
    write: false,
    metafile: true,
    plugins: [routesAsData, englishOnly, lazyCommonJs],
  });
  const packages = packagesOf(result.metafile);
  const wrong = (group.forbidden ?? []).filter((name) => packages.has(name));
  if (wrong.length > 0) throw new Error(`${group.entry} must not load ${wrong.join(', ')}: its start would be slow`);
  const nameOf = (file) => path.relative(path.join(ROOT, 'dist'), path.resolve(ROOT, file)).replaceAll(path.sep, '/');
  const modules = result.outputFiles.map(({ path: file, text }) => ({ name: nameOf(file), text }));
  const outputs = Object.entries(result.metafile.outputs);
  const [entry, { imports }] = outputs.find(([, { entryPoint }]) => entryPoint === group.entry);
  const last = nameOf(entry);
  // Entries come last, so that what they import is there before them.
  modules.sort((a, b) => Number(a.name === last) - Number(b.name === last));
  if (!group.loader) return { packages, files: modules.map(withRequire) };
  const atOnce = imports
    .filter(({ kind, external }) => kind === 'import-statement' && !external)
    .map(({ path: file }) => nameOf(file));
  const loader = { name: `${group.name}/${group.program}`, file: path.join(ROOT, group.loader) };
  const compiled = [last, ...atOnce].map((file) => ({ file, ...flags }));
  return { packages, compiled, files: await builtFiles(modules, { entry: last, loader }) };
}

/** Only the module that holds esbuild's shim needs a `require`, for CommonJS packages that load Node's own modules. */
function withRequire({ name, text }) {
  if (!text.includes('typeof require')) return { name, text };
  return { name, text: `import{createRequire as $r}from"node:module";const require=$r(import.meta.url);${text}` };
}

/** The packages that a bundle holds, by name, with their folders. */
function packagesOf(metafile) {
  const found = new Map();
  for (const input of Object.keys(metafile.inputs)) {
    const at = input.lastIndexOf('node_modules/') + 'node_modules/'.length;
    if (!input.includes('node_modules/')) continue;
    const [first, second] = input.slice(at).split('/');
    const name = first.startsWith('@') ? `${first}/${second}` : first;
    found.set(name, path.join(ROOT, input.slice(0, at), name));
  }
  return found;
}

/** The licences of everything that the bundles hold. */
async function licences(packages) {
  const parts = [];
  for (const [name, dir] of [...packages].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const { version, license } = JSON.parse(await readFile(path.join(dir, 'package.json'), 'utf8'));
    const file = (await readdir(dir)).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
    const text = file === undefined ? `Licence: ${license}` : (await readFile(path.join(dir, file), 'utf8')).trim();
    parts.push(`${name} ${version}\n\n${text}\n`);
  }
  return `loopsy contains these packages.\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`;
}

async function replaceFile(target, content, mode = 0o644) {
  if (existsSync(target) && (await readFile(target)).equals(Buffer.from(content))) return;
  await mkdir(path.dirname(target), { recursive: true });
  const temporary = `${target}.${process.pid}.tmp`;
  await writeFile(temporary, content, { mode });
  await rename(temporary, target);
}

async function vendor(dist, version) {
  const script = path.join(ROOT, 'scripts', 'vendor-sqlite.mjs');
  const target = path.join(dist, 'vendor', 'sqlite');
  const made = `${version} ${createHash('sha256')
    .update(await readFile(script))
    .digest('hex')}\n`;
  const stamp = path.join(dist, 'vendor', 'sqlite.version');
  if (existsSync(target) && existsSync(stamp) && (await readFile(stamp, 'utf8')) === made) return;
  const { vendorSqlite } = await import(pathToFileURL(script).href);
  const fresh = `${target}.${process.pid}.tmp`;
  await mkdir(path.dirname(target), { recursive: true });
  await vendorSqlite(fresh);
  const old = `${target}.${process.pid}.old`;
  if (existsSync(target)) await rename(target, old);
  await rename(fresh, target);
  await rm(old, { recursive: true, force: true });
  await writeFile(stamp, made);
}

async function dropSuperseded(dist, current, previous) {
  const now = Date.now();
  for (const { name: folder } of GROUPS) {
    const dir = path.join(dist, folder);
    for (const entry of existsSync(dir) ? await readdir(dir) : []) {
      // Bytecode, of whichever Node, lives as long as the file that it was made of.
      const name = `${folder}/${entry.replace(/\.v[^/]*\.cache$/, '')}`;
      if (current.has(name)) continue;
      const file = path.join(dir, entry);
      if (previous.has(name)) await utimes(file, now / 1000, now / 1000);
      else if (now - (await stat(file)).mtimeMs > KEEP_SUPERSEDED_MS) await rm(file, { recursive: true, force: true });
    }
  }
}

/** What npm leaves out of a package: everything in the folders of the build but what this build has made. */
function packIgnore(files) {
  const folders = [...GROUPS.map(({ name }) => name), 'vendor'];
  const made = [...files, 'vendor/sqlite', 'vendor/sqlite.version'];
  const lines = ['*.tmp', ...folders.map((name) => `/${name}/*`), ...made.map((name) => `!/${name}`)];
  return `${lines.join('\n')}\n`;
}

async function checkedVersion(manifest) {
  const { VERSION } = await evaluate(path.join(ROOT, 'src', 'protocol', 'version.ts'));
  if (VERSION !== manifest.version)
    throw new Error(`package.json says ${manifest.version}, src/protocol/version.ts ${VERSION}`);
  return VERSION;
}

/** Builds everything. `clean` leaves nothing of earlier builds: for the package, where no node runs from dist/. */
export async function build({ clean = false, dist = path.join(ROOT, 'dist') } = {}) {
  const manifest = JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8'));
  const version = await checkedVersion(manifest);
  const groups = GROUPS.filter(({ entry, optional }) => !optional || existsSync(path.join(ROOT, entry)));
  const bundles = await Promise.all(groups.map(bundle));
  const files = bundles.flatMap((one) => one.files);
  const notices = await licences(new Map(bundles.flatMap((one) => [...one.packages])));
  if (clean) await rm(dist, { recursive: true, force: true });
  await vendor(dist, manifest.devDependencies['@photostructure/sqlite']);
  for (const { name, text, mode } of files) await replaceFile(path.join(dist, name), text, mode);
  await replaceFile(path.join(dist, 'licenses.txt'), notices, 0o644);
  const record = path.join(dist, 'build.json');
  const previous = existsSync(record) ? JSON.parse(await readFile(record, 'utf8')).files : [];
  const names = files.map(({ name }) => name).sort();
  await dropSuperseded(dist, new Set(names), new Set(previous));
  await replaceFile(path.join(dist, '.npmignore'), packIgnore(names), 0o644);
  const compiled = bundles.flatMap((one) => one.compiled ?? []);
  await replaceFile(record, `${JSON.stringify({ version, files: names, compiled }, null, 2)}\n`, 0o644);
  const { makeMissingBytecode } = await evaluate(path.join(ROOT, 'src/kernel/bytecode.ts'));
  await makeMissingBytecode(dist, compiled);
  return { version, bytes: files.reduce((sum, { text }) => sum + text.length, 0), files: names };
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const started = performance.now();
  try {
    const { version, bytes, files } = await build({ clean: process.argv.includes('--clean') });
    const ms = Math.round(performance.now() - started);
    console.log(`built loopsy ${version}: ${files.length} files, ${Math.round(bytes / 1024)} KiB, ${ms} ms`);
  } catch (error) {
    console.error(`the build failed: ${error.message}`);
    process.exitCode = 1;
  }
}
