import { isRecord } from '../protocol/record.ts';
import { DEFAULT_PORT } from '../protocol/version.ts';
import type { Edit } from './edit.ts';
import { CONFIG_KEYS, configSchema } from './schema.ts';

/** A key of the old file that was not taken over, and why. */
export interface Left {
  readonly key: string;
  readonly reason: string;
}

/** What is made of the predecessor's settings. */
interface TakenOver {
  readonly edits: readonly Edit[];
  readonly taken: readonly string[];
  readonly left: readonly Left[];
}

/** What else is known when settings are taken over. */
interface Surroundings {
  /** Peers of the predecessor's list that were added by hand. */
  readonly addedByHand: readonly unknown[];
  /** `LOOPSY_PORT`: it comes before the file's. */
  readonly port?: number | undefined;
}

/** What nobody may bring along: who this machine is and whom it trusts is made anew. */
const NEVER: Readonly<Record<string, string>> = {
  'auth.apiKey': 'a new key was made: `loopsy key show`',
  'auth.allowedKeys': 'keys are made anew: `loopsy key add <name>`',
  'tls.pinnedCerts': 'trust is made anew: `loopsy pair`',
};
const PEERS = 'discovery.manualPeers';
/** As many as a settings file may hold. */
const MAX_PEERS = 1000;
/** The most keys that are listed as left; a settings file of people has fewer. */
const MAX_LEFT = 200;
const ANY_KEY = '0'.repeat(64);

/** Sorts an old file's keys into those that mean the same here, as edits of a new file, and those that are left. */
export const takeOver = (old: Readonly<Record<string, unknown>>, { addedByHand, port }: Surroundings): TakenOver => {
  const edits: Edit[] = [{ path: ['tls', 'enabled'], value: true }];
  const taken: string[] = [];
  const left: Left[] = [];
  const take = (key: string, value: unknown): void => {
    edits.push({ path: key.split('.'), value });
    taken.push(key);
  };
  for (const [key, value] of keysOf(old)) {
    if (key === PEERS) continue;
    const reason = key === 'server.port' && port !== undefined ? `LOOPSY_PORT says ${port}` : reasonAgainst(key, value);
    if (reason === undefined && key !== 'tls.enabled') take(key, value);
    else if (reason !== undefined) left.push({ key, reason });
  }
  if (port !== undefined) edits.push({ path: ['server', 'port'], value: port });
  const { peers, unusable } = manualPeers([...listOf(old), ...addedByHand]);
  if (peers.length > 0) take(PEERS, peers);
  if (unusable > 0) left.push({ key: PEERS, reason: `${unusable} of its entries have no usable address` });
  const more = left.length - MAX_LEFT;
  const shown = left.slice(0, MAX_LEFT);
  return { edits, taken, left: more > 0 ? [...shown, { key: '…', reason: `and ${more} more` }] : shown };
};

/** Every key with what stands behind it, as dotted names; what is not in a section under its own name. */
const keysOf = (old: Readonly<Record<string, unknown>>): [string, unknown][] =>
  Object.entries(old).flatMap(([section, value]): [string, unknown][] => {
    if (value === null) return [];
    if (!isRecord(value)) return [[section, value]];
    return Object.entries(value).map(([key, one]) => [`${section}.${key}`, one]);
  });

/** Why a key is not taken over; undefined where it is. */
const reasonAgainst = (key: string, value: unknown): string | undefined => {
  if (Object.hasOwn(NEVER, key)) return NEVER[key];
  if (key === 'tls.enabled') return value === true ? undefined : 'TLS is on now: it was set to true';
  if (key.startsWith('tls.')) return 'certificates and keys are made anew';
  if (!CONFIG_KEYS.includes(key)) return 'this loopsy has no such key';
  return problemOf(key, value);
};

/** What is wrong with a value, by the schema; never the value itself: it may be a secret. */
const problemOf = (key: string, value: unknown): string | undefined => {
  const [section = '', name = ''] = key.split('.');
  const { error } = configSchema.safeParse({ version: 2, auth: { apiKey: ANY_KEY }, [section]: { [name]: value } });
  const [issue] = error?.issues ?? [];
  return issue === undefined
    ? undefined
    : `its value can not be used: ${issue.message.replace(/^Invalid input: /, '')}`;
};

const listOf = (old: Readonly<Record<string, unknown>>): unknown[] => {
  const { discovery } = old;
  const peers = isRecord(discovery) ? discovery['manualPeers'] : undefined;
  return Array.isArray(peers) ? peers : peers === undefined || peers === null ? [] : [peers];
};

interface ManualPeer {
  readonly address: string;
  readonly port: number;
}

/** The addresses, each once: of what else the predecessor wrote beside them nothing is read. */
const manualPeers = (rows: readonly unknown[]): { peers: ManualPeer[]; unusable: number } => {
  const peers = new Map<string, ManualPeer>();
  let unusable = 0;
  for (const row of rows) {
    const { address, port = DEFAULT_PORT } = isRecord(row) ? row : { address: undefined };
    const peer = { address, port };
    const isUsable = peers.size < MAX_PEERS && problemOf(PEERS, [peer]) === undefined;
    // The schema has looked at it.
    if (isUsable) peers.set(`${String(address)} ${String(port)}`, peer as ManualPeer);
    else unusable += 1;
  }
  return { peers: [...peers.values()], unusable };
};
