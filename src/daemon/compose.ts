import type { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';

import type { Config } from '../config/schema.ts';
import type { ConfigStore } from '../config/store.ts';
import type { NodePaths } from '../config/paths.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Service } from '../kernel/lifecycle.ts';
import type { Log } from '../kernel/log.ts';
import { answerChallenge } from '../kernel/token-proof.ts';
import { openStore } from '../store/engine.ts';
import type { Store } from '../store/store.ts';
import { type Caller, callerName } from '../trust/caller.ts';
import { guardCommand } from '../trust/command-guard.ts';
import type { Identity } from '../trust/identity.ts';
import { inspectLeaf, type Leaf } from '../trust/leaf.ts';
import { isLoopback } from '../trust/loopback.ts';
import { AgentTokens } from '../trust/tokens.ts';
import { TrustBook } from '../trust/pins.ts';
import { AuditLog } from './audit/log.ts';
import { auditHandlers } from './audit/handlers.ts';
import { bindAddresses } from './edge/bind-addresses.ts';
import type { Handlers } from './edge/call.ts';
import type { CallerSources, Refusal } from './edge/caller.ts';
import { EffectTable } from './edge/effects.ts';
import { Listener, type ListenerLimits, type ListenerOptions } from './edge/listener.ts';
import { OpenRequests } from './edge/open-requests.ts';
import type { EdgeParts } from './edge/parts.ts';
import { RateLimits } from './edge/rate-limit.ts';
import { createRouter } from './edge/router.ts';
import { jobHandlers } from './jobs/handlers.ts';
import { createJobs, type Jobs } from './jobs/service.ts';
import { keyHandlers } from './keys/handlers.ts';
import { Keys } from './keys/service.ts';
import { Forward } from './peers/forward.ts';
import { peerHandlers, requestHandlers } from './peers/handlers.ts';
import { RemoteObjects } from './peers/object-owners.ts';
import { Peers } from './peers/service.ts';
import { findShell } from './process/command-line.ts';
import { Revocation } from './revocation.ts';
import { settingsHandlers } from './settings/service.ts';
import type { DoctorParts } from './system/doctor.ts';
import { systemHandlers } from './system/handlers.ts';
import { System } from './system/service.ts';

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

/** A node, composed and not yet started. */
export interface ComposedNode {
  /** In the order of their start. */
  readonly services: readonly Service[];
  readonly system: System;
  readonly listener: Listener;
  /** Ends the runs that are under way, so that their callers hear why: the first step of a stop. */
  readonly quiesce: () => Promise<void>;
}

const storeService = (name: string, store: Store): Service => ({
  name,
  start: () => Promise.resolve(),
  stop: () => store.close(),
});

const jobSettings = ({ execution, jobs }: Config): ReturnType<Parameters<typeof createJobs>[0]['settings']> => ({
  maxConcurrent: execution.maxConcurrent,
  maxQueued: execution.maxQueued,
  defaultTimeoutMs: execution.defaultTimeout,
  maxOutputBytes: jobs.maxOutputBytes,
  keepDays: jobs.keepDays,
  env: execution.env,
});

const DAY_MS = 86_400_000;

const REFUSALS = { unknown: 'invalid_key', expired: 'expired_key', revoked: 'revoked' } as const;

const leaves = new WeakMap<X509Certificate, Leaf>();

/** What a certificate says, read once for each connection: reading it costs more than a request. */
const leafOf = (shown: X509Certificate): Leaf | undefined => {
  const leaf = leaves.get(shown) ?? inspectLeaf(shown);
  if (leaf !== undefined) leaves.set(shown, leaf);
  return leaf;
};

/** The peer that a certificate belongs to, with its grant as it is now. */
const peerCaller = (trust: TrustBook, leaf: Leaf): Caller | Refusal => {
  const found = trust.identify(leaf);
  if ('refused' in found) return REFUSALS[found.refused];
  const machine = trust.machine(found.machineId);
  return machine === undefined ? 'invalid_key' : { kind: 'peer', ...found, grant: machine.grant };
};

/**
 * Everything that a node is made of, made in this order. What is made sooner reaches what is made later through this
 * object, when it is first asked for it.
 */
class Parts {
  readonly options: NodeOptions;
  readonly store: Store;
  readonly trustStore: Store;
  readonly trust: TrustBook;
  readonly audit: AuditLog;
  readonly open = new OpenRequests();
  readonly effects: EffectTable;
  readonly agents: AgentTokens;
  readonly system: System;
  readonly jobs: Jobs;
  readonly peers: Peers;
  readonly owners: RemoteObjects;
  readonly keys: Keys;
  readonly sources: CallerSources;
  readonly listener: Listener;

  constructor(options: NodeOptions) {
    const { clock, paths } = options;
    this.options = options;
    this.store = this.#openStore(paths.database);
    this.trustStore = this.#openStore(paths.trustDatabase);
    this.trust = makeTrust(this);
    this.audit = makeAudit(this);
    this.effects = new EffectTable(clock);
    this.agents = new AgentTokens(clock);
    this.system = makeSystem(this);
    this.jobs = makeJobs(this);
    this.peers = makePeers(this);
    this.owners = new RemoteObjects(this.store, {
      clock,
      log: options.log,
      keepMs: () => options.config.current.jobs.keepDays * DAY_MS,
    });
    this.keys = makeKeys(this);
    this.sources = makeSources(this);
    this.listener = makeListener(this);
  }

  #openStore(file: string): Store {
    const { clock, log } = this.options;
    return openStore({ file, clock, log: log.child({ room: 'store' }) });
  }
}

