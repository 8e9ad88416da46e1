import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { nodePaths, type NodePaths } from '../../src/config/paths.ts';
import { openConfigStore } from '../../src/config/store.ts';
import { composeNode, type ComposedNode } from '../../src/daemon/compose.ts';
import type { NodeOptions } from '../../src/daemon/node-options.ts';
import { ensurePrivateDir } from '../../src/kernel/atomic-file.ts';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import { startServices } from '../../src/kernel/lifecycle.ts';
import { createLog } from '../../src/kernel/log.ts';
import { openStore } from '../../src/store/engine.ts';
import { createIdentity, type Identity } from '../../src/trust/identity.ts';
import { TrustBook } from '../../src/trust/pins.ts';
import { newToken } from '../../src/trust/tokens.ts';
import { type Answer, ask, type Asking } from './ask.ts';
import { FakeClock } from './clock.ts';

/** What a test decides about its node. */
export interface InProcessOptions {
  /** Its hostname. */
  readonly name?: string;
  /** Sections of its config. */
  readonly config?: Record<string, unknown>;
  /** Writes trust before the node starts; `past` writes as somebody did two days ago. */
  readonly seed?: (now: TrustBook, past: TrustBook) => Promise<void>;
  /** Addresses of 127/8 other than 127.0.0.1 are another machine's: what comes from them comes from the LAN. */
  readonly lan?: boolean;
  readonly limits?: NodeOptions['limits'];
  readonly clock?: Clock;
}

/** A real node in this process: real files, sockets, keys and stores. */
export interface InProcessNode {
  readonly port: number;
  /** This start of it. */
  readonly boot: string;
  readonly paths: NodePaths;
  readonly identity: Identity;
  readonly composed: ComposedNode;
  /** The owner's key of the config, the token of this start, and the secret of the machine's agents. */
  readonly tokens: { readonly owner: string; readonly start: string; readonly agent: string };
  /** What the node logged, as JSON lines. */
  readonly logged: string[];
  /** How often a caller asked it to stop. */
  readonly stopsAsked: () => number;
  ask(asking: Asking): Promise<Answer>;
  /** As its owner, on loopback. @throws where the answer is not 200. */
  owner<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T>;
  /** All audit records so far. */
  audit(): Promise<Record<string, unknown>[]>;
  /** Stops it; its files stay until `remove`. */
  stop(): Promise<void>;
  remove(): Promise<void>;
}

const DAYS_AGO_MS = 2 * 86_400_000;
/** So that no test waits for what bounds strangers. */
const ROOMY = {
  perStranger: 10_000,
  strangers: 10_000,
  known: 10_000,
  perKnown: 10_000,
  loopback: 10_000,
  handshakesPerSecond: 1_000_000,
};

/** Loopback without the part of it that plays the network. */
const ownAddresses = new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1']);
const withoutLan = (remote: string | undefined, local: string | undefined): boolean =>
  ownAddresses.has(remote ?? '') && ownAddresses.has(local ?? '');

const sow = async (paths: NodePaths, identity: Identity, seed: InProcessOptions['seed']): Promise<void> => {
  if (seed === undefined) return;
  const log = createLog({ level: 'error', clock: systemClock, write: () => undefined });
  const store = openStore({ file: paths.trustDatabase, clock: systemClock, log });
  const bookAt = (clock: Clock): TrustBook =>
    new TrustBook({
      store,
      clock,
      ownCertificate: identity.machineCertificate,
      config: { current: () => ({ allowedKeys: {}, pinnedCerts: {} }), onChange: () => () => undefined },
      report: () => undefined,
    });
  const books = [bookAt(systemClock), bookAt(new FakeClock(Date.now() - DAYS_AGO_MS))] as const;
  await seed(...books);
  await Promise.all(books.map((book) => book.close()));
  await store.close();
};

/** Starts one; `remove` it when the test is over. */
export const startNode = async (options: InProcessOptions = {}): Promise<InProcessNode> => {
  const dataDir = await mkdtemp(join(tmpdir(), 'loopsy-node-'));
  const paths = nodePaths(dataDir);
  await ensurePrivateDir(dataDir);
  const tokens = { owner: newToken(), start: newToken(), agent: newToken() };
  const server = { port: 0, host: '127.0.0.1', hostname: options.name ?? 'node' };
  const settings = { version: 2, server, auth: { apiKey: tokens.owner }, ...options.config };
  // JSON is YAML.
  await writeFile(paths.config, JSON.stringify(settings, null, 1), { mode: 0o600 });
  const identity = await createIdentity(paths.tlsDir);
  await sow(paths, identity, options.seed);
  const clock = options.clock ?? systemClock;
  const logged: string[] = [];
  const log = createLog({ level: 'info', clock, write: (line) => void logged.push(line) });
  const boot = randomBytes(8).toString('hex');
  let stopsAsked = 0;
  const composed = composeNode({
    config: await openConfigStore({ source: { paths }, clock, log }),
    paths,
    identity,
    clock,
    log,
    platform: process.platform,
    variables: { ...process.env, HOME: dataDir },
    home: dataDir,
    startToken: tokens.start,
    agentSecret: tokens.agent,
    boot,
    onStop: () => (stopsAsked += 1),
    limits: { ...ROOMY, ...options.limits },
    ...(options.lan === true ? { isLoopback: withoutLan } : {}),
  });
  const services = await startServices(composed.services, { clock, log, signal: new AbortController().signal });
  const { port } = composed.listener;
  let stopped: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    await composed.quiesce();
    const failed = await services.stop();
    if (failed.length > 0) throw new Error(`services did not stop: ${failed.join(', ')}`);
  };
  const stop = (): Promise<void> => (stopped ??= end());
  const own: Asking = { path: '/', key: tokens.start };
  return {
    port,
    boot,
    paths,
    identity,
    composed,
    tokens,
    logged,
    stopsAsked: () => stopsAsked,
    ask: (asking) => ask(port, asking),
    async owner<T>(method: string, path: string, body?: unknown): Promise<T> {
      const { status, text } = await ask(port, { ...own, method, path, ...(body === undefined ? {} : { body }) });
      if (status !== 200) throw new Error(`${method} ${path}: ${status} ${text}`);
      // The caller names the shape that it checks next.
      return JSON.parse(text) as T;
    },
    async audit() {
      const text = await readFile(paths.auditLog, 'utf8');
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    },
    stop,
    async remove() {
      await stop();
      await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
};
