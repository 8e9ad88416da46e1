import type { NodePaths, Place } from '../config/paths.ts';
import type { Clock } from '../kernel/clock.ts';
import type { LocalNode } from './connect.ts';
import type { Output, Sink } from './output.ts';
import type { Invocation } from './parse.ts';

/** A signal that a terminal or another process sends to a command. */
export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** What a command ends with where a signal ended it. */
export const INTERRUPTED: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };

/** The process that a command runs in, as far as commands know it. */
export interface Io extends Place {
  readonly stdout: ByteSink;
  readonly stderr: ByteSink;
  /** Opened when asked for: a command that reads nothing must not touch it. */
  readonly stdin: () => Stdin;
  /** -1 where there are no such ids (Windows). */
  readonly uid: number;
  readonly clock: Clock;
  /** What stderr is told where stdout can't be written from here on: what was lost with it. */
  readonly lastWords: (text: string | undefined) => void;
  /** @returns takes the listener back. */
  readonly onSignal: (signal: StopSignal, listener: () => void) => () => void;
}

/** Takes bytes too; `writeBytes` resolves when they have left, and their memory may be used again. */
export interface ByteSink extends Sink {
  readonly writeBytes: (bytes: Uint8Array) => Promise<void> | undefined;
}

/** A stdin, or the fact that there is none: closed, or, where somebody has said so, the null device. */
export type Stdin =
  | { readonly kind: 'none'; readonly isNull?: boolean }
  | { readonly kind: 'stream'; readonly stream: NodeJS.ReadableStream };

/** What every command gets. */
export interface Cli {
  readonly invocation: Invocation;
  readonly io: Io;
  readonly out: Output;
  readonly paths: NodePaths;
  /** Connects to the running node of the data folder. */
  readonly node: () => Promise<LocalNode>;
}

/** One command; resolves with the exit code, throws `LoopsyError`. */
export type Command = (cli: Cli) => Promise<number>;

/** The commands of one file, by path. */
export type Commands = Readonly<Record<string, Command>>;
