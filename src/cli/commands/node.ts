import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Readable } from 'node:stream';

import { buildNodeEnvironment } from '../../config/node-environment.ts';
import { readRegistration } from '../../config/read-registration.ts';
import { NODE_FLAGS, NODE_VARIABLES } from '../../config/node-flags.ts';
import { findNodeProgram } from '../../config/start-node.ts';
import { MAX_REPORT_BYTES, parseStartReport, REPORT_VARIABLE, type StartReport } from '../../config/start-report.ts';
import { sleep } from '../../kernel/sleep.ts';
import { errorFromBody, EXIT, LoopsyError } from '../../protocol/errors.ts';
import type { Cli, Command, Commands } from '../cli.ts';
import { versionNote, type LocalNode } from '../connect.ts';
import { nextStep } from '../next-step.ts';
import { LOOPBACK } from '../one-socket.ts';
import { count, plain } from '../output.ts';
import { usageError } from '../parse.ts';
import { bringUp, findRunning, mustBeSetUp, sameReach, withHolder, type BroughtUp } from '../start.ts';
import { exitCodeOf } from '../run-stream.ts';
import { statusLines } from './status.ts';

const STOP_MS = 20_000;
const LOOK_AGAIN_MS = 25;

const start: Command = async (cli) => {
  const { invocation } = cli;
  if (invocation.has('lan') && invocation.has('local-only'))
    throw usageError('--lan and --local-only contradict each other');
  const args = ['lan', 'local-only'].filter((option) => invocation.has(option)).map((option) => `--${option}`);
  return invocation.has('foreground') ? runHere(cli, args) : showUp(cli, await bringUp(cli, args));
};

const showUp = async ({ out }: Cli, { node, wasUp, otherProgram }: BroughtUp): Promise<number> => {
  const status = await node.client.call('system.status', {});
  if (out.json) out.document(status);
  if (wasUp) out.print(`It was running already, as pid ${status.pid}.`);
  const skew = versionNote(node.health.version);
  if (skew !== undefined) out.note(skew);
  if (otherProgram !== undefined) out.note(`it runs from another installation: ${plain(otherProgram)}`);
  out.print(...statusLines(status, out.paint));
  if (!wasUp && status.peers.total === 0) out.print('', nextStep(status));
  return EXIT.ok;
};

/** The node as a child in this terminal: its output is shown, and what ends this command ends it. */
const runHere = async (cli: Cli, args: readonly string[]): Promise<number> => {
  const { io, paths, out } = cli;
  const running = await findRunning(cli);
  if (running !== undefined) return showUp(cli, { node: running, wasUp: true });
  mustBeSetUp(cli);
  const child = spawn(process.execPath, [...NODE_FLAGS, findNodeProgram(), '--foreground', ...args], {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env: { ...buildNodeEnvironment(io.env), ...NODE_VARIABLES, LOOPSY_DATA_DIR: paths.dataDir, [REPORT_VARIABLE]: '3' },
  });
  const reported = reportOf(child);
  // Ctrl-C reaches the node by itself: this command only has to outlive it.
  const releases = [io.onSignal('SIGINT', () => undefined)];
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) releases.push(io.onSignal(signal, () => child.kill(signal)));
  const ended = await new Promise<{ exitCode: number | null; signal?: string }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode, signal) => resolve({ exitCode, ...(signal === null ? {} : { signal }) }));
  }).finally(() => releases.forEach((release) => release()));
  const error = errorFromBody(await reported);
  if (error !== undefined) throw await withHolder(error, io.platform);
  if (ended.exitCode !== 0)
    out.note(
      `loopsy: the node ended ${ended.exitCode === null ? `by ${ended.signal ?? 'a signal'}` : `with code ${ended.exitCode}`}`,
    );
  return exitCodeOf(ended, io.platform);
};

/** What the node says of its start on the pipe that only this command reads; undefined where it says nothing. */
const reportOf = async (child: ChildProcess): Promise<StartReport | undefined> => {
  let text = '';
  // stdio[3] was asked for as a pipe, so that it is one.
  const pipe = child.stdio[3] as Readable | null;
  pipe?.on('error', () => undefined);
  for await (const piece of pipe?.setEncoding('utf8') ?? [])
    text = `${text}${String(piece)}`.slice(0, MAX_REPORT_BYTES);
  return parseStartReport(text.trim());
};

const stop: Command = async (cli) => {
  const node = await cli.node();
  const { pid, detached, held } = await takeDown(cli, node);
  if (cli.out.json) cli.out.document({ success: true, pid, detached, held });
  cli.out.print(`Stopped (pid ${pid}).`);
  if (detached > 0)
    cli.out.print(`${count(detached, 'detached job')} ${detached === 1 ? 'goes' : 'go'} on without it.`);
  if (held > 0)
    cli.out.print(`${count(held, 'detached job')} ${held === 1 ? 'waits' : 'wait'} for the next \`loopsy start\`.`);
  return EXIT.ok;
};

const restart: Command = async (cli) => {
  const node = await findRunning(cli);
  const reach = sameReach(cli);
  if (node !== undefined) await takeDown(cli, node);
  return showUp(cli, await bringUp(cli, reach));
};

/** Asks the node to stop and waits until it is down: socket, registration and process are gone. */
export const takeDown = async (
  cli: Cli,
  { client, registration }: LocalNode,
): Promise<{ pid: number; detached: number; held: number }> => {
  const { clock } = cli.io;
  const { pid, port, boot } = registration;
  const answer = await client.call('system.stop', {}).catch((thrown: unknown) => {
    // The node may be gone before its answer is: what is left of it says more.
    if (!(thrown instanceof LoopsyError) || thrown.error !== 'outcome_unknown') throw thrown;
    return undefined;
  });
  for (const end = clock.monotonicMs() + STOP_MS; clock.monotonicMs() < end; await sleep(LOOK_AGAIN_MS, clock)) {
    const isRegistered = readRegistration(cli.paths)?.boot === boot;
    if (!isRegistered && !isAlive(pid) && !(await answers(port))) {
      return { pid, detached: answer?.detached ?? 0, held: answer?.held ?? 0 };
    }
  }
  throw new LoopsyError('request_timeout', {
    message: `the node (pid ${pid}) was asked to stop and is still there after ${STOP_MS / 1000} s`,
    hint: '`loopsy logs --node` may say what it waits for',
    details: { pid, port },
  });
};

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0) && !isZombie(pid);
  } catch (thrown) {
    // ESRCH: gone. EPERM: alive, and another user's.
    return thrown instanceof Error && 'code' in thrown && thrown.code === 'EPERM';
  }
};

/** Ended, and not yet fetched by its parent: in a container without a proper init nobody ever does. */
const isZombie = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
  } catch {
    // No such file system, or gone this moment: the next look tells.
    return false;
  }
};

const answers = async (port: number): Promise<boolean> => {
  const socket = connect({ host: LOOPBACK, port, timeout: 1000 });
  const connected = await new Promise<boolean>((resolve) => {
    for (const event of ['connect', 'error', 'timeout']) socket.once(event, () => resolve(event === 'connect'));
  });
  socket.destroy();
  return connected;
};

export const commands: Commands = { start, stop, restart };
