import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';

/** One process, as the system knows it. */
export interface ProcessRow {
  readonly pid: number;
  readonly ppid: number;
  readonly pgid: number;
  /** 0 where the system does not say. */
  readonly session: number;
  /** Tells it from a later process with the same number: when it began. */
  readonly token: string;
  /** Dead, and not yet collected by its parent. */
  readonly isZombie: boolean;
}

/** All processes by their number; empty where they can't be read. */
export type ProcessTable = ReadonlyMap<number, ProcessRow>;

/** Files that are read in one turn of the event loop. */
const STEP = 64;
const PS_LIMIT_MS = 2_000;
const PS_MAX_BYTES = 16_777_216;

/** What /proc says of one process now; undefined where there is none. */
export const readRow = (pid: number): ProcessRow | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name in parentheses may hold anything: fields are counted behind its end.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state = '', ppid, pgid, session] = fields;
    return {
      pid,
      ppid: Number(ppid),
      pgid: Number(pgid),
      session: Number(session),
      token: fields[19] ?? '',
      isZombie: state === 'Z' || state === 'X',
    };
  } catch {
    return undefined; // gone, or no /proc here
  }
};

const readLinux = async (): Promise<ProcessTable> => {
  const rows = new Map<number, ProcessRow>();
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  for (const [at, pid] of pids.entries()) {
    if (at % STEP === STEP - 1) await setImmediate();
    const row = readRow(pid);
    if (row !== undefined) rows.set(pid, row);
  }
  return rows;
};

const PS_ROW = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.+?)\s*$/;

const readPs = (): Promise<ProcessTable> =>
  new Promise((resolve) => {
    const args = ['-A', '-o', 'pid=,ppid=,pgid=,stat=,lstart='];
    const env = { LC_ALL: 'C', PATH: '/bin:/usr/bin' };
    execFile('ps', args, { env, timeout: PS_LIMIT_MS, maxBuffer: PS_MAX_BYTES }, (error, text) => {
      const rows = new Map<number, ProcessRow>();
      for (const line of error === null ? text.split('\n') : []) {
        const [, pid, ppid, pgid, state = '', token = ''] = PS_ROW.exec(line) ?? [];
        const row = { pid: Number(pid), ppid: Number(ppid), pgid: Number(pgid), session: 0, token };
        if (pid !== undefined) rows.set(row.pid, { ...row, isZombie: state.startsWith('Z') });
      }
      resolve(rows);
    });
  });

const read = async (platform: NodeJS.Platform): Promise<ProcessTable> => {
  if (platform === 'win32') return new Map();
  try {
    return await (platform === 'linux' ? readLinux() : readPs());
  } catch {
    return new Map(); // no /proc: then there is nothing to go by
  }
};

/** Looks of which one is under way, and one more waits for its end: that one is new to all who ask meanwhile. */
class Looks {
  readonly #platform: NodeJS.Platform;
  #now: Promise<ProcessTable> | undefined;
  #next: Promise<ProcessTable> | undefined;

  constructor(platform: NodeJS.Platform) {
    this.#platform = platform;
  }

  look(): Promise<ProcessTable> {
    if (this.#now === undefined) return this.#begin();
    return (this.#next ??= this.#now.then(() => this.#begin()));
  }

  #begin(): Promise<ProcessTable> {
    this.#next = undefined;
    const now = read(this.#platform);
    this.#now = now;
    void now.then(() => {
      if (this.#now === now) this.#now = undefined;
    });
    return now;
  }
}

const looks = new Map<NodeJS.Platform, Looks>();

/** The processes of this machine, not older than this call: a hundred runs that end at once look together. */
export const readProcesses = (platform: NodeJS.Platform): Promise<ProcessTable> => {
  const known = looks.get(platform) ?? new Looks(platform);
  looks.set(platform, known);
  return known.look();
};
