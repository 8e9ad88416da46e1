import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { readTextFile } from '../../kernel/atomic-file.ts';
import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { parseFields } from '../../protocol/record.ts';
import { VERSION } from '../../protocol/version.ts';
import { isThere } from '../process/kill-tree.ts';
import { isRunning } from '../process/process-identity.ts';
import { startSupervisor, type StartSupervisorOptions } from './start-supervisor.ts';
import { LinkLost, SupervisorLink } from './supervisor-link.ts';
import type { SupervisorEntry, WireNotice } from './wire.ts';

/** How long a supervisor without runs stays connected: it ends soon after. */
const IDLE_MS = 2_000;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 10_000;

/** What the supervisors of a node need. */
export interface SupervisorsOptions extends StartSupervisorOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly platform: NodeJS.Platform;
  readonly maxOutputBytes: () => number;
  readonly onNotice: (notice: WireNotice) => void;
  /** The link to it is there, again or for the first time. */
  readonly onLinked: (id: string, link: SupervisorLink) => void;
  /** True while runs go on, or wait, there. */
  readonly isUsed: (id: string) => boolean;
  /** It has ended. */
  readonly onGone: (id: string) => void;
}

interface Known {
  readonly entry: SupervisorEntry;
  link: SupervisorLink | undefined;
  timer: Timer | undefined;
  retryMs: number;
}

/** The supervisors of this data folder: mostly none or one; more where an older version's still has runs. */
export class Supervisors {
  readonly #options: SupervisorsOptions;
  readonly #known = new Map<string, Known>();
  /** What this node has started itself is good for new runs, whatever version it is. */
  readonly #own = new Set<string>();
  #starting: Promise<Known> | undefined;
  #closed = false;

  constructor(options: SupervisorsOptions) {
    this.#options = options;
  }

  /** Connects to all that live, and forgets those that don't. */
  async find(): Promise<void> {
    const names = await readdir(this.#options.dir).catch(() => []);
    const entries = await Promise.all(names.map((name) => this.#read(name)));
    await Promise.all(entries.filter((entry) => entry !== undefined).map((entry) => this.#take(entry)));
  }

  /** The link to one; undefined where it is not there at the moment. */
  link(id: string | undefined): SupervisorLink | undefined {
    return this.#known.get(id ?? '')?.link;
  }

  /** False where it has ended: it is not waited for. */
  lives(id: string | undefined): boolean {
    return this.#known.has(id ?? '');
  }

  /** The one that takes new runs, started where there is none of this version. @throws {LoopsyError} internal */
  async forNewRun(): Promise<{ readonly id: string; readonly link: SupervisorLink }> {
    const known =
      this.#usable() ?? (await (this.#starting ??= this.#start().finally(() => (this.#starting = undefined))));
    if (known.link === undefined)
      throw new LoopsyError('internal', { message: 'the supervisor of detached runs has ended' });
    return { id: known.entry.id, link: known.link };
  }

  /** A run of it has ended. */
  release(id: string | undefined): void {
    const known = this.#known.get(id ?? '');
    if (known !== undefined) this.#restIfIdle(known);
  }

  /** The settings have changed. */
  refresh(): void {
    for (const { link } of this.#known.values()) if (link !== undefined) this.#configure(link);
  }

  /** Leaves them alone: runs go on. */
  close(): void {
    this.#closed = true;
    for (const { link, timer } of this.#known.values()) {
      timer?.cancel();
      link?.close();
    }
    this.#known.clear();
  }

  #usable(): Known | undefined {
    return [...this.#known.values()].find(
      ({ entry, link }) => link !== undefined && (entry.version === VERSION || this.#own.has(entry.id)),
    );
  }

  /** One that rests may still be there. */
  async #start(): Promise<Known> {
    await this.find();
    const found = this.#usable();
    if (found !== undefined) return found;
    const id = await startSupervisor(this.#options);
    const entry = await this.#read(`${id}.json`);
    if (entry !== undefined) await this.#take(entry);
    this.#own.add(id);
    const known = this.#known.get(id);
    if (known !== undefined) return known;
    throw new LoopsyError('internal', { message: 'the supervisor of detached runs ended as it began' });
  }

  async #read(name: string): Promise<SupervisorEntry | undefined> {
    if (!/^[0-9a-f]{16}\.json$/.test(name)) return undefined;
    const text = await readTextFile(join(this.#options.dir, name)).catch(() => undefined);
    const fields = parseFields(text ?? '');
    const named = ['id', 'socket', 'secret', 'version'].every((field) => typeof fields?.[field] === 'string');
    // Its supervisor writes it, whole or not at all.
    return named && fields?.['v'] === 1 ? (fields as unknown as SupervisorEntry) : undefined;
  }

  async #take(entry: SupervisorEntry): Promise<void> {
    if (this.#known.has(entry.id)) return;
    const known: Known = { entry, link: undefined, timer: undefined, retryMs: FIRST_RETRY_MS };
    this.#known.set(entry.id, known);
    await this.#connect(known);
  }

  async #connect(known: Known): Promise<void> {
    const { clock, log, onNotice, onLinked } = this.#options;
    const { entry } = known;
    try {
      const link = await SupervisorLink.open(entry, { clock, onNotice, onLost: () => this.#onLost(known) });
      if (this.#closed) return link.close();
      known.link = link;
      known.retryMs = FIRST_RETRY_MS;
      this.#configure(link);
      onLinked(entry.id, link);
      this.#restIfIdle(known);
    } catch (error) {
      if (this.#closed) return;
      if (await this.#hasEnded(entry, error)) return this.#forget(known);
      if (known.retryMs === FIRST_RETRY_MS) log.warn('supervisor does not answer', { supervisor: entry.id, error });
      this.#retry(known);
    }
  }

  /** A process that lives may be stopped, or has lost its socket: its runs go on, so it is asked again. */
  async #hasEnded(entry: SupervisorEntry, error: unknown): Promise<boolean> {
    const { platform } = this.#options;
    const isRefused = error instanceof LinkLost && error.isRefused;
    if (platform === 'win32') return isRefused;
    return !isThere(entry.pid) || (isRefused && !(await isRunning(entry, platform)));
  }

  #retry(known: Known): void {
    known.timer = this.#options.clock.after(known.retryMs, () => void this.#connect(known));
    known.retryMs = Math.min(LONGEST_RETRY_MS, known.retryMs * 2);
  }

  #onLost(known: Known): void {
    known.link = undefined;
    known.timer?.cancel();
    void this.#connect(known);
  }

  async #forget(known: Known): Promise<void> {
    const { dir, log, onGone } = this.#options;
    const { id, socket } = known.entry;
    this.#known.delete(id);
    onGone(id);
    for (const file of [join(dir, `${id}.json`), ...(socket.startsWith('\\\\') ? [] : [socket])]) {
      await rm(file, { force: true }).catch((error: unknown) =>
        log.warn('supervisor not cleared away', { file, error }),
      );
    }
  }

  #restIfIdle(known: Known): void {
    const { clock, isUsed } = this.#options;
    const { id } = known.entry;
    if (known.link === undefined || isUsed(id)) return;
    known.timer?.cancel();
    known.timer = clock.after(IDLE_MS, () => {
      if (isUsed(id)) return;
      this.#known.delete(id);
      known.link?.close();
    });
  }

  #configure(link: SupervisorLink): void {
    const asked = link.ask({ do: 'settings', maxOutputBytes: this.#options.maxOutputBytes() });
    asked.catch((error: unknown) => this.#options.log.warn('supervisor not told its settings', { error }));
  }
}
