import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import { TIMED_OUT, withTimeLimit } from './sleep.ts';

/** Something that runs between a start and a stop. */
export interface Service {
  readonly name: string;
  /** Resolves when the service works. Rejects, leaving nothing behind, where it can't or `signal` was aborted. */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves when nothing of the service is left. Called at most once. */
  stop(): Promise<void>;
}

/** How services are run. */
export interface RunOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** How long one service may take to stop, in ms, before the next one is stopped; default 5,000. */
  readonly stopLimitMs?: number;
  /** Ends a start that is under way. */
  readonly signal: AbortSignal;
}

/** Services that run. */
export interface RunningServices {
  /**
   * Stops all in reverse order. Never rejects; further calls get the first one's promise.
   * @returns the names of those whose stop threw or hung.
   */
  stop(): Promise<readonly string[]>;
}

/** A service could not be started; those before it were stopped again. `cause` is its own error. */
export class ServiceStartError extends Error {
  override readonly name = 'ServiceStartError';
  readonly service: string;

  constructor(service: string, cause: unknown) {
    super(`${service} could not be started: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.service = service;
  }
}

/**
 * Starts services one after the other.
 * @throws {ServiceStartError} where one can't start, or the signal is aborted; what was started has been stopped again.
 */
export const startServices = async (services: readonly Service[], options: RunOptions): Promise<RunningServices> => {
  const started: Service[] = [];
  for (const service of services) {
    try {
      options.signal.throwIfAborted();
      await service.start(options.signal);
      started.push(service);
    } catch (cause) {
      await stopInReverse(started, options);
      throw new ServiceStartError(service.name, cause);
    }
  }
  let stopping: Promise<readonly string[]> | undefined;
  return { stop: () => (stopping ??= stopInReverse(started, options)) };
};

const stopInReverse = async (started: readonly Service[], options: RunOptions): Promise<readonly string[]> => {
  const failed: string[] = [];
  for (const service of started.toReversed()) {
    if (!(await stopOne(service, options))) failed.push(service.name);
  }
  return failed;
};

const stopOne = async (service: Service, { clock, log, stopLimitMs = 5000 }: RunOptions): Promise<boolean> => {
  try {
    // The call stands inside an async function, so that a stop that throws at once is a rejection too.
    const ended = await withTimeLimit((async () => service.stop())(), stopLimitMs, clock);
    if (ended !== TIMED_OUT) return true;
    log.error('service stop hangs', { service: service.name, stopLimitMs });
  } catch (error) {
    log.error('service stop failed', { service: service.name, error });
  }
  return false;
};

/** A service that may be stopped before its turn. */
export const stopOnce = (service: Service): Service => {
  let stopped: Promise<void> | undefined;
  return { name: service.name, start: (signal) => service.start(signal), stop: () => (stopped ??= service.stop()) };
};

/** The service of what is ready when it is made, and has to be closed. */
export const closing = (name: string, it: { close(): void | Promise<void> }): Service => ({
  name,
  start: () => Promise.resolve(),
  stop: async () => it.close(),
});
