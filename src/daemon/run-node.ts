import { homedir } from 'node:os';

import { checkAccess } from '../config/check-access.ts';
import { diskFault } from '../config/disk-faults.ts';
import type { NodePaths } from '../config/paths.ts';
import { readRegistration } from '../config/read-registration.ts';
import { ensureAgentFile, removeLeftDrafts, removeRegistration, writeRegistration } from '../config/registration.ts';
import { reportStart } from '../config/start-report.ts';
import { type ConfigStore, openConfigStore } from '../config/store.ts';
import type { Clock } from '../kernel/clock.ts';
import { randomHex } from '../kernel/ids.ts';
import { ServiceStartError, startServices } from '../kernel/lifecycle.ts';
import type { Log } from '../kernel/log.ts';
import { ensurePrivateDir } from '../kernel/atomic-file.ts';
import { LoopsyError } from '../protocol/errors.ts';
import { VERSION } from '../protocol/version.ts';
import { acquireLock, type Lock } from '../store/lock.ts';
import { createIdentity } from '../trust/identity.ts';
import { newToken } from '../trust/tokens.ts';
import { composeNode, type ComposedNode } from './compose.ts';
import { ListenFailure } from './edge/bind-addresses.ts';
import { NodeLog } from './node-log.ts';

/** How a node is run. */
export interface RunOptions {
  readonly paths: NodePaths;
  readonly clock: Clock;
  /** The file of this program: it tells one installation from another. */
  readonly program: string;
  /** Also log to stderr. */
  readonly foreground: boolean;
  /** `LOOPSY_PORT`. */
  readonly port?: number;
  readonly reach?: 'local-only' | 'lan';
  readonly shell: string | undefined;
}

const STAY_ALIVE_MS = 3_600_000;

/** The reason in the words of the catalogue. */
export const fail = (thrown: unknown): LoopsyError => {
  const error = thrown instanceof ServiceStartError ? thrown.cause : thrown;
  if (error instanceof LoopsyError) return error;
  if (error instanceof ListenFailure) {
    const taken = error.code === 'EADDRINUSE';
    return new LoopsyError('conflict', {
      message: taken ? `port ${error.port} is taken` : error.message,
      hint: taken
        ? 'stop what uses it, or set server.port in config.yaml'
        : 'check server.host and server.port in config.yaml',
      details: { port: error.port, host: error.host, cause: error.code },
      cause: error,
    });
  }
  return diskFault(error) ?? unexpected(error);
};

const unexpected = (error: unknown): LoopsyError =>
  new LoopsyError('internal', {
    message: (error instanceof Error ? error.message : String(error)).trim().split('\n', 1)[0] ?? '',
    hint: '`loopsy logs --node` says more',
    cause: error,
  });

const takeLock = async (paths: NodePaths): Promise<Lock> => {
  await ensurePrivateDir(paths.dataDir);
  await checkAccess(paths);
  const lock = acquireLock(paths.nodeLock);
  if (lock !== undefined) return lock;
  const running = readRegistration(paths);
  throw new LoopsyError('conflict', {
    message: `a node already runs in ${paths.dataDir}${running === undefined ? '' : ` (pid ${running.pid}, ${running.url})`}`,
    hint: '`loopsy status` shows it',
    details: { running: true, ...(running === undefined ? {} : { pid: running.pid, url: running.url }) },
  });
};

const openLog = ({ paths, clock, foreground }: RunOptions): NodeLog =>
  new NodeLog({
    file: paths.nodeLog,
    clock,
    ...(foreground ? { echo: (line: string) => void process.stderr.write(line) } : {}),
  });

interface Running {
  readonly node: ComposedNode;
  readonly config: ConfigStore;
  readonly logging: NodeLog;
  readonly boot: string;
  readonly token: string;
}

