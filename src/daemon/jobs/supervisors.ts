import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { errorCode } from '../../kernel/atomic-file.ts';
import type { Clock, Timer } from '../../kernel/clock.ts';
import type { Log } from '../../kernel/log.ts';
import { TIMED_OUT, withTimeLimit } from '../../kernel/sleep.ts';
import { LoopsyError } from '../../protocol/errors.ts';
import { VERSION } from '../../protocol/version.ts';
import { isThere } from '../process/kill-tree.ts';
import { isGone, type ProcessIdentity } from '../process/process-identity.ts';
import { startSupervisor, type StartSupervisorOptions } from './start-supervisor.ts';
import { readEntry } from './supervisor-entry.ts';
import { LinkLost, SupervisorLink } from './supervisor-link.ts';
import type { SupervisorEntry, WireNotice } from './wire.ts';

/** How long a supervisor without runs stays connected: it ends soon after. */
const IDLE_MS = 2_000;
const ID = /^[0-9a-f]{16}$/;
const FIRST_RETRY_MS = 100;
const LOOK_MS = 2000;
const LONGEST_RETRY_MS = 10_000;

/** What the supervisors of a node need. */
export interface SupervisorsOptions extends StartSupervisorOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly platform: NodeJS.Platform;
  readonly maxOutputBytes: () => number;
  readonly onNotice: (notice: WireNotice) => void;
  /** The link to it is there, again or for the first time. Resolves when it has said what it has. */
  readonly onLinked: (id: string, link: SupervisorLink) => Promise<void>;
  /** There is no link to it at the moment: what its runs have left on disk is all that is known. */
  readonly onMissed: (id: string) => void;
  /** True while runs go on, or wait, there. */
  readonly isUsed: (id: string) => boolean;
  /** It has ended. */
  readonly onGone: (id: string) => void;
}

/** How a supervisor is. */
export interface SupervisorState {
  readonly id: string;
  readonly pid: number | undefined;
  readonly version: string | undefined;
  /** Within two seconds. */
  readonly answers: boolean;
}

