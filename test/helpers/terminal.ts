import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';

/** Why no real terminal can be had here; undefined where it can: `script` of util-linux. */
export const NO_TERMINAL = String(spawnSync('script', ['--version']).stdout).includes('util-linux')
  ? undefined
  : 'needs `script` of util-linux';

const PATIENCE_MS = 15_000;
/** Colours, cursor moves, and what else a terminal doesn't show. */
const CONTROL = /\u001B(?:\[[\d;?]*[A-Za-z]|\][^\u0007]*\u0007)|\r/g;

/** A program on a real terminal, and the person before it. */
export class Terminal {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #output = '';
  #look: () => void = () => undefined;

  /** `line` is for a shell; the environment gets TERM. */
  constructor(line: string, { env, columns = 100 }: { env: NodeJS.ProcessEnv; columns?: number }) {
    const sized = `stty cols ${columns} rows 40; exec ${line}`;
    this.#child = spawn('script', ['-qec', sized, '/dev/null'], { env: { ...env, TERM: 'xterm', SHELL: '/bin/sh' } });
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      this.#output += chunk.toString();
      this.#look();
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', (code) => {
        resolve(code);
        this.#look();
      });
    });
  }

  /** All that was shown so far, without colours. */
  get screen(): string {
    return this.#output.replaceAll(CONTROL, '');
  }

  /** Waits until that is on the screen. */
  async shows(what: RegExp): Promise<RegExpExecArray> {
    for (const endsAt = performance.now() + PATIENCE_MS; ;) {
      const found = what.exec(this.screen);
      if (found !== null) return found;
      const isOver = this.#child.exitCode !== null || this.#child.signalCode !== null;
      if (isOver || performance.now() > endsAt)
        throw new Error(`${String(what)} is not on the screen:\n${this.screen}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, PATIENCE_MS);
        this.#look = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  type(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  /** Closes the window, so hard that the program can do nothing about it. */
  kill(): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    for (const line of execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)])
      .toString()
      .split('\n'))
      if (line.trim() !== '') process.kill(Number(line), 'SIGKILL');
  }

  /** Resolves with the exit code when the program has ended. */
  ended(): Promise<number | null> {
    return this.#ended;
  }
}
