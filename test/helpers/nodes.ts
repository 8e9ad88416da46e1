import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What a finished command left. */
export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** stdout as bytes. */
  readonly bytes: Buffer;
}

/** What is tested: what was built here, or what `npm run test:matrix` has installed. */
const DIST = process.env['LOOPSY_TEST_DIST'] ?? resolve(dirname(fileURLToPath(import.meta.url)), '../../dist');
/** The built command. */
export const CLI = join(DIST, 'cli/index.js');
/** The built node. */
export const DAEMON = join(DIST, 'daemon/main.js');

/** The environment of a test's commands: its own home, nothing of the caller's loopsy. */
export const environment = (home: string): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  HOME: home,
  USERPROFILE: home,
  TMPDIR: tmpdir(),
  LANG: 'C.UTF-8',
  NO_COLOR: '1',
  LOOPSY_DATA_DIR: join(home, '.loopsy'),
});

/** Collects a process until it ends. */
export const finished = (child: ChildProcess): Promise<Finished> =>
  new Promise((done, failed) => {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
    child.once('error', failed);
    child.once('close', (code, signal) => {
      const bytes = Buffer.concat(out);
      done({ code, signal, bytes, stdout: bytes.toString('utf8'), stderr: Buffer.concat(err).toString('utf8') });
    });
  });

/** How a machine is made. */
export interface MachineOptions {
  readonly extra?: string;
  readonly start?: boolean;
  /** Config `server.host`. */
  readonly host?: string;
  readonly within?: readonly string[];
}

/** A machine of a test: an own home with a node of the real build. */
export class Machine {
  readonly home: string;
  /** What `init` writes. The nodes make their identities themselves, at their first start. */
  static #config: Promise<string> | undefined;

  /** What stands before each command, e.g. to run it in another network. */
  readonly #within: readonly string[];

  private constructor(home: string, within: readonly string[]) {
    this.home = home;
    this.#within = within;
  }

  /** Makes a home with a config (`extra` is YAML below the generated one) and starts its node on a free port. */
  static async create(
    name: string,
    { extra = '', start = true, host = '127.0.0.1', within = [] }: MachineOptions = {},
  ): Promise<Machine> {
    const machine = new Machine(await mkdtemp(join(tmpdir(), `loopsy-${name}-`)), within);
    const config = (await (Machine.#config ??= initialConfig())).replace(
      /[0-9a-f]{64}/,
      randomBytes(32).toString('hex'),
    );
    await mkdir(machine.path(), { mode: 0o700 });
    const port = `server:\n  port: ${await freePort()}\n  host: ${host}\n  hostname: ${name}\n`;
    await writeFile(machine.path('config.yaml'), `${config}\n${port}${extra}`, { mode: 0o600 });
    if (start) await machine.start();
    return machine;
  }

  path(...parts: string[]): string {
    return join(this.home, '.loopsy', ...parts);
  }

  /** Starts a command without waiting for its end. */
  spawn(args: readonly string[], options: { stdin?: 'pipe' | 'ignore' } = {}): ChildProcess {
    const [program = '', ...words] = [...this.#within, process.execPath, CLI, ...args];
    return spawn(program, words, {
      env: environment(this.home),
      cwd: this.home,
      stdio: [options.stdin ?? 'ignore', 'pipe', 'pipe'],
    });
  }

  /** Runs a command to its end. */
  async run(args: readonly string[], input?: string | Buffer): Promise<Finished> {
    const child = this.spawn(args, { stdin: input === undefined ? 'ignore' : 'pipe' });
    child.stdin?.end(input);
    const done = await finished(child);
    // The way in which a line end within a text of others is shown: texts of our own have none.
    if (`${done.stdout}${done.stderr}`.includes(String.raw`\u{a}`))
      throw new Error(`loopsy ${args.join(' ')} has a line end in a message: ${done.stdout}${done.stderr}`);
    return done;
  }

  /** Runs a command with `--json` and gives back its one document. */
  async json<T = Record<string, unknown>>(args: readonly string[]): Promise<T> {
    const { code, stdout, stderr } = await this.run([...args, '--json']);
    if (code !== 0) throw new Error(`loopsy ${args.join(' ')} ended with ${code}: ${stdout}${stderr}`);
    // The caller names the shape it checks next.
    return JSON.parse(stdout) as T;
  }

  async start(): Promise<void> {
    const { code, stdout, stderr } = await this.run(['start']);
    if (code !== 0) throw new Error(`start failed: ${stdout}${stderr}\n${await this.log()}`);
  }

  /** The registration of the running node. */
  async registration(): Promise<{ url: string; port: number; pid: number; token: string; nodeId: string }> {
    return JSON.parse(await readFile(this.path('node.json'), 'utf8'));
  }

  async log(): Promise<string> {
    const file = this.path('logs', 'node.log');
    return existsSync(file) ? readFile(file, 'utf8') : '';
  }

  /** One request to the node as its owner. */
  async fetch(method: string, path: string, body?: unknown): Promise<Response> {
    const { url, token } = await this.registration();
    return fetch(`${url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  /** Changes the config's text as a person would. */
  async edit(from: string | RegExp, to: string): Promise<void> {
    const text = await readFile(this.path('config.yaml'), 'utf8');
    const changed = text.replace(from, to);
    if (changed === text) throw new Error(`the config does not have ${String(from)}`);
    await writeFile(this.path('config.yaml'), changed);
  }

  /** Stops the node, if it runs, and removes the home. */
  async remove(): Promise<void> {
    if (existsSync(this.path('node.json'))) await this.run(['stop']);
    await rm(this.home, { recursive: true, force: true, maxRetries: 5 });
  }
}

const initialConfig = async (): Promise<string> => {
  const home = await mkdtemp(join(tmpdir(), 'loopsy-init-'));
  const child = spawn(process.execPath, [CLI, 'init', '--no-mcp'], { env: environment(home) });
  const { code, stdout, stderr } = await finished(child);
  if (code !== 0) throw new Error(`init failed: ${stdout}${stderr}`);
  const config = await readFile(join(home, '.loopsy', 'config.yaml'), 'utf8');
  await rm(home, { recursive: true });
  return config;
};

/** A port that was free a moment ago. */
export const freePort = async (): Promise<number> => {
  const { createServer } = await import('node:net');
  return new Promise((done, failed) => {
    const server = createServer();
    server.once('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address !== null ? done(address.port) : failed(new Error('no port')),
      );
    });
  });
};

/** Connects two machines by fingerprint, on both sides. */
export const connectMachines = async (
  a: Pick<Machine, 'json'>,
  b: Pick<Machine, 'json'>,
  [atA, atB]: readonly [string, string] = ['127.0.0.1', '127.0.0.1'],
): Promise<void> => {
  const facts = (machine: Pick<Machine, 'json'>): Promise<{ fingerprint: string; port: number }> =>
    machine.json(['status']);
  const [ofA, ofB] = [await facts(a), await facts(b)];
  await a.json(['connect', `${atB}:${ofB.port}`, '--fingerprint', ofB.fingerprint, '--yes']);
  await b.json(['connect', `${atA}:${ofA.port}`, '--fingerprint', ofA.fingerprint, '--yes']);
};
