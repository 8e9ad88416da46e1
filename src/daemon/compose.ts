import { existsSync } from 'node:fs';
import { closing, type Service, stopOnce } from '../kernel/lifecycle.ts';
import { ownNames, slugOf } from '../protocol/names.ts';
import { openStore } from '../store/engine.ts';
import type { Store } from '../store/store.ts';
import { callerName, storedCaller } from '../trust/caller.ts';
import { guardCommand } from '../trust/command-guard.ts';
import { AgentTokens } from '../trust/tokens.ts';
import { TrustBook } from '../trust/pins.ts';
import { AuditLog } from './audit/log.ts';
import { callerSources } from './caller-sources.ts';
import { recordMalformed } from './edge/audit-hook.ts';
import type { CallerSources } from './edge/caller.ts';
import { Leases } from './context/leases.ts';
import { Context } from './context/service.ts';
import { carrierOf } from './carrier.ts';
import { EventBus } from './events/bus.ts';
import { EffectTable } from './edge/effects.ts';
import { Listener } from './edge/listener.ts';
import { OpenRequests } from './edge/open-requests.ts';
import { createRouter } from './edge/router.ts';
import { createJobs, type Jobs } from './jobs/service.ts';
import { Keys } from './keys/service.ts';
import {
  jobSettings,
  listenerOptions,
  type NodeOptions,
  ownerKeyChanges,
  trustConfig,
  transferSettings,
} from './node-options.ts';
import { Forward } from './peers/forward.ts';
import { RemoteObjects } from './peers/object-owners.ts';
import { reachableAddresses } from './peers/look.ts';
import { Messages } from './messages/service.ts';
import { Peers } from './peers/service.ts';
import { Pairing } from './pairing/service.ts';
import { findShell } from './process/command-line.ts';
import { Revocation } from './revocation.ts';
import { Transfers } from './transfers/service.ts';
import { Metrics } from './system/metrics.ts';
import { trustStoreOf } from './storage/disk-errors.ts';
import { System } from './system/service.ts';
import { trustNotes, warningsOf } from './system/trust-notes.ts';
import { followConfig, makeEdge } from './wiring.ts';

/** A node, composed and not yet started. */
export interface ComposedNode {
  /** In the order of their start. */
  readonly services: readonly Service[];
  readonly system: System;
  readonly listener: Listener;
  /** Ends the runs that are under way, so that their callers hear why: the first step of a stop. */
  readonly quiesce: () => Promise<void>;
}

const DAY_MS = 86_400_000;

/**
 * Everything that a node is made of, made in this order. What is made sooner reaches what is made later through this
 * object, when it is first asked for it.
 */
export class Parts {
  readonly options: NodeOptions;
  readonly store: Store;
  readonly trustStore: Store;
  readonly trust: TrustBook;
  readonly audit: AuditLog;
  readonly metrics = new Metrics();
  readonly open = new OpenRequests();
  readonly events: EventBus;
  readonly effects: EffectTable;
  readonly agents: AgentTokens;
  readonly system: System;
  readonly jobs: Jobs;
  readonly peers: Peers;
  readonly pairing: Pairing;
  readonly owners: RemoteObjects;
  readonly forward: Forward;
  readonly transfers: Transfers;
  readonly context: Context;
  readonly leases: Leases;
  readonly messages: Messages;
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
    this.events = new EventBus(clock);
    this.effects = new EffectTable(clock);
    this.agents = new AgentTokens(clock);
    this.system = makeSystem(this);
    this.jobs = makeJobs(this);
    this.peers = makePeers(this);
    this.pairing = makePairing(this);
    this.owners = new RemoteObjects(this.store, {
      clock,
      log: options.log,
      keepMs: () => options.config.current.jobs.keepDays * DAY_MS,
    });
    this.forward = new Forward({ way: (nodeId) => this.peers.way(nodeId), owners: this.owners, clock });
    this.transfers = makeTransfers(this);
    this.context = makeContext(this);
    const peerName = (machineId: string): string | undefined => this.peers.registry.find(machineId)?.name;
    const hostname = (): string => this.system.hostname;
    this.leases = new Leases({ store: this.store, clock, events: this.events, hostname, peerName });
    this.messages = makeMessages(this);
    this.keys = makeKeys(this);
    this.sources = callerSources({
      trust: this.trust,
      keys: this.keys,
      plainAllowed: () => !options.config.current.tls.enabled,
    });
    this.listener = makeListener(this);
  }

  #openStore(file: string): Store {
    const { clock, log } = this.options;
    return openStore({ file, clock, log: log.child({ room: 'store' }) });
  }
}

const makeTrust = (parts: Parts): TrustBook => {
  const { config, clock, log, identity } = parts.options;
  return new TrustBook({
    store: trustStoreOf(parts.trustStore),
    clock,
    ownNames: () => ownNames(parts.system.hostname),
    ownCertificate: identity.machineCertificate,
    config: trustConfig(config),
    report: (problem) => log.warn('trust record refused', { ...problem }),
  });
};

