import { hostname, userInfo } from 'node:os';

import type { Clock } from '../../kernel/clock.ts';
import type { Identity as Facts, Status } from '../../protocol/system.ts';
import { platformSchema } from '../../protocol/system.ts';
import { VERSION } from '../../protocol/version.ts';

/** What the node knows about itself, from the rooms that know. */
export interface SystemParts {
  readonly nodeId: string;
  readonly fingerprint: string;
  readonly dataDir: string;
  readonly clock: Clock;
  /** Config `server.hostname`; undefined: the machine's. */
  readonly hostname: () => string | undefined;
  readonly tlsEnabled: () => boolean;
  readonly port: () => number;
  readonly listening: () => readonly string[];
  /** Of these, what other machines may dial. */
  readonly addresses: () => readonly string[];
  readonly peers: () => Status['peers'];
  readonly jobs: () => Status['jobs'];
  readonly context: () => Status['context'];
  readonly messages: () => Status['messages'];
  readonly restartNeeded: () => readonly string[];
  readonly warnings: () => readonly string[];
}

const PLATFORM = platformSchema.catch('linux').parse(process.platform);

/** The user who runs this node. */
const userName = (): string => {
  try {
    return userInfo().username;
  } catch {
    // A user without an entry, as in some containers.
    return String(process.getuid?.() ?? 'unknown');
  }
};

const CAPABILITIES = ['execute', 'transfer', 'context', 'messages'] as const;

/** The node's facts about itself. */
export class System {
  readonly #parts: SystemParts;
  readonly #startedAtMs: number;
  readonly #user = userName();

  constructor(parts: SystemParts) {
    this.#parts = parts;
    this.#startedAtMs = parts.clock.monotonicMs();
  }

  get user(): string {
    return this.#user;
  }

  get hostname(): string {
    return this.#parts.hostname() ?? hostname();
  }

  get addresses(): readonly string[] {
    return this.#parts.addresses();
  }

  get uptimeMs(): number {
    return Math.round(this.#parts.clock.monotonicMs() - this.#startedAtMs);
  }

  health(): { status: 'ok'; nodeId: string; uptime: number; version: string } {
    return { status: 'ok', nodeId: this.#parts.nodeId, uptime: this.uptimeMs, version: VERSION };
  }

  /** What other nodes are told. */
  facts(): Facts {
    return {
      nodeId: this.#parts.nodeId,
      hostname: this.hostname,
      platform: PLATFORM,
      version: VERSION,
      port: this.#parts.port(),
      capabilities: [...CAPABILITIES],
    };
  }

  status(): Status {
    const parts = this.#parts;
    return {
      ...this.facts(),
      fingerprint: parts.fingerprint,
      user: this.#user,
      pid: process.pid,
      uptime: this.uptimeMs,
      dataDir: parts.dataDir,
      listening: [...parts.listening()],
      addresses: [...this.addresses],
      tls: parts.tlsEnabled(),
      peers: parts.peers(),
      jobs: parts.jobs(),
      context: parts.context(),
      messages: parts.messages(),
      memory: { rss: process.memoryUsage.rss() },
      restartNeeded: [...parts.restartNeeded()],
      warnings: [...parts.warnings()],
    };
  }
}