const compose = async (options: RunOptions, logging: NodeLog, onStop: () => void): Promise<Running> => {
  const { paths, clock } = options;
  const source = { paths, ...(options.port === undefined ? {} : { port: options.port }) };
  const config = await openConfigStore({ source, clock, log: logging.log.child({ room: 'config' }) });
  await logging.follow(config);
  const identity = await createIdentity(paths.tlsDir);
  const { secret } = await ensureAgentFile(paths);
  const [boot, token] = [randomHex(8), newToken()];
  const node = composeNode({
    config,
    paths,
    identity,
    clock,
    log: logging.log,
    platform: process.platform,
    variables: process.env,
    home: homedir(),
    startToken: token,
    agentSecret: secret,
    boot,
    onStop,
    ...(options.shell === undefined ? {} : { shell: options.shell }),
    ...(options.reach === undefined ? {} : { reach: options.reach }),
  });
  return { node, config, logging, boot, token };
};

const register = async ({ node, config, boot, token }: Running, options: RunOptions): Promise<string> => {
  const { port } = node.listener;
  const url = `http://127.0.0.1:${port}`;
  await writeRegistration(options.paths, {
    url,
    host: config.current.server.host,
    port,
    pid: process.pid,
    version: VERSION,
    token,
    nodeId: node.system.facts().nodeId,
    boot,
    startedAt: options.clock.now(),
    program: options.program,
    user: node.system.user,
    ...(options.reach === undefined ? {} : { reach: options.reach }),
  });
  return url;
};

/** What is left of writes that were cut off by a kill is cleared away; where that fails, a node runs as well. */
const clearDrafts = async ({ paths, clock }: RunOptions, { log }: NodeLog): Promise<void> => {
  try {
    const removed = await removeLeftDrafts(paths, clock);
    if (removed > 0) log.info('drafts of killed writers removed', { removed });
  } catch (error) {
    log.warn('drafts of killed writers not removed', { error });
  }
};

/** What went wrong outside of every request is written down; the node ends in order rather than go on damaged. */
const watchFaults = (log: Log, stop: () => Promise<void>): void => {
  const onFault = (kind: string, error: unknown): void => {
    log.error(kind, { error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    process.exitCode = 1;
    void stop();
  };
  process.on('uncaughtException', (error) => onFault('uncaught exception', error));
  process.on('unhandledRejection', (error) => onFault('unhandled rejection', error));
};

/**
 * Starts a node in this process. Resolves when it answers, with the way to stop it.
 * @throws what kept it from starting; nothing is left behind then. `fail` puts it into words.
 */
export const runNode = async (options: RunOptions): Promise<() => Promise<void>> => {
  const { paths, clock } = options;
  const lock = await takeLock(paths);
  // A commit that is waited for keeps no process alive: without this, a node could end in the middle of its start.
  const alive = setInterval(() => undefined, STAY_ALIVE_MS);
  const logging = openLog(options);
  const undo: (() => Promise<unknown> | void)[] = [() => lock.release(), () => logging.close()];
  let stopNode: () => Promise<void> = () => Promise.resolve();
  try {
    await clearDrafts(options, logging);
    // The answer to the one who asks for the stop leaves first.
    const running = await compose(options, logging, () => void setImmediate(() => void stopNode()));
    const signal = new AbortController().signal;
    const services = await startServices(running.node.services, { clock, log: logging.log, signal });
    undo.push(
      () => logging.log.info('node stopped', {}),
      () => removeRegistration(paths, running.boot),
      () => services.stop(),
      () => running.node.quiesce(),
    );
    stopNode = once(async () => {
      logging.log.info('node stopping', {});
      await undoAll(undo, logging.log);
      process.exit();
    });
    watchFaults(logging.log, stopNode);
    const url = await register(running, options);
    logging.log.info('node started', { url, version: VERSION, pid: process.pid });
    reportStart({ ready: true, url, pid: process.pid });
    return stopNode;
  } catch (error) {
    logging.log.error('node not started', { error: fail(error).message });
    await undoAll(undo, logging.log);
    clearInterval(alive);
    throw error;
  }
};

/** Undoes the steps of a start, the last one first. One that fails is written down and skips none. */
const undoAll = async (steps: readonly (() => Promise<unknown> | void)[], log: Log): Promise<void> => {
  for (const step of [...steps].reverse()) {
    try {
      await step();
    } catch (error) {
      log.error('a step of the stop failed', { error: error instanceof Error ? error.message : String(error) });
    }
  }
};

const once = (run: () => Promise<void>): (() => Promise<void>) => {
  let running: Promise<void> | undefined;
  return () => (running ??= run());
};
