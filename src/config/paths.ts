import { posix, win32, type PlatformPath } from 'node:path';

import { fromGitBash } from '../kernel/git-bash-path.ts';

/** The path rules of a platform. */
const pathOf = (platform: NodeJS.Platform): PlatformPath => (platform === 'win32' ? win32 : posix);

/** What decides where things are; injected, so that each system's rules can be tested on any. */
export interface Place {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The user's home folder. */
  readonly home: string;
  /** What a relative path starts at. */
  readonly cwd: string;
  readonly platform: NodeJS.Platform;
}

/** Replaces a leading `~` by the home folder, and on Windows Git Bash's `/c/` by `C:/`; all else stays as it is written. */
export const expandPath = (path: string, home: string, platform: NodeJS.Platform = process.platform): string => {
  if (path === '~') return home;
  if (/^~[\\/]/.test(path)) return pathOf(platform).join(home, path.slice(2));
  return platform === 'win32' ? fromGitBash(path) : path;
};

/** The data folder: the option, else `LOOPSY_DATA_DIR`, else `~/.loopsy`. Absolute. */
export const resolveDataDir = (option: string | undefined, { env, home, cwd, platform }: Place): string => {
  const path = pathOf(platform);
  const chosen = [option, env['LOOPSY_DATA_DIR']].find((text) => text !== undefined && text !== '');
  return chosen === undefined ? path.join(home, '.loopsy') : path.resolve(cwd, expandPath(chosen, home, platform));
};

/** Where a node keeps its things. Folders end in `Dir`; all else are files. */
export interface NodePaths {
  readonly dataDir: string;
  /** The settings, edited by people. */
  readonly config: string;
  /** Held for the moment of a change of the settings, by node and command alike. */
  readonly configLock: string;
  /** Context, messages, jobs, presence. */
  readonly database: string;
  /** Pins, grants, named keys: one for the machine. */
  readonly trustDatabase: string;
  readonly jobsDir: string;
  /** How the supervisors of detached runs are found. */
  readonly supervisorsDir: string;
  /** What cut-off transfers have left elsewhere, so that it can be gone on with, or removed. */
  readonly transfersDir: string;
  readonly logsDir: string;
  readonly auditLog: string;
  readonly nodeLog: string;
  /** For scripts; loopsy never trusts it. */
  readonly pidFile: string;
  /** Held while the node runs: the truth about whether it does. */
  readonly nodeLock: string;
  /** Url, token and more of the node that runs; valid only while the lock is held. */
  readonly registration: string;
  /** The secret of this machine's agents. */
  readonly agentFile: string;
  readonly tlsDir: string;
  readonly certificate: string;
  readonly privateKey: string;
}

/** All places below a data folder. */
export const nodePaths = (dataDir: string, platform: NodeJS.Platform = process.platform): NodePaths => {
  const inside = (...parts: string[]): string => pathOf(platform).join(dataDir, ...parts);
  return {
    dataDir,
    config: inside('config.yaml'),
    configLock: inside('config.lock'),
    database: inside('loopsy.db'),
    trustDatabase: inside('trust.db'),
    jobsDir: inside('jobs'),
    supervisorsDir: inside('supervisors'),
    transfersDir: inside('transfers'),
    logsDir: inside('logs'),
    auditLog: inside('logs', 'audit.jsonl'),
    nodeLog: inside('logs', 'node.log'),
    pidFile: inside('daemon.pid'),
    nodeLock: inside('node.lock'),
    registration: inside('node.json'),
    agentFile: inside('agent.json'),
    tlsDir: inside('tls'),
    certificate: inside('tls', 'cert.pem'),
    privateKey: inside('tls', 'key.pem'),
  };
};
