import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';

import { readTextFile, removeStaleDrafts, writeFileAtomic } from '../kernel/atomic-file.ts';
import type { Clock } from '../kernel/clock.ts';
import { parseFields } from '../protocol/record.ts';
import type { NodePaths } from './paths.ts';
import { readRegistration, type Registration } from './read-registration.ts';

/** Writes the registration and `daemon.pid`, when the node answers and holds its lock. */
export const writeRegistration = async (paths: NodePaths, registration: Registration): Promise<void> => {
  // Nothing of loopsy's reads it, so that it need not outlive a power cut: no draft, no wait for the disk.
  await writeFile(paths.pidFile, `${registration.pid}\n`, { mode: 0o600 });
  await writeFileAtomic(paths.registration, `${JSON.stringify(registration, null, 2)}\n`);
};

/**
 * Removes the registration of one start, while its lock is still held. A successor's is left alone.
 * @returns true where it was still there.
 */
export const removeRegistration = async (paths: NodePaths, boot: string): Promise<boolean> => {
  const registered = readRegistration(paths);
  if (registered?.boot !== boot) return false;
  await rm(paths.registration, { force: true });
  await rm(paths.pidFile, { force: true });
  return true;
};

/**
 * Removes the drafts that killed processes left in the data folder. For the node alone, while it holds its lock.
 * @returns how many there were.
 */
export const removeLeftDrafts = async (paths: NodePaths, clock: Clock): Promise<number> => {
  const { config, registration, pidFile, agentFile } = paths;
  const ours = new Set([config, registration, pidFile, agentFile].map((file) => basename(file)));
  // A person may have chosen a data folder with other files in it; those of the identity and of supervisors are loopsy's alone.
  let removed = await removeStaleDrafts(paths.dataDir, (name) => ours.has(name), clock);
  for (const folder of [paths.tlsDir, paths.supervisorsDir])
    removed += await removeStaleDrafts(folder, () => true, clock);
  return removed;
};

/** What the programs of this machine's agents read: the only thing they need of the owner's. */
export interface AgentFile {
  /** With it an agent's program asks the node for a token of its own. 64 hex digits. Secret. */
  readonly secret: string;
  /** Where the node was last; the registration knows better. */
  readonly url?: string;
}

/** The agents' file; undefined where there is none, or it makes no sense. */
export const readAgentFile = async (paths: NodePaths): Promise<AgentFile | undefined> => {
  const fields = parseFields((await readTextFile(paths.agentFile)) ?? '');
  const secret = fields?.['secret'];
  const url = fields?.['url'];
  if (typeof secret !== 'string' || !/^[0-9a-f]{64}$/.test(secret)) return undefined;
  return { secret, ...(typeof url === 'string' ? { url } : {}) };
};

/**
 * Makes sure that there is an agents' file, and that it names this url; its secret stays. For the node alone, while it
 * holds its lock.
 */
export const ensureAgentFile = async (paths: NodePaths, url?: string): Promise<AgentFile> => {
  const there = await readAgentFile(paths);
  if (there !== undefined && (url === undefined || there.url === url)) return there;
  const agentFile: AgentFile = {
    secret: there?.secret ?? randomBytes(32).toString('hex'),
    ...(url === undefined ? {} : { url }),
  };
  await writeFileAtomic(paths.agentFile, `${JSON.stringify(agentFile, null, 2)}\n`);
  return agentFile;
};
