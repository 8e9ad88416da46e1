import type { Clock } from './clock.ts';
import { redact } from './redact.ts';

/** Facts of one log line; secrets are redacted by name. */
export type LogFields = Readonly<Record<string, unknown>>;

/** A log with fields, not sentences: `event` is a short constant such as `peer online`. */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A log whose lines all carry `fields`. */
  child(fields: LogFields): Log;
}

/** The levels, the most talkative first. */
const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/** One level: lines below it are dropped. */
type LogLevel = (typeof LOG_LEVELS)[number];

/** A log whose level can be changed while it runs, for itself and all its children. */
export interface RootLog extends Log {
  setLevel(level: LogLevel): void;
}

/** Where the lines of a log go. */
export interface LogOptions {
  readonly level: LogLevel;
  readonly clock: Clock;
  /** Takes one line of JSON with its line end. It must not throw. */
  write(line: string): void;
}

/** Makes a log of JSON lines: `{"time":"…Z","level":"info","event":"peer online",…fields}`. It never throws. */
export const createLog = (options: LogOptions): RootLog => {
  let threshold = LOG_LEVELS.indexOf(options.level);

  const emit = (level: LogLevel, event: string, fields: LogFields): void => {
    if (LOG_LEVELS.indexOf(level) < threshold) return;
    const head = { time: new Date(options.clock.now()).toISOString(), level, event };
    // Twice: the first gives the order, the second keeps fields from replacing them.
    options.write(`${JSON.stringify({ ...head, ...redact(fields), ...head })}\n`);
  };
  const logWith = (base: LogFields): Log => ({
    debug: (event, fields) => emit('debug', event, { ...base, ...fields }),
    info: (event, fields) => emit('info', event, { ...base, ...fields }),
    warn: (event, fields) => emit('warn', event, { ...base, ...fields }),
    error: (event, fields) => emit('error', event, { ...base, ...fields }),
    child: (fields) => logWith({ ...base, ...fields }),
  });

  return {
    ...logWith({}),
    setLevel(level) {
      threshold = LOG_LEVELS.indexOf(level);
    },
  };
};
