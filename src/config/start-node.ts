import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

import { ensurePrivateDir } from '../kernel/atomic-file.ts';
import { systemClock, type Clock } from '../kernel/clock.ts';
import { errorFromBody, LoopsyError } from '../protocol/errors.ts';
import { buildNodeEnvironment } from './node-environment.ts';
import { NODE_FLAGS, NODE_VARIABLES } from './node-flags.ts';
import { nodePaths } from './paths.ts';
import { MAX_REPORT_BYTES, parseStartReport, REPORT_VARIABLE, type StartReport } from './start-report.ts';

/** How a node is started. */
export interface StartNodeOptions {
  readonly dataDir: string;
  /** Further arguments of the node's program. */
  readonly args?: readonly string[];
  /** What the node's environment is built from; default: this process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** How long the node may take until it answers, ms; default 30,000. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  /** The node's program; default: the one of this installation. */
  readonly program?: string;
}

/** A node that was started and answers. */
export interface StartedNode {
  readonly url: string;
  readonly pid: number;
}

/** The most of a log that is read for an error, bytes, and the most lines that are shown. */
const LOG_TAIL_BYTES = 8192;
const LOG_TAIL_LINES = 10;
/** The number of the pipe in the node: behind stdin, stdout and stderr. */
const REPORT_FD = 3;

/**
 * The node's program of this installation: `daemon/main.js` in the nearest folder above `from`.
 * @throws {LoopsyError} `internal` where there is none.
 */
export const findNodeProgram = (from: string = fileURLToPath(import.meta.url)): string => {
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    const program = join(folder, 'daemon', 'main.js');
    if (existsSync(program)) return program;
    if (folder === dirname(folder)) break;
  }
  throw new LoopsyError('internal', {
    message: `this installation has no daemon/main.js above ${from}`,
    hint: 'install loopsy again; from source: `npm run build`',
  });
};

/**
 * Starts a node that outlives this process, and waits until it answers.
 * @throws {LoopsyError} what the node reported; `internal` with the log's last lines where it ended without a word;
 * `request_timeout` where it didn't answer in time: it has been ended then.
 */
export const startNode = async (options: StartNodeOptions): Promise<StartedNode> => {
  const { dataDir, clock = systemClock, timeoutMs = 30_000 } = options;
  const { logsDir, nodeLog } = nodePaths(dataDir);
  await ensurePrivateDir(dataDir);
  await ensurePrivateDir(logsDir);
  const log = await open(nodeLog, 'a+', 0o600);
  try {
    const { size } = await log.stat();
    const child = spawnNode(options, log.fd);
    const outcome = await waitForReport(child, timeoutMs, clock);
    if (typeof outcome === 'object' && 'ready' in outcome) return { url: outcome.url, pid: outcome.pid };
    if (typeof outcome === 'object') throw errorFromBody(outcome) ?? endedError('without a reason', nodeLog, []);
    // Ended, or of no use: nothing that nobody knows of stays behind.
    child.kill('SIGKILL');
    if (outcome !== 'timeout') throw endedError(outcome, nodeLog, await readTail(log, size));
    throw new LoopsyError('request_timeout', {
      message: `the node did not answer within ${timeoutMs} ms and was ended`,
      hint: `its log is ${nodeLog}`,
      details: { log: nodeLog },
    });
  } finally {
    await log.close();
  }
};

const spawnNode = (options: StartNodeOptions, logFd: number): ChildProcess => {
  const { dataDir, args = [], env = process.env, program = findNodeProgram() } = options;
  return spawn(process.execPath, [...NODE_FLAGS, program, ...args], {
    cwd: existsSync(homedir()) ? homedir() : dataDir,
    env: {
      ...buildNodeEnvironment(env),
      ...NODE_VARIABLES,
      LOOPSY_DATA_DIR: dataDir,
      [REPORT_VARIABLE]: String(REPORT_FD),
    },
    detached: true,
    windowsHide: true,
    stdio: ['ignore', logFd, logFd, 'pipe'],
  });
};

/** A report, or how the node ended without one, or `timeout`. Afterwards the child holds nothing of this process. */
const waitForReport = (child: ChildProcess, timeoutMs: number, clock: Clock): Promise<StartReport | string> =>
  new Promise<StartReport | string>((resolve) => {
    const timer = clock.after(timeoutMs, () => settle('timeout'));
    let text = '';
    // stdio[3] was asked for as a pipe, so that it is one.
    const pipe = child.stdio[REPORT_FD] as Readable | null;
    const settle = (outcome: StartReport | string): void => {
      timer.cancel();
      pipe?.destroy();
      child.unref();
      resolve(outcome);
    };
    pipe?.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
      const end = text.indexOf('\n');
      const report = end < 0 ? undefined : parseStartReport(text.slice(0, end));
      if (report !== undefined) settle(report);
      else if (end >= 0 || text.length > MAX_REPORT_BYTES) settle('with a report that makes no sense');
    });
    pipe?.on('error', () => settle('and its report was lost'));
    child.once('error', (error) => settle(`before it began: ${error.message}`));
    // Not `exit`: the pipe may still hold the report then.
    child.once('close', (code, signal) => settle(signal === null ? `with code ${code}` : `by ${signal}`));
  });

const endedError = (how: string, log: string, said: readonly string[]): LoopsyError =>
  new LoopsyError('internal', {
    message: `the node ended ${how}${said.length === 0 ? '' : '; what it said last:'}`,
    hint: `its log is ${log}`,
    details: { log, ...(said.length === 0 ? {} : { said }) },
  });

/** The last lines that were written behind `since`. */
const readTail = async (log: FileHandle, since: number): Promise<string[]> => {
  const { size } = await log.stat();
  const start = Math.max(since, size - LOG_TAIL_BYTES);
  const { buffer, bytesRead } = await log.read(Buffer.alloc(size - start), 0, size - start, start);
  const lines = buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n');
  // What was wrong stands above where in the code that was.
  const telling = lines.filter((line) => line !== '' && !/^\s+at /.test(line));
  return telling.slice(-LOG_TAIL_LINES);
};