interface Known {
  readonly id: string;
  /** What shows that it lives, where it can't be spoken with. */
  process: ProcessIdentity | undefined;
  entry: SupervisorEntry | undefined;
  link: SupervisorLink | undefined;
  timer: Timer | undefined;
  /** 0 where it has just answered. */
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
    const names = await this.#names();
    await Promise.all(names.map((name) => this.#take(name.replace(/\.json$/, ''))));
  }

  /** One that a run names: without a file that says so it lives, too, while its process does. */
  async expect(id: string, process: ProcessIdentity | undefined): Promise<void> {
    const known = this.#known.get(id);
    if (known === undefined) return this.#take(id, process);
    known.process ??= process;
  }

  /** The link to one; undefined where it is not there at the moment. */
  link(id: string | undefined): SupervisorLink | undefined {
    return this.#known.get(id ?? '')?.link;
  }

  /** False where it has ended: it is not waited for. */
  lives(id: string | undefined): boolean {
    return this.#known.has(id ?? '');
  }

  /** The one that takes new runs, started where none of this version answers. @throws {LoopsyError} internal */
  async forNewRun(): Promise<{ readonly entry: SupervisorEntry; readonly link: SupervisorLink }> {
    const known =
      this.#usable() ?? (await (this.#starting ??= this.#start().finally(() => (this.#starting = undefined))));
    const { entry, link } = known;
    if (entry === undefined || link === undefined)
      throw new LoopsyError('internal', { message: 'the supervisor of detached runs has ended' });
    return { entry, link };
  }

  /** A run of it has ended. */
  release(id: string | undefined): void {
    const known = this.#known.get(id ?? '');
    if (known !== undefined) this.#restIfIdle(known);
  }

  /** Asks each how it is. */
  async look(): Promise<SupervisorState[]> {
    const { clock } = this.#options;
    const answers = async (link: SupervisorLink | undefined): Promise<boolean> =>
      link !== undefined &&
      (await withTimeLimit(this.#configure(link), LOOK_MS, clock).then(
        (answer) => answer !== TIMED_OUT,
        () => false,
      ));
    const states = Array.from(this.#known.values(), async ({ id, process, entry, link }) => ({
      id,
      pid: process?.pid,
      version: entry?.version,
      answers: await answers(link),
    }));
    return Promise.all(states);
  }

  /** The settings have changed. */
  refresh(): void {
    for (const { link } of this.#known.values())
      if (link !== undefined) this.#configure(link).catch((error: unknown) => this.#onUntold(error));
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
      ({ id, entry, link }) => link?.isMute === false && (entry?.version === VERSION || this.#own.has(id)),
    );
  }

  /** One that rests may still be there. */
  async #start(): Promise<Known> {
    await this.find();
    const found = this.#usable();
    if (found !== undefined) return found;
    const id = await startSupervisor(this.#options);
    await this.#take(id);
    this.#own.add(id);
    const known = this.#known.get(id);
    if (known !== undefined) return known;
    throw new LoopsyError('internal', { message: 'the supervisor of detached runs ended as it began' });
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(this.#options.dir);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') this.#options.log.warn('supervisors not listed', { error });
      return [];
    }
  }

  async #take(id: string, process?: ProcessIdentity): Promise<void> {
    if (!ID.test(id) || this.#known.has(id)) return;
    const known = { id, process, entry: undefined, link: undefined, timer: undefined, retryMs: FIRST_RETRY_MS };
    this.#known.set(id, known);
    await this.#connect(known);
  }

  async #connect(known: Known): Promise<void> {
    const { log, onLinked, onMissed } = this.#options;
    const { id } = known;
    try {
      const link = await this.#open(known);
      if (this.#closed) return link.close();
      known.link = link;
      const told = Promise.all([this.#configure(link), onLinked(id, link)]);
      // One that breaks the link each time before it has answered is waited for longer each time.
      told.then(
        () => (known.retryMs = 0),
        (error: unknown) => this.#onUntold(error),
      );
      this.#restIfIdle(known);
    } catch (error) {
      if (this.#closed) return;
      if (await this.#hasEnded(known, error)) return this.#forget(known);
      if (known.retryMs === FIRST_RETRY_MS) log.warn('supervisor does not answer', { supervisor: id, error });
      onMissed(id);
      this.#retry(known);
    }
  }

  /** Its file may be readable by now. @throws {LinkLost} refused where there is none. */
  async #open(known: Known): Promise<SupervisorLink> {
    const { clock, dir, onNotice } = this.#options;
    const { id } = known;
    if (known.entry === undefined) {
      const found = await readEntry(dir, id);
      known.entry = found?.entry;
      known.process ??= found?.process;
      if (known.entry === undefined)
        throw new LinkLost(`supervisor ${id} does not say how it is reached`, { isRefused: found === undefined });
    }
    return SupervisorLink.open(known.entry, { clock, onNotice, onLost: () => this.#onLost(known) });
  }

  /** A process that lives may be stopped, or has lost its socket or its file: its runs go on, so it is asked again. */
  async #hasEnded({ entry, process }: Known, error: unknown): Promise<boolean> {
    const { platform } = this.#options;
    const isRefused = error instanceof LinkLost && error.isRefused;
    if (process === undefined || (platform === 'win32' && entry !== undefined)) return isRefused;
    if (entry !== undefined && !isRefused) return !isThere(process.pid);
    return isGone(process, platform);
  }

  #retry(known: Known): void {
    const { retryMs } = known;
    known.retryMs = Math.min(LONGEST_RETRY_MS, Math.max(FIRST_RETRY_MS, retryMs * 2));
    if (retryMs === 0) return void this.#connect(known);
    known.timer = this.#options.clock.after(retryMs, () => void this.#connect(known));
  }

  #onLost(known: Known): void {
    known.link = undefined;
    known.timer?.cancel();
    this.#retry(known);
  }

  async #forget(known: Known): Promise<void> {
    const { dir, log, onGone } = this.#options;
    const { id, entry } = known;
    const socket = entry?.socket.startsWith('\\\\') === false ? [entry.socket] : [];
    this.#known.delete(id);
    onGone(id);
    for (const file of [join(dir, `${id}.json`), ...socket]) {
      await rm(file, { force: true }).catch((error: unknown) =>
        log.warn('supervisor not cleared away', { file, error }),
      );
    }
  }

  #restIfIdle(known: Known): void {
    const { clock, isUsed } = this.#options;
    const { id } = known;
    if (known.link === undefined || isUsed(id)) return;
    known.timer?.cancel();
    known.timer = clock.after(IDLE_MS, () => {
      if (isUsed(id)) return;
      this.#known.delete(id);
      known.link?.close();
    });
  }

  #configure(link: SupervisorLink): Promise<object> {
    return link.ask({ do: 'settings', maxOutputBytes: this.#options.maxOutputBytes() });
  }

  #onUntold(error: unknown): void {
    this.#options.log.warn('supervisor not told its settings', { error });
  }
}
