import { type ChildProcess, spawn } from 'node:child_process';

import type { Clock, Timer } from '../../kernel/clock.ts';
import { FRAME } from '../../protocol/frames.ts';
import type { AllowedCommand } from '../../trust/command-guard.ts';
import { commandLine, type CommandLine, type CommandShell } from './command-line.ts';
import type { Variables } from './environment.ts';
import { notePassing } from '../../kernel/passing-bytes.ts';
import { ProcessTree } from './process-tree.ts';
import { explainStartError } from './start-error.ts';
import { ignoreStdinErrors, ProcessStdin } from './stdin.ts';

const TICK_MS = 25;
/** Signals by which a caller asks a run to end. */
const ENDING: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGKILL']);
/** For what the main process leaves behind when it was asked to end. */
const ASKED_GRACE_MS = 1000;

/** Output that is taken in one turn of the event loop. */
const TURN_BYTES = 131_072;

/** After an exit: how long processes that it left behind may hold the pipes without a word. */
const QUIET_MS = 5_000;
/** The same where we end the run, and how long they may go on writing then. */
const QUIET_ENDING_MS = 100;
const DRAIN_ENDING_MS = 200;
/** Between two looks at what is left of a group. */
const LOOK_MS = 100;

/** What to start. */
export interface ProcessSpec {
  readonly command: AllowedCommand;
  readonly cwd: string;
  readonly env: Variables;
  /** Text, bytes that come later, or nothing at all: never the node's own. */
  readonly stdin: { readonly text: string } | 'stream' | 'none';
}

/** The machine that it is started on. */
export interface ProcessHost {
  readonly platform: NodeJS.Platform;
  readonly clock: Clock;
  readonly shell: CommandShell;
  /** Windows: cross-spawn's way to start what isn't an .exe. */
  readonly adapt?: (line: CommandLine, spec: ProcessSpec) => CommandLine;
}

/** How the main process ended; `sent` is the last signal of ours, where we ended it. */
export interface ProcessEnd {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly sent?: NodeJS.Signals;
  /** There where processes that it left behind could have written more. */
  readonly outputCut?: true;
}

/** What a run tells while it goes on. */
export interface ProcessEvents {
  /** Bytes of stdout or stderr, with their frame type. */
  output(type: number, bytes: Uint8Array): void;
  /** The main process is gone; its pipes may still deliver. */
  exited(): void;
  /** Nothing more comes, and nothing is left that we were to end. */
  ended(end: ProcessEnd): void;
}

/**
 * Starts a process in a group of its own.
 * @throws {LoopsyError} execution_failed, with the reason: not found, not executable, no such folder, …
 */
export const startProcess = async (
  spec: ProcessSpec,
  host: ProcessHost,
  events: ProcessEvents,
): Promise<RunningProcess> => {
  const child = await spawnChild(spec, host);
  return new RunningProcess(child, host, events);
};

