import { isThere, sendSignal, signalTree, treeLives } from './kill-tree.ts';
import { type ProcessRow, type ProcessTable, readProcesses, readRow } from './process-table.ts';

/**
 * A process of ours, its group, and what it has started in other groups and sessions: found by parents, groups and
 * sessions each time that somebody looks. What lost its parent and left the session before the first look is out of
 * reach: nothing tells any more whose it was.
 */
export class ProcessTree {
  readonly #pid: number;
  readonly #platform: NodeJS.Platform;
  readonly #read: () => Promise<ProcessTable>;
  /** What was seen to belong to it, dead or alive: number and token. */
  readonly #members = new Map<number, string>();
  /** Those that ran at the last look, outside the group. */
  #strays: readonly ProcessRow[] = [];
  #isReused = false;

  constructor(pid: number, platform: NodeJS.Platform, read = () => readProcesses(platform)) {
    this.#pid = pid;
    this.#platform = platform;
    this.#read = read;
  }

  /**
   * Finds what belongs to it now.
   * @param isCollected its first process is gone for good: its number may be another's.
   * @returns false where nothing of it runs; true in doubt.
   */
  async look(isCollected: boolean): Promise<boolean> {
    const table = await this.#read();
    if (table.size === 0) return true;
    for (const [pid, token] of this.#members) if ((table.get(pid)?.token ?? token) !== token) this.#members.delete(pid);
    this.#isReused = isCollected && table.has(this.#pid);
    if (this.#isReused) this.#members.delete(this.#pid);
    else this.#members.set(this.#pid, table.get(this.#pid)?.token ?? '');
    const running = this.#grow(table).filter(({ isZombie }) => !isZombie);
    this.#strays = running.filter(({ pgid }) => this.#isReused || pgid !== this.#pid);
    return running.length > 0;
  }

  /**
   * Sends a signal to its group, and to what the last look found outside of it; on Windows each signal ends the tree.
   * @returns false where nothing of it is left.
   */
  signal(signal: NodeJS.Signals): boolean {
    let isSent = !this.#isReused && signalTree(this.#pid, signal, this.#platform);
    const groups = new Set<number>();
    for (const { pid, pgid } of this.#strays) {
      // A group without a known leader may hold others.
      if (!this.#members.has(pgid)) isSent = sendSignal(pid, signal) || isSent;
      else if (!groups.has(pgid)) isSent = signalTree(pgid, signal, this.#platform) || isSent;
      groups.add(pgid);
    }
    return isSent;
  }

  /** True while anything of it is there, as far as the last look goes. On Windows a tree can't be asked. */
  get lives(): boolean {
    if (!this.#isReused && treeLives(this.#pid, this.#platform)) return true;
    return this.#strays.some((stray) => this.#isStillThere(stray));
  }

  #isStillThere({ pid, token }: ProcessRow): boolean {
    if (this.#platform !== 'linux') return isThere(pid);
    const now = readRow(pid);
    return now?.token === token && !now.isZombie;
  }

  /** Every process of the table that belongs to it. */
  #grow(table: ProcessTable): ProcessRow[] {
    const rest = new Set(table.values());
    const mine: ProcessRow[] = [];
    for (let found = -1; found !== mine.length;) {
      found = mine.length;
      for (const row of rest) {
        if (row.pid <= 1 || row.pid === process.pid || !this.#isMine(row, table)) continue;
        rest.delete(row);
        mine.push(row);
        this.#members.set(row.pid, row.token);
      }
    }
    return mine;
  }

  /** A group or session is its founder's even when that is dead: its number is nobody else's until then. */
  #isMine({ pid, ppid, pgid, session }: ProcessRow, table: ProcessTable): boolean {
    const members = this.#members;
    return members.has(pid) || (members.has(ppid) && table.has(ppid)) || members.has(pgid) || members.has(session);
  }
}
