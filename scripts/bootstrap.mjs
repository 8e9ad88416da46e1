// Makes `npm start` and `npm test` work as the first command on a fresh clone: installs when the lock file changed,
// builds when sources changed, then runs the given script with its arguments. Plain Node, no dependency.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = path.resolve(fileURLToPath(new URL('..', import.meta.url)));
const CACHE = path.join(ROOT, '.cache');
const LOCK = path.join(CACHE, 'bootstrap.lock');
const LOCK_FILE = path.join(ROOT, 'package-lock.json');
const INSTALLED = path.join(ROOT, 'node_modules', '.package-lock.json');
const INSTALL_STAMP = path.join(ROOT, 'node_modules', '.loopsy-install');
const BUILD_STAMP = path.join(CACHE, 'build.stamp');
const SOURCES = [
  'src',
  'scripts/build.mjs',
  'scripts/lib/built-files.mjs',
  'scripts/vendor-sqlite.mjs',
  'package.json',
  'package-lock.json',
];

/** Something that the person who reads it can mend: shown without a stack. */
class Failure extends Error {}

const sha256 = (text) => createHash('sha256').update(text).digest('hex');
const modified = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
const readText = (file) => (existsSync(file) ? readFileSync(file, 'utf8') : '');

const lockKey = () => sha256(readFileSync(LOCK_FILE, 'utf8'));

function needsInstall() {
  if (!existsSync(INSTALLED)) return true;
  if (readText(INSTALL_STAMP) === lockKey()) return false;
  if (modified(LOCK_FILE) > modified(INSTALLED)) return true;
  // npm ran by hand since: its own record is at least as new as the lock file.
  writeFileSync(INSTALL_STAMP, lockKey());
  return false;
}

function* filesUnder(relative) {
  const info = statSync(path.join(ROOT, relative), { throwIfNoEntry: false });
  if (info === undefined) return;
  if (!info.isDirectory()) {
    yield `${relative} ${info.mtimeMs} ${info.size}`;
    return;
  }
  const names = readdirSync(path.join(ROOT, relative)).sort();
  for (const name of names) yield* filesUnder(`${relative}/${name}`);
}

const sourcesKey = () => sha256(SOURCES.flatMap((source) => [...filesUnder(source)]).join('\n'));
const needsBuild = (key) => !existsSync(path.join(ROOT, 'dist', 'build.json')) || readText(BUILD_STAMP) !== key;

/** Runs a program to its end, with its output shown only where it fails. */
function run(title, [command, ...args], shell = false) {
  const started = performance.now();
  process.stderr.write(`loopsy: ${title} … `);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], shell });
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(-20_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => reject(new Failure(`${title}: ${error.message}`)));
    child.on('close', (code) => {
      process.stderr.write(code === 0 ? `${((performance.now() - started) / 1000).toFixed(1)} s\n` : 'failed\n');
      if (code !== 0) process.stderr.write(output);
      resolve(code === 0);
    });
  });
}

async function install() {
  const npm = process.env.npm_execpath;
  const title = 'installing the packages of package-lock.json';
  const flags = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
  const ok =
    npm === undefined || !npm.endsWith('.js')
      ? await run(title, ['npm', ...flags], process.platform === 'win32')
      : await run(title, [process.execPath, npm, ...flags]);
  if (!ok) throw new Failure('the install failed; what npm said is above. It needs the registry once.');
  writeFileSync(INSTALL_STAMP, lockKey());
}

async function build(key) {
  const ok = await run('building dist/', [process.execPath, path.join(ROOT, 'scripts', 'build.mjs')]);
  if (!ok) throw new Failure('the build failed; what it said is above');
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(BUILD_STAMP, key);
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** One at a time: a second one waits, and takes over from one that died. */
async function locked(work) {
  mkdirSync(CACHE, { recursive: true });
  for (let told = false; ; await sleep(100)) {
    try {
      writeFileSync(LOCK, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      takeOverFromDead();
      if (!told) process.stderr.write('loopsy: another install or build is running; waiting for it\n');
      told = true;
    }
  }
  try {
    return await work();
  } finally {
    rmSync(LOCK, { force: true });
  }
}

function takeOverFromDead() {
  const holder = Number(readText(LOCK));
  const young = Date.now() - modified(LOCK) < 2000;
  if (young || alive(holder)) return;
  const aside = `${LOCK}.${process.pid}`;
  try {
    renameSync(LOCK, aside);
    // Another one may have taken over between the look and the rename: give it its lock back.
    if (Number(readText(aside)) === holder) rmSync(aside);
    else renameSync(aside, LOCK);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
}

async function bootstrap() {
  const [major] = process.versions.node.split('.').map(Number);
  if (major < 20) throw new Failure(`loopsy needs Node 20 or newer; this is ${process.version}`);
  if (!needsInstall() && !needsBuild(sourcesKey())) return;
  await locked(async () => {
    if (needsInstall()) await install();
    const key = sourcesKey();
    if (needsBuild(key)) await build(key);
  });
}

/** Runs a script of this repository and ends as it ends. */
function start(script, args) {
  const child = spawn(process.execPath, [path.resolve(ROOT, script), ...args], { cwd: ROOT, stdio: 'inherit' });
  // Ctrl-C reaches the child by itself; this process stays to pass on how it ended.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1);
  });
}

try {
  await bootstrap();
  const [script, ...args] = process.argv.slice(2);
  if (script !== undefined) start(script, args);
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(`loopsy: ${error.message}`);
  process.exitCode = 1;
}
