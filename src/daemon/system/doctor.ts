import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';

import { foreignOwner } from '../../kernel/file-owner.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import type { Peer } from '../../protocol/peers.ts';
import type { Check } from '../../protocol/system.ts';
import { VERSION } from '../../protocol/version.ts';
import type { TrustNote } from './trust-notes.ts';

/** A process that has detached runs. */
interface Supervisor {
  readonly pid: number | undefined;
  readonly version: string | undefined;
  readonly runs: number;
  readonly answers: boolean;
}

/** What the node's own checks look at. */
export interface DoctorParts {
  readonly dataDir: string;
  readonly privateFiles: readonly string[];
  readonly platform: NodeJS.Platform;
  /** The user who runs the node. Default: this process's. */
  readonly uid?: number;
  /** As `process.version`. */
  readonly nodeVersion: string;
  readonly tlsEnabled: () => boolean;
  readonly warnings: () => readonly string[];
  readonly restartNeeded: () => readonly string[];
  readonly trust: () => readonly TrustNote[];
  readonly supervisors: () => Promise<readonly Supervisor[]>;
  readonly peers: () => readonly Peer[];
  readonly ping: (nodeId: string) => Promise<{ latencyMs: number; clockSkewMs: number; version: string }>;
}

const LOW_DISK_BYTES = 536_870_912;
const MAX_SKEW_MS = 5000;

const good = (name: string, detail: string): Check => ({ name, ok: true, level: 'ok', detail });
const warn = (name: string, detail: string, fix?: string): Check => ({
  name,
  ok: true,
  level: 'warning',
  detail,
  ...(fix === undefined ? {} : { fix }),
});
const bad = (name: string, detail: string, fix?: string): Check => ({
  name,
  ok: false,
  level: 'error',
  detail,
  ...(fix === undefined ? {} : { fix }),
});

const OLDEST_NODE = 20;

const checkRuntime = ({ nodeVersion }: DoctorParts): Check => {
  const version = nodeVersion.replace(/^v/, '');
  if (Number.parseInt(version, 10) >= OLDEST_NODE) return good('runtime', `Node ${version}`);
  return bad(
    'runtime',
    `Node ${version}: loopsy needs ${OLDEST_NODE} or newer`,
    'install a newer Node, then `loopsy restart`',
  );
};

const checkConfig = (parts: DoctorParts): Check[] => {
  const restart = parts.restartNeeded();
  const checks = parts.warnings().map((warning) => warn('config', warning));
  if (restart.length > 0)
    checks.push(warn('config', `changed, but not yet in force: ${restart.join(', ')}`, 'loopsy restart'));
  return checks.length > 0 ? checks : [good('config', 'read and in force')];
};

const checkTrust = (parts: DoctorParts): Check[] =>
  parts.trust().map(({ level, text, fix }) => (level === 'error' ? bad : warn)('trust', text, fix));

const checkTls = (parts: DoctorParts): Check =>
  parts.tlsEnabled()
    ? good('tls', 'on: nodes and programs from the network use TLS 1.3')
    : warn('tls', 'off: named keys of programs cross the network in clear', 'set tls.enabled to true in config.yaml');

const checkPrivacy = async (parts: DoctorParts): Promise<Check> => {
  if (parts.platform === 'win32') return good('files', 'protected by your Windows profile');
  const files = [parts.dataDir, ...parts.privateFiles];
  for (const file of files) {
    const owner = foreignOwner(file, parts.uid);
    if (owner === undefined) continue;
    const fix = `run the node as ${owner}, or make all of ${parts.dataDir} yours: chown -R`;
    return bad('files', `${file} belongs to ${owner}, not to the user who runs the node`, fix);
  }
  const open: string[] = [];
  for (const file of files) {
    const facts = await stat(file).catch(() => undefined);
    if (facts !== undefined && (facts.mode & 0o077) !== 0) open.push(file);
  }
  if (open.length === 0) return good('files', 'readable by you alone');
  return bad('files', `others can read ${open.join(', ')}`, `chmod -R go= ${parts.dataDir}`);
};

const checkDisk = async (parts: DoctorParts): Promise<Check> => {
  try {
    await access(parts.dataDir, constants.W_OK);
    const disk = await statfs(parts.dataDir);
    const free = disk.bavail * disk.bsize;
    const text = `${Math.floor(free / 1_048_576)} MiB free at ${parts.dataDir}`;
    return free < LOW_DISK_BYTES ? warn('disk', text, 'free some space') : good('disk', text);
  } catch (error) {
    return bad(
      'disk',
      `${parts.dataDir} can not be written: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
};

const checkUser = (parts: DoctorParts): Check[] => {
  if (parts.platform === 'win32' || process.getuid?.() !== 0) return [];
  return [warn('user', 'the node runs as root: a peer of level full is root here', 'run it as a user of its own')];
};

const checkSupervisors = async (parts: DoctorParts): Promise<Check[]> => {
  const found = (await parts.supervisors()).filter(({ runs }) => runs > 0);
  return found.map(({ pid, version, runs, answers }) => {
    const jobs = `${runs} detached ${runs === 1 ? 'job' : 'jobs'} in process ${pid ?? '?'}`;
    if (answers) return good('jobs', `${jobs}${version === VERSION ? '' : ` (of loopsy ${version ?? '?'})`}`);
    return warn(
      'jobs',
      `${jobs}, which does not answer: they go on, but can not be reached`,
      `it is asked again by itself; \`kill -CONT ${pid ?? '<pid>'}\` wakes one that was stopped`,
    );
  });
};

const checkPeer = async (peer: Peer, parts: DoctorParts): Promise<Check> => {
  const name = `peer ${peer.name}`;
  if (!peer.trusted || peer.nodeId === undefined) return warn(name, 'added by hand, not trusted', peer.reason);
  try {
    const { latencyMs, clockSkewMs, version } = await parts.ping(peer.nodeId);
    const text = `reachable at ${peer.address ?? '?'}:${peer.port ?? '?'}, pin matches, ${latencyMs.toFixed(1)} ms, version ${version}`;
    if (Math.abs(clockSkewMs) > MAX_SKEW_MS) {
      return warn(
        name,
        `${text}; its clock is ${Math.round(clockSkewMs / 1000)} s away from this one`,
        'set both clocks (NTP)',
      );
    }
    const note = version === VERSION ? '' : ` (this one is ${VERSION})`;
    return good(name, `${text}${note}`);
  } catch (error) {
    const hint = error instanceof LoopsyError ? error.hint : undefined;
    const detail = error instanceof Error ? error.message : String(error);
    return bad(name, detail, hint ?? 'is loopsy running there, and does its firewall let the port in?');
  }
};

/** Rows of what a pin suspends or waits for: `checkTrust` speaks of them. */
const isOfPin = ({ trusted, manuallyAdded, nodeId }: Peer): boolean =>
  trusted ? nodeId === undefined : !manuallyAdded;

/** The node's own health report. */
export const examine = async (parts: DoctorParts): Promise<{ checks: Check[] }> => {
  const rows = parts.peers();
  const peers = rows.filter((peer) => !isOfPin(peer));
  const checks = [
    checkRuntime(parts),
    ...checkConfig(parts),
    checkTls(parts),
    ...checkTrust(parts),
    await checkPrivacy(parts),
    await checkDisk(parts),
    ...checkUser(parts),
    ...(await checkSupervisors(parts)),
    ...(await Promise.all(peers.map((peer) => checkPeer(peer, parts)))),
  ];
  if (rows.length === 0) checks.push(warn('peers', 'none yet', 'loopsy pair'));
  return { checks };
};