const makeTrust = ({ options, trustStore }: Parts): TrustBook => {
  const { config, clock, log, identity } = options;
  return new TrustBook({
    store: trustStore,
    clock,
    ownCertificate: identity.machineCertificate,
    config: {
      current: () => ({ allowedKeys: config.current.auth.allowedKeys, pinnedCerts: config.current.tls.pinnedCerts }),
      onChange: (listener) => config.subscribe({ name: 'trust', commit: listener }),
    },
    report: (problem) => log.warn('trust record refused', { ...problem }),
  });
};

const makeAudit = (parts: Parts): AuditLog => {
  const { paths, clock, config } = parts.options;
  const peerIdOf = (reference: string): string | undefined => parts.peers.find(reference)?.nodeId;
  return new AuditLog({ file: paths.auditLog, clock, peerIdOf, ...config.current.audit });
};

const makeSystem = (parts: Parts): System => {
  const { identity, paths, clock, config } = parts.options;
  return new System({
    nodeId: identity.nodeId,
    fingerprint: identity.fingerprint,
    dataDir: paths.dataDir,
    clock,
    hostname: () => config.current.server.hostname,
    tlsEnabled: () => config.current.tls.enabled,
    port: () => parts.listener.port,
    listening: () => parts.listener.addresses,
    peers: () => parts.peers.counts(),
    jobs: () => parts.jobs.counts(),
    restartNeeded: () => config.restartNeeded,
    warnings: () => config.warnings,
  });
};

const makeJobs = ({ options, store, system }: Parts): Jobs => {
  const { config, clock, log, platform, variables, identity, home, shell } = options;
  const dialect = findShell({ platform, variables, exists: existsSync }).kind;
  return createJobs({
    store,
    dir: options.paths.jobsDir,
    settings: () => jobSettings(config.current),
    guardCommand: ({ command, args = [], shell: inShell = false }) => {
      const { denylist, allowlist } = config.current.execution;
      const wanted = { command, args, ...(inShell ? { shell: dialect } : {}) };
      return guardCommand(wanted, { denylist, allowlist, platform });
    },
    clock,
    log: log.child({ room: 'jobs' }),
    facts: () => ({ host: system.hostname, nodeId: identity.nodeId, user: system.user, home }),
    platform,
    variables,
    ...(shell === undefined ? {} : { shell }),
  });
};

const makePeers = ({ options, trust, store, system }: Parts): Peers => {
  const { identity, clock, log, boot, config } = options;
  return new Peers({
    identity,
    trust,
    store,
    clock,
    log: log.child({ room: 'peers' }),
    facts: () => system.facts(),
    boot,
    manualPeers: () => config.current.discovery.manualPeers,
  });
};

const makeKeys = ({ options, trust, agents }: Parts): Keys =>
  new Keys({
    trust,
    agents,
    ownerKey: () => options.config.current.auth.apiKey,
    replaceOwnerKey: async (key) => {
      await options.config.replaceApiKey(key);
    },
    startToken: options.startToken,
    agentSecret: options.agentSecret,
  });

const makeSources = ({ options, trust, keys }: Parts): CallerSources => ({
  certificate: (shown) => {
    const leaf = leafOf(shown);
    return leaf === undefined ? 'invalid_key' : peerCaller(trust, leaf);
  },
  token: (token, loopback) => keys.caller(token, loopback),
  plainAllowed: () => !options.config.current.tls.enabled,
});

