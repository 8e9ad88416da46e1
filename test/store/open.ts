import type { Log, LogFields } from '../../src/kernel/log.ts';

/** A log that keeps its warnings and errors. */
export class KeptLog implements Log {
  readonly lines: { readonly event: string; readonly fields: LogFields }[] = [];

  debug(): void {}

  info(): void {}

  warn(event: string, fields: LogFields = {}): void {
    this.lines.push({ event, fields });
  }

  error(event: string, fields: LogFields = {}): void {
    this.lines.push({ event, fields });
  }

  child(): Log {
    return this;
  }
}
