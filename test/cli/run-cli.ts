import { PassThrough } from 'node:stream';

import type { Io, StopSignal } from '../../src/cli/cli.ts';
import { main } from '../../src/cli/main.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import { FakeClock } from '../helpers/clock.ts';
import { OPERATIONS, type OperationId } from '../../src/protocol/operations.ts';

/** A command line that runs inside the test. */
export interface CliRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a command line is run. */
export interface RunOptions {
  readonly dataDir: string;
  readonly env?: Record<string, string>;
  /** What stands on stdin; null: the null device; none: there is no stdin. */
  readonly stdin?: string | NodeJS.ReadableStream | null;
  readonly tty?: boolean;
  /** Of the terminal. */
  readonly columns?: number;
  /** Default: the data folder. */
  readonly cwd?: string;
  /** Default: the data folder. */
  readonly home?: string;
  readonly platform?: NodeJS.Platform;
  readonly uid?: number;
  readonly clock?: Clock;
  /** Given the way to send signals, before the command runs. */
  readonly onReady?: (signal: (name: StopSignal) => void, output: () => string, errors: () => string) => void;
}

/** Runs one command line in this process, with everything that it touches injected. */
export const runCli = async (argv: readonly string[], options: RunOptions): Promise<CliRun> => {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  const sink = (into: Buffer[]) => ({
    isTTY: options.tty ?? false,
    columns: options.columns,
    write: (text: string) => into.push(Buffer.from(text)),
    writeBytes: (bytes: Uint8Array) => void into.push(Buffer.from(bytes)),
  });
  const listeners = new Map<StopSignal, () => void>();
  const { stdin } = options;
  const io: Io = {
    stdout: sink(out),
    stderr: sink(err),
    stdin: () => {
      if (stdin === undefined || stdin === null) return { kind: 'none', isNull: stdin === null };
      return { kind: 'stream', stream: typeof stdin === 'string' ? new PassThrough().end(stdin) : stdin };
    },
    env: { LOOPSY_DATA_DIR: options.dataDir, PATH: process.env['PATH'], HOME: options.dataDir, ...options.env },
    home: options.home ?? options.dataDir,
    cwd: options.cwd ?? options.dataDir,
    platform: options.platform ?? 'linux',
    uid: options.uid ?? 1000,
    clock: options.clock ?? new FakeClock(),
    lastWords: () => undefined,
    onSignal: (name, listener) => {
      listeners.set(name, listener);
      return () => listeners.delete(name);
    },
  };
  const text = (parts: Buffer[]) => Buffer.concat(parts).toString();
  options.onReady?.(
    (name) => listeners.get(name)?.(),
    () => text(out),
    () => text(err),
  );
  const code = await main(argv, io);
  return { code, stdout: text(out), stderr: text(err) };
};

/** The one document that `--json` printed, after the operation's own schema has taken it. */
export const documentOf = (id: OperationId, { stdout }: CliRun): unknown => {
  const lines = stdout.trimEnd().split('\n');
  if (lines.length !== 1) throw new Error(`not one document: ${stdout}`);
  return OPERATIONS[id].output.parse(JSON.parse(lines[0] ?? ''));
};
