import type { Config } from '../config/schema.ts';
import type { NodePaths } from '../config/paths.ts';
import type { ConfigStore } from '../config/store.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Log } from '../kernel/log.ts';
import type { Identity } from '../trust/identity.ts';
import { isLoopback } from '../trust/loopback.ts';
import type { LiveTrustConfig } from '../trust/trust-ledger.ts';
import { bindAddresses } from './edge/bind-addresses.ts';
import type { ListenerLimits, ListenerOptions } from './edge/listener.ts';
import type { createJobs } from './jobs/service.ts';
import type { TransfersOptions } from './transfers/service.ts';
import type { DoctorParts } from './system/doctor.ts';

/** What a node is composed of; everything that differs between a test and a machine comes in here. */
export interface NodeOptions {
  readonly config: ConfigStore;
  readonly paths: NodePaths;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly log: Log;
  readonly platform: NodeJS.Platform;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly shell?: string;
  /** `start --local-only` or `--lan`: instead of config `server.host`, for this start. */
  readonly reach?: 'local-only' | 'lan';
  /** The token of this start, which the registration holds. */
  readonly startToken: string;
  readonly agentSecret: string;
  /** New at each start. */
  readonly boot: string;
  /** Which addresses are this machine's own. Default: loopback. */
  readonly isLoopback?: ListenerOptions['isLoopback'];
  /** Instead of the limits of the port that a machine has. */
  readonly limits?: Partial<ListenerLimits>;
  /** Called when a caller asked the node to stop; the answer has left. */
  readonly onStop: () => void;
}

/** The settings of runs, as they stand in the config. */
export const jobSettings = ({ execution, jobs }: Config): ReturnType<Parameters<typeof createJobs>[0]['settings']> => ({
  maxConcurrent: execution.maxConcurrent,
  maxQueued: execution.maxQueued,
  defaultTimeoutMs: execution.defaultTimeout,
  maxOutputBytes: jobs.maxOutputBytes,
  keepDays: jobs.keepDays,
  env: execution.env,
});

/** What transfers take from the machine and from the config, as it stands at each moment. */
export const transferSettings = ({
  config,
  clock,
  log,
  platform,
  home,
  paths,
  boot,
}: NodeOptions): Omit<TransfersOptions, 'store' | 'here' | 'peer' | 'forward' | 'events' | 'callerOf'> => ({
  clock,
  log: log.child({ room: 'transfers' }),
  platform,
  home,
  boot,
  journalDir: paths.transfersDir,
  alwaysDenied: [paths.dataDir],
  rules: () => {
    const { allowedPaths, deniedPaths, maxFileSize } = config.current.transfer;
    return { allowed: allowedPaths, denied: deniedPaths, maxFileSize };
  },
  keepDays: () => config.current.jobs.keepDays,
});

/** The part of the config that trusts. */
export const trustConfig = (config: ConfigStore): LiveTrustConfig => ({
  current: () => ({ allowedKeys: config.current.auth.allowedKeys, pinnedCerts: config.current.tls.pinnedCerts }),
  onChange: (listener) => config.subscribe({ name: 'trust', commit: listener }),
});

/** Calls `listener` when the owner's key is another one. Returns the way to stop that. */
export const ownerKeyChanges = (config: ConfigStore, listener: () => void): (() => void) =>
  config.subscribe({
    name: 'revocation',
    commit: (next, previous) => {
      if (next.auth.apiKey !== previous.auth.apiKey) listener();
    },
  });

/** Where to listen, as whom, and within which limits. */
export const listenerOptions = ({
  config,
  identity,
  reach,
  limits,
  ...options
}: NodeOptions): Pick<ListenerOptions, 'bindings' | 'port' | 'identity' | 'isLoopback' | 'limits'> => {
  const { host, port } = config.current.server;
  return {
    bindings: bindAddresses(reach === 'lan' ? '0.0.0.0' : host, reach === 'local-only'),
    port,
    identity: { key: identity.keyPem, cert: identity.certificatePem },
    isLoopback: options.isLoopback ?? ((remoteAddress, localAddress) => isLoopback({ remoteAddress, localAddress })),
    ...(limits === undefined ? {} : { limits }),
  };
};

/** What the node's own checks look at on this machine. */
export const checkedFiles = ({
  paths,
  platform,
}: NodeOptions): Pick<DoctorParts, 'dataDir' | 'privateFiles' | 'platform' | 'nodeVersion'> => ({
  dataDir: paths.dataDir,
  privateFiles: [paths.config, paths.database, paths.trustDatabase, paths.privateKey, paths.registration],
  platform,
  nodeVersion: process.version,
});