const makeListener = ({ options, peers, sources }: Parts): Listener => {
  const { config, identity, clock, log, reach, limits } = options;
  const { host, port } = config.current.server;
  return new Listener({
    bindings: bindAddresses(reach === 'lan' ? '0.0.0.0' : host, reach === 'local-only'),
    port,
    identity: { key: identity.keyPem, cert: identity.certificatePem },
    isLoopback: options.isLoopback ?? ((remoteAddress, localAddress) => isLoopback({ remoteAddress, localAddress })),
    ...(limits === undefined ? {} : { limits }),
    isKnownAddress: (address) => peers.isKnownAddress(address),
    callerOf: (certificate) => {
      const caller = sources.certificate(certificate);
      return typeof caller === 'string' ? undefined : callerName(caller);
    },
    clock,
    log: log.child({ room: 'edge' }),
  });
};

const makeHandlers = (parts: Parts): Handlers => {
  const { options, open, effects, jobs, peers, keys, audit, system } = parts;
  return {
    ...systemHandlers(system, doctorParts(parts), options.onStop),
    ...peerHandlers(peers),
    ...requestHandlers([
      (caller, requestId) => open.cancel(caller, requestId),
      (caller, requestId) => effects.cancel(`${caller}\n${requestId}`, 'client-gone'),
      (caller, requestId) => jobs.leave(caller, requestId),
    ]),
    ...jobHandlers(jobs),
    ...keyHandlers(keys),
    ...settingsHandlers(options.config),
    ...auditHandlers(audit),
  };
};

const doctorParts = ({ options, peers }: Parts): DoctorParts => {
  const { paths, config, platform } = options;
  return {
    dataDir: paths.dataDir,
    privateFiles: [paths.config, paths.database, paths.trustDatabase, paths.privateKey, paths.registration],
    platform,
    tlsEnabled: () => config.current.tls.enabled,
    warnings: () => config.warnings,
    restartNeeded: () => config.restartNeeded,
    peers: () => peers.list(),
    ping: (nodeId) => peers.ping(nodeId),
  };
};

const makeEdge = (parts: Parts): EdgeParts => {
  const { options, peers, owners, keys, sources, audit, effects, open, jobs } = parts;
  const { clock, log, config, boot, identity } = options;
  const forward = new Forward({ way: (nodeId) => peers.way(nodeId), owners, clock });
  return {
    handlers: makeHandlers(parts),
    sources,
    forwarder: {
      resolve: (reference) => peers.resolve(reference),
      // A run of this node's own is never looked for elsewhere, whatever a peer may have called its runs.
      locate: (objectId) => (jobs.knows(objectId) ? undefined : owners.locate(objectId)),
      json: (request) => forward.json(request),
      stream: (request) => forward.stream(request),
    },
    owners,
    rates: new RateLimits(clock, () => config.current.rateLimits),
    audit,
    effects,
    open,
    boot,
    nodeId: identity.nodeId,
    prove: (challenge, localPort) => answerChallenge(challenge, { localPort, findHash: (id) => keys.hashByKeyId(id) }),
    clock,
    log: log.child({ room: 'edge' }),
  };
};

/** What follows a change of the settings beyond those who ask for them each time. */
const followConfig = ({ options, audit, jobs, peers }: Parts): void => {
  options.config.subscribe({
    name: 'node',
    commit: (next, previous) => {
      audit.setBounds(next.audit);
      jobs.refresh();
      if (next.server.hostname !== previous.server.hostname) peers.announce();
      if (!isDeepStrictEqual(next.discovery.manualPeers, previous.discovery.manualPeers)) peers.findManualPeers();
    },
  });
};

/** The ONLY place where services are made and wired. */
export const composeNode = (options: NodeOptions): ComposedNode => {
  const parts = new Parts(options);
  const { store, trustStore, trust, audit, open, effects, agents, jobs, peers, listener, system } = parts;
  listener.serve(createRouter(makeEdge(parts)));
  followConfig(parts);
  const runs = stopOnce(jobs);
  return {
    services: [
      storeService('database', store),
      storeService('trust database', trustStore),
      options.config,
      { name: 'trust', start: () => Promise.resolve(), stop: () => trust.close() },
      audit,
      runs,
      new Revocation({
        trust,
        open,
        effects,
        jobs,
        peers,
        agents,
        listener,
        log: options.log,
        now: () => options.clock.now(),
      }),
      listener,
      // It tells others where this node listens.
      peers,
    ],
    system,
    listener,
    quiesce: () => runs.stop(),
  };
};

/** A service that may be stopped before its turn. */
const stopOnce = (service: Service): Service => {
  let stopped: Promise<void> | undefined;
  return { name: service.name, start: (signal) => service.start(signal), stop: () => (stopped ??= service.stop()) };
};
