/** What stands in place of a secret. */
export const REDACTED = '(redacted)';

/** A field whose name ends in one of these words is secret: `token`, `apiKey`, `X-Api-Key`, `client_secret`. */
const SECRET_WORDS = new Set([
  'token', 'tokens', 'key', 'keys', 'apikey', 'secret', 'secrets', 'password', 'passwords', 'passphrase', 'passwd',
  'pwd', 'authorization', 'auth', 'cookie', 'cookies', 'pin', 'credential', 'credentials', 'invitation', 'sas', 'bearer',
]); // prettier-ignore
/** A secret `code` is told from an error's or an exit code by what stands before it. */
const SECRET_CODES = /^(?:invite|invitation|pin|pairing|pair|auth|access|device)$/;
/** Codes of system errors, e.g. `ENOENT`; a pairing code has digits only. */
const SYSTEM_CODE = /^[A-Z][A-Z0-9_]+$/;
/** Secrets that stand in a text: an Authorization header's value. */
const HEADER_VALUE = /\b(bearer|basic)\s+[\w.~+/=-]+/gi;

const MAX_DEPTH = 6;
const MAX_ITEMS = 100;
const MAX_TEXT = 8192;

const wordsOf = (name: string): string[] =>
  name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');

/** True where a field of that name must not be shown. `value` tells a pairing code from an error's code. */
export const isSecretName = (name: string, value?: unknown): boolean => {
  const words = wordsOf(name);
  const last = words.at(-1) ?? '';
  if (last === 'code') {
    if (words.length === 1) return typeof value === 'string' && !SYSTEM_CODE.test(value);
    return SECRET_CODES.test(words.at(-2) ?? '');
  }
  return SECRET_WORDS.has(last);
};

/**
 * A copy of `fields` that JSON can hold, without its secrets: named ones at any depth, and header values inside texts.
 * Bounded: 6 levels, 100 items each, texts of 8,192 characters. Never throws.
 */
export const redact = (fields: Readonly<Record<string, unknown>>): Record<string, unknown> => redactEntries(fields, 0);

const redactEntries = (fields: object, depth: number): Record<string, unknown> => {
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(fields).slice(0, MAX_ITEMS)) {
    const value = readField(fields, name);
    copy[name] = value !== undefined && isSecretName(name, value) ? REDACTED : redactValue(value, depth + 1);
  }
  return copy;
};

/** A getter may throw; a log line must not. */
const readField = (fields: object, name: string): unknown => {
  try {
    return Reflect.get(fields, name);
  } catch {
    return '(unreadable)';
  }
};

const redactValue = (value: unknown, depth: number): unknown => {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint' || typeof value === 'symbol') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > MAX_DEPTH) return '(too deep)';
  if (value instanceof Uint8Array) return `(${value.byteLength} bytes)`;
  if (value instanceof Date || value instanceof URL) return redactText(String(value));
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => redactValue(item, depth + 1));
  if (value instanceof Error) return redactError(value, depth);
  return redactEntries(value, depth);
};

/** `message` and `stack` are no own enumerable fields of an error, `cause` is none either. */
const redactError = (error: Error, depth: number): Record<string, unknown> => ({
  ...redactEntries(error, depth),
  name: error.name,
  message: redactText(error.message),
  ...(error.stack === undefined ? {} : { stack: redactText(error.stack) }),
  ...(error.cause === undefined ? {} : { cause: redactValue(error.cause, depth + 1) }),
});

const redactText = (text: string): string => {
  const short = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}… (${text.length} characters)` : text;
  return short.replaceAll(HEADER_VALUE, `$1 ${REDACTED}`);
};
