import { existsSync } from 'node:fs';

import { readRegistration } from '../config/read-registration.ts';
import { findNodeProgram, startNode } from '../config/start-node.ts';
import { sleep } from '../kernel/sleep.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { BASE_PATH } from '../protocol/version.ts';
import type { Cli } from './cli.ts';
import { connectNode, type LocalNode } from './connect.ts';
import { OneSocket } from './one-socket.ts';
import { asError } from './output.ts';
import { findHolder } from './port-holder.ts';

/** How long another start of the same node may take. */
const OTHER_START_MS = 15_000;
const LOOK_AGAIN_MS = 50;
const PROBE_MS = 2000;

/** A node that answers, and whether it was up before. */
export interface BroughtUp {
  readonly node: LocalNode;
  readonly wasUp: boolean;
  /** Where the node runs from, if that is another installation than this one. */
  readonly otherProgram?: string;
}

/** The running node, asked by its own token; undefined where it is down. */
export const findRunning = async ({ paths, out }: Cli): Promise<LocalNode | undefined> => {
  const registration = readRegistration(paths);
  if (registration === undefined) return undefined;
  try {
    return await connectNode({ registration, apiKey: undefined, note: out.note });
  } catch (thrown) {
    if (thrown instanceof LoopsyError && thrown.error === 'node_not_running') return undefined;
    throw thrown;
  }
};

/** A node that comes back listens where it did: what a start said of it, be it killed since, is said again. */
export const sameReach = ({ paths }: Cli): string[] => {
  const reach = readRegistration(paths)?.reach;
  return reach === undefined ? [] : [`--${reach}`];
};

/** Says what to do where this machine has not been set up. */
export const mustBeSetUp = ({ paths }: Cli): void => {
  if (existsSync(paths.config)) return;
  throw new LoopsyError('config_invalid', {
    message: `loopsy is not set up here: there is no ${paths.config}`,
    hint: '`loopsy up` sets it up and starts it; `loopsy init` sets it up',
    details: { file: paths.config },
  });
};

/** Starts the node where it isn't up; of several starts at once one wins, and all find the same node. */
export const bringUp = async (cli: Cli, args: readonly string[] = []): Promise<BroughtUp> => {
  const running = await findRunning(cli);
  if (running !== undefined) return up(running);
  mustBeSetUp(cli);
  try {
    await startNode({ dataDir: cli.paths.dataDir, args, env: cli.io.env, clock: cli.io.clock });
  } catch (thrown) {
    const error = asError(thrown);
    const named = await withHolder(error, cli.io.platform);
    const other = named === error && error.error === 'conflict' ? await waitForOther(cli) : undefined;
    if (other === undefined) throw named;
    return up(other);
  }
  const node = await findRunning(cli);
  if (node === undefined)
    throw new LoopsyError('node_not_running', {
      message: 'the node started, and is gone again',
      hint: '`loopsy logs --node` may say why',
    });
  return { node, wasUp: false };
};

const up = (node: LocalNode): BroughtUp => {
  const { program } = node.registration;
  return { node, wasUp: true, ...(program === findNodeProgram() ? {} : { otherProgram: program }) };
};

const waitForOther = async (cli: Cli): Promise<LocalNode | undefined> => {
  const { clock } = cli.io;
  for (const end = clock.monotonicMs() + OTHER_START_MS; clock.monotonicMs() < end; await sleep(LOOK_AGAIN_MS, clock)) {
    const other = await findRunning(cli);
    if (other !== undefined) return other;
  }
  return undefined;
};

/** Why a node did not start; where its port is taken, by whom. */
export const withHolder = async (error: LoopsyError, platform: NodeJS.Platform): Promise<LoopsyError> => {
  const port = error.details?.['port'];
  if (typeof port !== 'number' || (error.details?.['cause'] ?? 'EADDRINUSE') !== 'EADDRINUSE') return error;
  return new LoopsyError(error.error, {
    message: `port ${port} is taken by ${await holderOf(port, platform)}`,
    hint: 'stop that, or set another server.port in config.yaml',
    details: error.details ?? {},
    cause: error,
  });
};

/** Who answers on a port of this machine. Nothing but a question for its health is sent. */
const holderOf = async (port: number, platform: NodeJS.Platform): Promise<string> =>
  (await otherNode(port)) ?? (await findHolder(port, platform)) ?? 'another program';

const otherNode = async (port: number): Promise<string | undefined> => {
  const connection = new OneSocket(port);
  try {
    const signal = AbortSignal.timeout(PROBE_MS);
    const response = await connection.exchange({ method: 'GET', path: `${BASE_PATH}/health`, headers: {}, signal });
    let text = '';
    for await (const chunk of response.body) text = (text + Buffer.from(chunk).toString()).slice(0, 4096);
    const health: unknown = JSON.parse(text);
    if (typeof health !== 'object' || health === null || !('nodeId' in health) || !('version' in health))
      return undefined;
    return `another loopsy node (${String(health.nodeId)}, ${String(health.version)}): another user's, or one with another data folder`;
  } catch {
    // Whatever it is, it does not speak as a node does; it may listen on another address.
    return undefined;
  } finally {
    connection.close();
  }
};
