import { parseJson } from '../../kernel/parse-json.ts';
import type { AuditRecord } from '../../protocol/audit.ts';

const MAX_STRING = 1024;
const MAX_ITEMS = 64;

const cutText = (text: string): string =>
  text.length <= MAX_STRING ? text : `${text.slice(0, MAX_STRING)}… (${text.length - MAX_STRING} more characters)`;

/** Bounds every value of a record: a request can be large, its record is not. */
const cut = (_key: string, value: unknown): unknown => {
  if (typeof value === 'string') return cutText(value);
  if (!Array.isArray(value) || value.length <= MAX_ITEMS) return value;
  return [...(value as unknown[]).slice(0, MAX_ITEMS), `… (${value.length - MAX_ITEMS} more)`];
};

/** A record as one line, without its end. Of a short one nothing has to be cut. */
export const lineOf = (record: AuditRecord): string => {
  const line = JSON.stringify(record);
  return line.length <= MAX_STRING ? line : JSON.stringify(record, cut);
};

/** The record that a line holds; `undefined` for anything else, such as a line that was torn. */
export const recordOf = (line: string): AuditRecord | undefined => {
  const value = parseJson(line);
  return isRecord(value) ? value : undefined;
};

const isRecord = (value: unknown): value is AuditRecord =>
  typeof value === 'object' &&
  value !== null &&
  'timestamp' in value &&
  typeof value.timestamp === 'number' &&
  'caller' in value &&
  typeof value.caller === 'string' &&
  'operation' in value &&
  'decision' in value;
