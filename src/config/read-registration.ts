import { readFileSync, statSync } from 'node:fs';

import { parseFields } from '../protocol/record.ts';
import type { NodePaths } from './paths.ts';

const MAX_BYTES = 65_536;

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
  /** What this start said of where to listen, over the config; absent where it said nothing. */
  readonly reach?: Reach;
}

/** Where a node listens for one start: on this machine alone, or on every address. */
type Reach = (typeof REACHES)[number];

const REACHES = ['local-only', 'lan'] as const;

type Fields = Readonly<Record<string, unknown>>;

const TEXT_FIELDS = ['url', 'host', 'version', 'token', 'nodeId', 'boot', 'program', 'user'] as const;
const NUMBER_FIELDS = ['port', 'pid', 'startedAt'] as const;

// Hand-checked: a schema library would cost each command more than the whole question.
const isRegistration = (fields: Fields): fields is Fields & Registration =>
  TEXT_FIELDS.every((name) => typeof fields[name] === 'string' && fields[name] !== '') &&
  NUMBER_FIELDS.every((name) => Number.isSafeInteger(fields[name])) &&
  (fields['reach'] === undefined || REACHES.some((reach) => reach === fields['reach']));

/**
 * The registration, whether or not its node still runs; undefined where there is none, or it makes no sense. It stands
 * alone here, and does not wait for other threads: it is the first thing that every command needs.
 */
export const readRegistration = ({ registration: file }: NodePaths): Registration | undefined => {
  const fields = parseFields(readIfThere(file));
  return fields !== undefined && isRegistration(fields) ? fields : undefined;
};

const readIfThere = (file: string): string => {
  try {
    return statSync(file).size > MAX_BYTES ? '' : readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
};
