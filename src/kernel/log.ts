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
