import type { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';

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

/** The ONLY place where services are made and wired. */
export const composeNode = (options: NodeOptions): ComposedNode => {
  const { config, paths, identity, clock, log } = options;
  const store = openStore({ file: paths.database, clock, log: log.child({ room: 'store' }) });
  const trustStore = openStore({ file: paths.trustDatabase, clock, log: log.child({ room: 'store' }) });
  const trust = new TrustBook({
    store: trustStore,
    clock,
    ownCertificate: identity.machineCertificate,
    config: {
      current: () => ({ allowedKeys: config.current.auth.allowedKeys, pinnedCerts: config.current.tls.pinnedCerts }),
      onChange: (listener) => config.subscribe({ name: 'trust', commit: listener }),
    },
    report: (problem) => log.warn('trust record refused', { ...problem }),
  });
  const audit = new AuditLog({
    file: paths.auditLog,
    clock,
    peerIdOf: (reference) => peers.resolve(reference)?.nodeId,
    ...config.current.audit,
  });
  const open = new OpenRequests();
  const effects = new EffectTable(clock);
  const agents = new AgentTokens(clock);
  const rates = new RateLimits(clock, () => config.current.rateLimits);

  const system: System = new System({
    nodeId: identity.nodeId,
    fingerprint: identity.fingerprint,
    dataDir: paths.dataDir,
    clock,
    hostname: () => config.current.server.hostname,
    tlsEnabled: () => config.current.tls.enabled,
    port: () => listener.port,
    listening: () => listener.addresses,
    peers: () => peers.counts(),
    jobs: () => jobs.counts(),
    restartNeeded: () => config.restartNeeded,
    warnings: () => config.warnings,
  });
  const dialect = findShell({ platform: options.platform, variables: options.variables, exists: existsSync }).kind;
  const jobs: Jobs = createJobs({
    store,
    dir: paths.jobsDir,
    settings: () => jobSettings(config.current),
    guardCommand: ({ command, args = [], shell = false }) => {
      const { denylist, allowlist } = config.current.execution;
      const wanted = { command, args, ...(shell ? { shell: dialect } : {}) };
      return guardCommand(wanted, { denylist, allowlist, platform: options.platform });
    },
    clock,
    log: log.child({ room: 'jobs' }),
    facts: () => ({ host: system.hostname, nodeId: identity.nodeId, user: system.user, home: options.home }),
    platform: options.platform,
    variables: options.variables,
    ...(options.shell === undefined ? {} : { shell: options.shell }),
  });
  const peers: Peers = new Peers({
    identity,
    trust,
    store,
    clock,
    log: log.child({ room: 'peers' }),
    facts: () => system.facts(),
    boot: options.boot,
    manualPeers: () => config.current.discovery.manualPeers,
  });
  const owners = new RemoteObjects(store, clock, () => config.current.jobs.keepDays * DAY_MS);
  const forward = new Forward({ way: (nodeId) => peers.way(nodeId), owners, clock });
  const keys = new Keys({
    trust,
    agents,
    ownerKey: () => config.current.auth.apiKey,
    replaceOwnerKey: async (key) => {
      await config.replaceApiKey(key);
    },
    startToken: options.startToken,
    agentSecret: options.agentSecret,
  });
  const sources: CallerSources = {
    certificate: (shown) => {
      const leaf = leafOf(shown);
      return leaf === undefined ? 'invalid_key' : peerCaller(trust, leaf);
    },
    token: (token, loopback) => keys.caller(token, loopback),
    plainAllowed: () => !config.current.tls.enabled,
  };
  const listener: Listener = new Listener({
    bindings: bindAddresses(
      options.reach === 'lan' ? '0.0.0.0' : config.current.server.host,
      options.reach === 'local-only',
    ),
    port: config.current.server.port,
    identity: { key: identity.keyPem, cert: identity.certificatePem },
    isLoopback: options.isLoopback ?? ((remoteAddress, localAddress) => isLoopback({ remoteAddress, localAddress })),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    isKnownAddress: (address) => peers.isKnownAddress(address),
    callerOf: (certificate) => {
      const caller = sources.certificate(certificate);
      return typeof caller === 'string' ? undefined : callerName(caller);
    },
    clock,
    log: log.child({ room: 'edge' }),
  });
  const handlers: Handlers = {
    ...systemHandlers(system, doctorParts(), options.onStop),
    ...peerHandlers(peers),
    ...requestHandlers([
      (caller, requestId) => open.cancel(caller, requestId),
      (caller, requestId) => effects.cancel(`${caller}\n${requestId}`, 'client-gone'),
      (caller, requestId) => jobs.leave(caller, requestId),
    ]),
    ...jobHandlers(jobs),
    ...keyHandlers(keys),
    ...settingsHandlers(config),
    ...auditHandlers(audit),
  };
  const edge: EdgeParts = {
    handlers,
    sources,
    forwarder: {
      resolve: (reference) => peers.resolve(reference),
      locate: (objectId) => owners.locate(objectId),
      json: (request) => forward.json(request),
      stream: (request) => forward.stream(request),
    },
    owners,
    rates,
    audit,
    effects,
    open,
    boot: options.boot,
    nodeId: identity.nodeId,
    prove: (challenge, localPort) => answerChallenge(challenge, { localPort, findHash: (id) => keys.hashByKeyId(id) }),
    clock,
    log: log.child({ room: 'edge' }),
  };
  const jobsService = stopOnce(jobs);
  listener.serve(createRouter(edge));
  const revocation = new Revocation({
    trust,
    open,
    effects,
    jobs,
    peers,
    agents,
    listener,
    log,
    now: () => clock.now(),
  });
  config.subscribe({
    name: 'node',
    commit: (next, previous) => {
      audit.setBounds(next.audit);
      jobs.refresh();
      if (next.server.hostname !== previous.server.hostname) peers.announce();
    },
  });
  return {
    services: [
      storeService('database', store),
      storeService('trust database', trustStore),
      config,
      { name: 'trust', start: () => Promise.resolve(), stop: () => trust.close() },
      audit,
      jobsService,
      revocation,
      listener,
      // It tells others where this node listens.
      peers,
    ],
    system,
    listener,
    quiesce: () => jobsService.stop(),
  };

  function doctorParts(): Parameters<typeof systemHandlers>[1] {
    return {
      dataDir: paths.dataDir,
      privateFiles: [paths.config, paths.database, paths.trustDatabase, paths.privateKey, paths.registration],
      platform: options.platform,
      tlsEnabled: () => config.current.tls.enabled,
      warnings: () => config.warnings,
      restartNeeded: () => config.restartNeeded,
      peers: () => peers.list(),
      ping: (nodeId) => peers.ping(nodeId),
    };
  }
};

/** A service that may be stopped before its turn. */
const stopOnce = (service: Service): Service => {
  let stopped: Promise<void> | undefined;
  return { name: service.name, start: (signal) => service.start(signal), stop: () => (stopped ??= service.stop()) };
};