const spawnChild = async (spec: ProcessSpec, host: ProcessHost): Promise<StartedChild> => {
  const plain = commandLine(spec.command, host.shell);
  const line = host.adapt === undefined || spec.command.shell !== undefined ? plain : host.adapt(plain, spec);
  try {
    const child = spawn(line.file, line.args, {
      cwd: spec.cwd,
      env: spec.env,
      // A group of its own, so that all of it can be ended; on Windows that would open a window.
      detached: host.platform !== 'win32',
      windowsHide: true,
      windowsVerbatimArguments: line.verbatim ?? false,
      // No stdin is /dev/null: a program that reads it sees its end at once.
      stdio: [spec.stdin === 'none' ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    const { pid } = child;
    if (pid === undefined) throw await new Promise((resolve) => child.once('error', resolve));
    return { child, pid, stdin: openStdin(child, spec, host.clock) };
  } catch (error) {
    throw await explainStartError(error, { ...spec, platform: host.platform });
  }
};

interface StartedChild {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly stdin: ProcessStdin | undefined;
}

const openStdin = ({ stdin: sink }: ChildProcess, { stdin }: ProcessSpec, clock: Clock): ProcessStdin | undefined => {
  if (sink === null || stdin === 'none') return undefined;
  ignoreStdinErrors(sink);
  if (stdin === 'stream') return new ProcessStdin(sink, clock);
  sink.end(stdin.text);
  return undefined;
};

/** A process that was started, with its tree. */
export class RunningProcess {
  readonly pid: number;
  /** There where stdin comes later. */
  readonly stdin: ProcessStdin | undefined;
  readonly #child: ChildProcess;
  readonly #host: ProcessHost;
  readonly #events: ProcessEvents;
  readonly #tree: ProcessTree;
  #exit: ProcessEnd | undefined;
  #sent: NodeJS.Signals | undefined;
  #killTimer: Timer | undefined;
  #killAtMs = Infinity;
  #tick: Timer | undefined;
  #paused = false;
  /** Its caller sent a signal that ends processes. */
  #asked = false;
  #resting = false;
  #sinceRest = 0;
  #closed = false;
  #done = false;
  #heard = false;
  #quietMs = 0;
  #drainedMs = 0;
  #waitedMs = 0;
  #cut = false;
  /** Nothing that runs is left of the tree. */
  #gone = false;
  /** Looks for the tree that are under way: nobody may take the run for ended before what they find is signalled. */
  #looks = 0;

  constructor({ child, pid, stdin }: StartedChild, host: ProcessHost, events: ProcessEvents) {
    this.pid = pid;
    this.stdin = stdin;
    this.#child = child;
    this.#host = host;
    this.#events = events;
    this.#tree = new ProcessTree(pid, host.platform);
    child.stdout?.on('data', (bytes: Buffer) => this.#hear(FRAME.stdout, bytes));
    child.stderr?.on('data', (bytes: Buffer) => this.#hear(FRAME.stderr, bytes));
    child.on('exit', (exitCode, signal) => this.#onExit(exitCode, signal));
    child.on('close', () => {
      this.#closed = true;
      this.#settle();
    });
    // A signal that could not be sent is seen by its sender; the process itself is there.
    child.on('error', () => undefined);
  }

  /** Stops reading: the process waits as soon as its pipes are full. */
  pause(): void {
    this.#paused = true;
    this.#read();
  }

  /** Reads on. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#read();
  }

  /** Reads, or doesn't. */
  #read(): void {
    const way = this.#paused || this.#resting ? 'pause' : 'resume';
    this.#child.stdout?.[way]();
    this.#child.stderr?.[way]();
  }

  /** Node would read 2 MiB of a full pipe before it looks at anything else; requests beside it must not wait so long. */
  #rest(bytes: number): void {
    this.#sinceRest += bytes;
    if (this.#sinceRest < TURN_BYTES || this.#resting) return;
    this.#sinceRest = 0;
    this.#resting = true;
    this.#read();
    setImmediate(() => {
      this.#resting = false;
      this.#read();
    });
  }

  /** Passes a signal on to the whole group; one that ends to the whole tree. @returns false where nothing is left. */
  async signal(signal: NodeJS.Signals): Promise<boolean> {
    if (this.#done) return false;
    if (!ENDING.has(signal)) return this.#signalTree(signal);
    this.#asked = true;
    const delivered = await this.#signalAll(signal);
    if (this.#exit !== undefined) this.#endRest();
    this.#settle();
    return delivered;
  }

  /** Ends the whole tree: asks it to, and kills what is left after the grace. A later call can only shorten that. */
  end(graceMs: number): void {
    if (this.#done) return;
    if (this.#sent === undefined) {
      const held = this.#exit !== undefined && !this.#closed && this.#tree.lives;
      this.#cut = held && !this.#asked;
      this.#quietMs = 0;
      void this.#send('SIGTERM');
    }
    const killAtMs = this.#host.clock.monotonicMs() + graceMs;
    if (killAtMs >= this.#killAtMs) return;
    this.#killAtMs = killAtMs;
    this.#killTimer?.cancel();
    this.#killTimer = this.#host.clock.after(graceMs, () => void this.#send('SIGKILL'));
  }

  async #send(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#sent = signal;
    await this.#signalAll(signal);
    this.#settle();
  }

  /** Parents tell whose a process is only while they live: all are found first. */
  async #signalAll(signal: NodeJS.Signals): Promise<boolean> {
    this.#looks += 1;
    await this.#tree.look(this.#exit !== undefined);
    this.#looks -= 1;
    return this.#signalTree(signal);
  }

  /** Windows knows a tree by its root alone, and may give the number of one that is gone to any other process. */
  #signalTree(signal: NodeJS.Signals): boolean {
    return (this.#exit === undefined || this.#host.platform !== 'win32') && this.#tree.signal(signal);
  }

  #hear(type: number, bytes: Uint8Array): void {
    this.#heard = true;
    if (!this.#done) this.#events.output(type, bytes);
    notePassing(bytes.length);
    this.#rest(bytes.length);
  }

  #onExit(exitCode: number | null, signal: NodeJS.Signals | null): void {
    this.#exit = { exitCode, signal };
    this.stdin?.close();
    this.#events.exited();
    this.#endRest();
    this.#tick = this.#host.clock.every(TICK_MS, () => this.#watchRest());
    this.#settle();
  }

  /** Whoever asked it to end meant the whole tree: a background job of a shell ignores Ctrl-C. */
  #endRest(): void {
    if (this.#asked && this.#tree.lives) this.end(ASKED_GRACE_MS);
  }

  /** What still comes is read; processes that hold the pipes and say nothing don't hold up the run. */
  #watchRest(): void {
    if (!this.#closed && !this.#paused) {
      const ending = this.#sent !== undefined;
      if (ending) this.#drainedMs += TICK_MS;
      this.#quietMs = this.#heard ? 0 : this.#quietMs + TICK_MS;
      this.#heard = false;
      const quiet = this.#quietMs >= (ending ? QUIET_ENDING_MS : QUIET_MS);
      if (quiet || this.#drainedMs >= DRAIN_ENDING_MS) this.#cutPipes();
    }
    if (this.#sent === 'SIGTERM') this.#lookForRest();
    this.#settle();
  }

  #lookForRest(): void {
    this.#waitedMs += TICK_MS;
    if (this.#waitedMs % LOOK_MS !== 0) return;
    void this.#tree.look(true).then((runs) => {
      this.#gone ||= !runs;
      this.#settle();
    });
  }

  /** Nobody reads on; after a plain exit, what holds the pipes lives on. */
  #cutPipes(): void {
    this.#cut = true;
    this.#closed = true;
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
  }

  #settle(): void {
    if (this.#done || this.#exit === undefined || !this.#closed || this.#looks > 0) return;
    const asked = this.#sent === 'SIGTERM' && !this.#gone;
    if (asked && this.#tree.lives) return;
    this.#done = true;
    this.#tick?.cancel();
    this.#killTimer?.cancel();
    const sent = this.#sent === undefined ? {} : { sent: this.#sent };
    this.#events.ended({ ...this.#exit, ...sent, ...(this.#cut ? { outputCut: true } : {}) });
  }
}
