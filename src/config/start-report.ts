import { closeSync, writeSync } from 'node:fs';

import { parseJson } from '../kernel/parse-json.ts';
import type { ErrorBody } from '../protocol/errors.ts';

/**
 * What a node that is being started tells the one who started it, once, as one line of JSON on a pipe: that it answers,
 * or why it can't.
 */
export type StartReport = { readonly ready: true; readonly url: string; readonly pid: number } | ErrorBody;

/**
 * The variable that names the pipe's number. Without it nothing is written: a process that was started otherwise may
 * have anything under that number.
 */
export const REPORT_VARIABLE = 'LOOPSY_REPORT_FD';

/** The longest report, bytes. */
export const MAX_REPORT_BYTES = 65_536;

/**
 * The node's side: tells the starter, then closes the pipe and forgets it. Harmless, however often it is called, where
 * nobody started the node that way or the starter has gone.
 * @returns true where it was told.
 */
export const reportStart = (report: StartReport, env: NodeJS.ProcessEnv = process.env): boolean => {
  const fd = Number(env[REPORT_VARIABLE]);
  delete env[REPORT_VARIABLE];
  if (!Number.isInteger(fd) || fd < 3) return false;
  try {
    writeSync(fd, `${JSON.stringify(report)}\n`);
    closeSync(fd);
    return true;
  } catch {
    // The starter has gone (EPIPE, EBADF): the node runs on without it.
    return false;
  }
};

/** The starter's side: one line back into a report; undefined where it is none. */
export const parseStartReport = (line: string): StartReport | undefined => {
  const value = parseJson(line);
  return isReport(value) ? value : undefined;
};

const isReport = (value: unknown): value is StartReport => {
  if (typeof value !== 'object' || value === null) return false;
  if ('error' in value) return typeof value.error === 'object' && value.error !== null && 'message' in value.error;
  return (
    'ready' in value &&
    value.ready === true &&
    'url' in value &&
    typeof value.url === 'string' &&
    'pid' in value &&
    Number.isInteger(value.pid)
  );
};