const makeAudit = (parts: Parts): AuditLog => {
  const { paths, clock, config } = parts.options;
  const peerIdOf = (reference: string): string | undefined => parts.peers.registry.find(reference)?.nodeId;
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
    addresses: () => reachableAddresses(parts.listener.addresses, parts.listener.port),
    peers: () => parts.peers.registry.counts(),
    jobs: () => parts.jobs.counts(),
    context: () => ({ entries: parts.context.entries }),
    messages: () => ({ unread: parts.messages.unread }),
    restartNeeded: () => config.restartNeeded,
    warnings: () => [...config.warnings, ...warningsOf(trustNotes(parts.trust))],
  });
};

const makeJobs = ({ options, store, system }: Parts): Jobs => {
  const { config, clock, log, platform, variables, identity, home, shell } = options;
  const dialect = findShell({ platform, variables, exists: existsSync }).kind;
  return createJobs({
    store,
    dir: options.paths.jobsDir,
    supervisorsDir: options.paths.supervisorsDir,
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

const makeTransfers = (parts: Parts): Transfers => {
  const { options, store, system, trust, peers } = parts;
  return new Transfers({
    ...transferSettings(options),
    store,
    here: () => ({ name: slugOf(system.hostname), nodeId: options.identity.nodeId }),
    peer: (nodeId) => peers.registry.find(nodeId),
    forward: parts.forward,
    events: parts.events,
    callerOf: (name) => storedCaller(name, { agentGrant: trust.agentGrant, keys: trust.keys() }),
  });
};

const makeContext = ({ options, store, events }: Parts): Context =>
  new Context({
    store,
    clock: options.clock,
    nodeId: options.identity.nodeId,
    events,
    limits: () => options.config.current.context,
  });

const makeMessages = (parts: Parts): Messages => {
  const { options, store, events, peers, trust, agents, system } = parts;
  return new Messages({
    store,
    clock: options.clock,
    log: options.log.child({ room: 'messages' }),
    events,
    settings: () => options.config.current.messages,
    names: {
      nodeId: options.identity.nodeId,
      own: () => slugOf(system.hostname),
      nameOf: (nodeId) => trust.machine(nodeId)?.name,
      resolve: (name) => peers.registry.resolve(name),
    },
    carrier: carrierOf({ peers: () => peers, trust }),
    peers: () => peers.registry.list().filter(({ trusted }) => trusted),
    labels: () => agents.labels(),
  });
};

const makePeers = (parts: Parts): Peers => {
  const { options, trust, store, system } = parts;
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
    onContact: (nodeId) => {
      parts.pairing.contact(nodeId);
      parts.messages.contact(nodeId);
    },
    // Who reads nothing any more is told from one who has paused by being silent altogether.
    onSilence: (nodeId) =>
      parts.listener.destroySockets((_, caller) => caller === `peer:${nodeId}`, { only: 'stalled' }),
  });
};

const makePairing = (parts: Parts): Pairing => {
  const { options, trust, peers, system } = parts;
  const { identity, clock, log } = options;
  return new Pairing({
    trust,
    peers,
    clock,
    log: log.child({ room: 'pairing' }),
    addresses: () => system.addresses,
    own: () => {
      const { hostname, port, version, capabilities } = system.facts();
      return {
        certificate: identity.machineCertificate,
        privateKey: identity.privateKey,
        machineId: identity.machineId,
        name: slugOf(hostname),
        port,
        version,
        features: capabilities,
      };
    },
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
    now: () => options.clock.now(),
  });

const makeListener = ({ options, peers, pairing, sources }: Parts): Listener =>
  new Listener({
    ...listenerOptions(options),
    isKnownAddress: (address) => peers.isKnownAddress(address) || pairing.meets(address),
    callerOf: (certificate) => {
      const caller = sources.certificate(certificate);
      return typeof caller === 'string' ? undefined : callerName(caller);
    },
    clock: options.clock,
    log: options.log.child({ room: 'edge' }),
  });

/** The ONLY place where services are made and wired. */
export const composeNode = (options: NodeOptions): ComposedNode => {
  const parts = new Parts(options);
  const {
    store,
    trustStore,
    trust,
    audit,
    events,
    open,
    effects,
    agents,
    jobs,
    transfers,
    context,
    leases,
    messages,
    peers,
    listener,
    system,
  } = parts;
  const edge = makeEdge(parts);
  listener.serve(createRouter(edge), recordMalformed(edge));
  followConfig(parts);
  const runs = stopOnce(jobs);
  return {
    services: [
      closing('database', store),
      closing('trust database', trustStore),
      options.config,
      closing('trust', trust),
      audit,
      parts.metrics,
      events,
      runs,
      context,
      leases,
      messages,
      transfers,
      new Revocation({
        trust,
        open,
        effects,
        jobs,
        transfers,
        leases,
        messages,
        peers,
        agents,
        listener,
        keys: parts.keys,
        onOwnerKey: (listener) => ownerKeyChanges(options.config, listener),
        clock: options.clock,
        log: options.log,
      }),
      listener,
      // It tells others where this node listens.
      peers,
      parts.pairing,
    ],
    system,
    listener,
    quiesce: () => runs.stop(),
  };
};
