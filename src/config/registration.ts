import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';

import { readTextFile, writeFileAtomic } from '../kernel/atomic-file.ts';
import type { NodePaths } from './paths.ts';

/**
 * How the commands of this user find the running node. True only while the node holds its lock: a node that was killed
 * leaves it behind.
 */
export interface Registration {
  /** Where local clients reach it: `http://127.0.0.1:<port>`. */
  readonly url: string;
  /** The address it listens on, as configured. */
  readonly host: string;
  readonly port: number;
  readonly pid: number;
  readonly version: string;
  /** The owner's token of this start. Secret. */
  readonly token: string;
  readonly nodeId: string;
  /** A new word at each start. */
  readonly boot: string;
  /** Wall time, ms since 1970. */
  readonly startedAt: number;
  /** The program file of the node: tells one installation from another. */
  readonly program: string;
  /** The user who runs it. */
  readonly user: string;
}

type Fields = Readonly<Record<string, unknown>>;

const parseFields = (text: string | undefined): Fields | undefined => {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
};

const isRecord = (value: unknown): value is Fields => typeof value === 'object' && value !== null;

const TEXT_FIELDS = ['url', 'host', 'version', 'token', 'nodeId', 'boot', 'program', 'user'] as const;
const NUMBER_FIELDS = ['port', 'pid', 'startedAt'] as const;

// Hand-checked: a schema library would cost each command more than the whole question.
const isRegistration = (fields: Fields): fields is Fields & Registration =>
  TEXT_FIELDS.every((name) => typeof fields[name] === 'string' && fields[name] !== '') &&
  NUMBER_FIELDS.every((name) => Number.isSafeInteger(fields[name]));

/** Writes the registration and `daemon.pid`, when the node answers and holds its lock. */
export const writeRegistration = async (paths: NodePaths, registration: Registration): Promise<void> => {
  await writeFileAtomic(paths.pidFile, `${registration.pid}\n`);
  await writeFileAtomic(paths.registration, `${JSON.stringify(registration, null, 2)}\n`);
};

/** The registration, whether or not its node still runs; undefined where there is none, or it makes no sense. */
export const readRegistration = async (paths: NodePaths): Promise<Registration | undefined> =>
  parseRegistration(await readTextFile(paths.registration));

/** The registration in a text that was read by other means. */
export const parseRegistration = (text: string | undefined): Registration | undefined => {
  const fields = parseFields(text);
  return fields !== undefined && isRegistration(fields) ? fields : undefined;
};

/**
 * Removes the registration of one start, while its lock is still held. A successor's is left alone.
 * @returns true where it was still there.
 */
export const removeRegistration = async (paths: NodePaths, boot: string): Promise<boolean> => {
  const registered = await readRegistration(paths);
  if (registered?.boot !== boot) return false;
  await rm(paths.registration, { force: true });
  await rm(paths.pidFile, { force: true });
  return true;
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
  const fields = parseFields(await readTextFile(paths.agentFile));
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
  const agentFile: AgentFile = { secret: there?.secret ?? randomBytes(32).toString('hex'), ...(url === undefined ? {} : { url }) };
  await writeFileAtomic(paths.agentFile, `${JSON.stringify(agentFile, null, 2)}\n`);
  return agentFile;
};
